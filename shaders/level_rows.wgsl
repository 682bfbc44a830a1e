// The error of an inner level of a Matryoshka SAE, row by row, and the gradient that its latents and those of the levels in it get.
//
//   e = r * gain_b + shift_b - t
//   g[b,:] = outer[b,:] + 2 e / B * gain_b        (written over r; outer: the next wider level's g)
//   loss_rows[b, column] = sum_d e^2
//
// A latent that the next level has too is in its reconstruction, so what reaches it is the sum over all levels from its own on.
// One workgroup per row; fixed summation tree. Padding columns stay zero.
const WG = 64u;

struct Params { rows: u32, d_in: u32, stride: u32, batch: u32, losses: u32, column: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> t: array<f32>; // [rows, stride]
@group(0) @binding(2) var<storage, read> row_affine: array<vec2f>; // [rows]
@group(0) @binding(3) var<storage, read> outer: array<f32>; // [rows, stride]
@group(0) @binding(4) var<storage, read_write> r: array<f32>; // [rows, stride]
@group(0) @binding(5) var<storage, read_write> loss_rows: array<f32>; // [rows, losses]

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
  let base = row * p.stride;
  let affine = row_affine[row];
  let scale = 2.0 / f32(p.batch) * affine.x;
  var squares = 0.0;
  for (var d = thread; d < p.d_in; d += WG) {
    let e = r[base + d] * affine.x + affine.y - t[base + d];
    r[base + d] = outer[base + d] + scale * e;
    squares += e * e;
  }
  let total = tree_sum(squares, thread);
  if (thread == 0u) { loss_rows[row * p.losses + p.column] = total; }
}
