// The reconstruction's error, row by row, and the gradient that starts the backward pass.
//
//   out[b,:] = r[b,:] * gain_b + shift_b          (written over r)
//   e = out - t
//   g[b,:] = 2 e / B * gain_b                     = d mse / d r,   mse = mean_b sum_d e^2
//   stats[b] = (sum_d e^2, sum_d (t - mean)^2, their ratio, number of kept values that are not zero)
//
// RAGGED 0: each row has k values; 1: values offsets[b] ... offsets[b + 1] - 1. COUNT 0: values[b] is the number of active latents itself.
// One workgroup per row, from first_row on; a thread has four neighbouring columns at a time; fixed summation tree. Padding columns stay zero.
const WG = 64u;
const RAGGED = 0u;
const COUNT = 1u;

struct Params { rows: u32, first_row: u32, d_in: u32, stride: u32, k: u32, batch: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> t: array<vec4f>; // [rows, stride]
@group(0) @binding(2) var<storage, read> mean: array<vec4f>; // [stride], the batch's mean of t
@group(0) @binding(3) var<storage, read> row_affine: array<vec2f>; // [rows]
@group(0) @binding(4) var<storage, read> values: array<f32>; // [rows, k]
@group(0) @binding(5) var<storage, read> offsets: array<u32>; // [rows + 1]
@group(0) @binding(6) var<storage, read_write> r: array<vec4f>; // [rows, stride]
@group(0) @binding(7) var<storage, read_write> g: array<vec4f>; // [rows, stride]
@group(0) @binding(8) var<storage, read_write> stats: array<vec4f>; // [rows]

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
  if (wid.x + wid.y * groups.x >= p.rows) { return; }
  let row = p.first_row + wid.x + wid.y * groups.x;
  let columns = p.stride / 4u;
  let base = row * columns;
  let affine = row_affine[row];
  let scale = 2.0 / f32(p.batch) * affine.x;
  var error_squares = 0.0;
  var spread = 0.0;
  for (var d = thread; d < columns; d += WG) {
    let there = 4u * d + vec4u(0u, 1u, 2u, 3u) < vec4u(p.d_in);
    let aim = t[base + d];
    let out = select(vec4f(), r[base + d] * affine.x + affine.y, there);
    let e = select(vec4f(), out - aim, there);
    let deviation = select(vec4f(), aim - mean[d], there);
    r[base + d] = out;
    g[base + d] = select(vec4f(), scale * e, there);
    error_squares += dot(e, e);
    spread += dot(deviation, deviation);
  }
  var firing = 0.0;
  var begin = row * p.k;
  var end = begin + p.k;
  if (RAGGED == 1u) {
    begin = offsets[row];
    end = offsets[row + 1u];
  }
  for (var j = begin + thread; j < end; j += WG) {
    if (COUNT == 0u) { firing = values[j]; }
    else if (values[j] != 0.0) { firing += 1.0; }
  }
  let error_total = tree_sum(error_squares, thread);
  let spread_total = tree_sum(spread, thread);
  let active_total = tree_sum(firing, thread);
  if (thread == 0u) { stats[row] = vec4f(error_total, spread_total, error_total / spread_total, active_total); }
}
