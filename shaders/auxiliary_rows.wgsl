// The dead latents' loss, row by row: they reconstruct what the live ones left over.
//
//   e = t - out                                    held fixed: no gradient flows into it
//   a[b,:] = r_aux[b,:] * gain_b + shift_b         AFFINE 1 (SAELens 6.18); r_aux[b,:] with 0 (6.36.2 and later)
//   weight = coefficient * min(n_dead / k_aux, 1)
//   loss_rows[b, column] = weight * sum_d (a - e)^2          (ADD 1 adds to what is there)
//   g_aux[b,:] = weight * 2 (a - e) / B * (gain_b | 1)      (written over r_aux)
//
// RAW 1: `out` holds reconstructions before the row normalisation was undone. With no dead latent everything is zero. One workgroup per row; a
// thread has four neighbouring columns at a time; fixed summation tree.
const WG = 64u;
const AFFINE = 0u;
const RAW = 0u;
const ADD = 0u;

struct Params { rows: u32, d_in: u32, stride: u32, k_aux: u32, batch: u32, coefficient: f32, losses: u32, column: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> t: array<vec4f>; // [rows, stride]
@group(0) @binding(2) var<storage, read> out: array<vec4f>; // [rows, stride]
@group(0) @binding(3) var<storage, read> row_affine: array<vec2f>; // [rows]
@group(0) @binding(4) var<storage, read> dead: array<u32>; // count, then latents
@group(0) @binding(5) var<storage, read_write> r_aux: array<vec4f>; // [rows, stride]
@group(0) @binding(6) var<storage, read_write> loss_rows: array<f32>; // [rows, losses]

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
  let columns = p.stride / 4u;
  let base = row * columns;
  let weight = p.coefficient * min(f32(dead[0]) / f32(p.k_aux), 1.0);
  var gain = 1.0;
  var shift = 0.0;
  if (AFFINE == 1u) {
    gain = row_affine[row].x;
    shift = row_affine[row].y;
  }
  let scale = weight * 2.0 / f32(p.batch) * gain;
  var squares = 0.0;
  for (var d = thread; d < columns; d += WG) {
    let there = 4u * d + vec4u(0u, 1u, 2u, 3u) < vec4u(p.d_in);
    var given = out[base + d];
    if (RAW == 1u) { given = given * row_affine[row].x + row_affine[row].y; }
    let difference = select(vec4f(), r_aux[base + d] * gain + shift - (t[base + d] - given), there);
    r_aux[base + d] = select(vec4f(), scale * difference, there);
    squares += dot(difference, difference);
  }
  let total = tree_sum(squares, thread);
  if (thread == 0u) {
    let at = row * p.losses + p.column;
    var loss = weight * total;
    if (ADD == 1u) { loss += loss_rows[at]; }
    loss_rows[at] = loss;
  }
}
