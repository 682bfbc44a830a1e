// JumpReLU codes (Rajamanoharan et al. 2024) and their penalties, row by row.
//
//   f = h where h > theta_i, else 0
//   l0[b] = number of f_bi that are not zero
//   loss_rows[b, 0] = c l0[b]                                          SPARSITY 0, step
//                   = c sum_i tanh(s f_bi n_i)                         1, tanh
//                     (target_l0.wgsl writes it)                       2, quadratic
//   loss_rows[b, 1] = sum_i lambda_i relu(theta_i - h_bi) n_i          PRE_ACT 1; lambda_i is zero for latents that live
//
// A NaN or an infinity sets bit 0 of flags[0]. One workgroup per row, from first_row of the batch on; fixed summation tree.
const WG = 64u;
const SPARSITY = 0u;
const PRE_ACT = 0u;

struct Params { rows: u32, first_row: u32, latents: u32, losses: u32, coefficient: f32, tanh_scale: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>; // [rows, latents]
@group(0) @binding(2) var<storage, read> traits: array<vec4f>; // (theta, n, lambda, d theta / d parameter)
@group(0) @binding(3) var<storage, read_write> f: array<f32>; // [rows, latents]
@group(0) @binding(4) var<storage, read_write> l0: array<f32>; // [batch]
@group(0) @binding(5) var<storage, read_write> loss_rows: array<f32>; // [batch, losses]
@group(0) @binding(6) var<storage, read_write> flags: array<atomic<u32>>;

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
  var spread = 0.0;
  var below = 0.0;
  for (var i = thread; i < p.latents; i += WG) {
    let value = h[base + i];
    if ((bitcast<u32>(value) & 0x7f800000u) == 0x7f800000u) { atomicOr(&flags[0], 1u); }
    let theta = traits[i].x;
    let fires = value > theta;
    let code = select(0.0, value, fires);
    f[base + i] = code;
    firing += select(0.0, 1.0, fires);
    if (SPARSITY == 1u) {
      let fading = exp(-2.0 * p.tanh_scale * code * traits[i].y);
      spread += (1.0 - fading) / (1.0 + fading); // tanh of what is not negative, without overflow
    }
    if (PRE_ACT == 1u) { below += traits[i].z * max(theta - value, 0.0) * traits[i].y; }
  }
  let active_total = tree_sum(firing, thread);
  let spread_total = tree_sum(spread, thread);
  let below_total = tree_sum(below, thread);
  if (thread == 0u) {
    let b = p.first_row + row;
    l0[b] = active_total;
    if (SPARSITY == 0u) { loss_rows[b * p.losses] = p.coefficient * active_total; }
    if (SPARSITY == 1u) { loss_rows[b * p.losses] = p.coefficient * spread_total; }
    if (PRE_ACT == 1u) { loss_rows[b * p.losses + 1u] = below_total; }
  }
}
