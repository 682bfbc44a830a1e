// Codes of a gated SAE (Rajamanoharan et al. 2024) from its gates, row by row.
//
//   pi = x W_enc^T + b_gate                       given
//   m = (pi - b_gate) exp(r_mag) + b_mag          = x (W_enc exp(r_mag))^T + b_mag
//   f = relu(m) where pi > 0, else 0
//   l0[b] = number of f_bi above zero
//
// A NaN or an infinity sets bit 0 of flags[0]. One workgroup per row, from first_row of the batch on; fixed summation tree.
const WG = 64u;

struct Params { rows: u32, first_row: u32, latents: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gates: array<f32>; // pi [rows, latents]
@group(0) @binding(2) var<storage, read> traits: array<vec4f>; // (exp(r_mag), b_mag, b_gate, 0)
@group(0) @binding(3) var<storage, read_write> f: array<f32>; // [rows, latents]
@group(0) @binding(4) var<storage, read_write> l0: array<f32>; // [batch]
@group(0) @binding(5) var<storage, read_write> flags: array<atomic<u32>>;

var<workgroup> tree: array<f32, WG>;

fn tree_sum(value: f32, thread: u32) -> f32 {
  tree[thread] = value;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (thread < half) { tree[thread] += tree[thread + half]; }
    workgroupBarrier();
  }
  let total = tree[0];
  workgroupBarrier();
  return total;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let base = row * p.latents;
  var firing = 0.0;
  for (var i = thread; i < p.latents; i += WG) {
    let pi = gates[base + i];
    let m = (pi - traits[i].z) * traits[i].x + traits[i].y;
    if ((bitcast<u32>(pi) & 0x7f800000u) == 0x7f800000u || (bitcast<u32>(m) & 0x7f800000u) == 0x7f800000u) { atomicOr(&flags[0], 1u); }
    let fires = pi > 0.0 && m > 0.0;
    f[base + i] = select(0.0, m, fires);
    firing += select(0.0, 1.0, fires);
  }
  let active_total = tree_sum(firing, thread);
  if (thread == 0u) { l0[p.first_row + row] = active_total; }
}
