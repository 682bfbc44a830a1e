// Takes from each row what points along another one, and collects it.
//
//   share[b] = a[b,:] . x[b,:] / (|a[b,:]| + 1e-6)^2
//   taken[b,:] = (FIRST 1: 0, else taken[b,:]) + share[b] a[b,:]
//   x[b,:] = x[b,:] - share[b] a[b,:]
//
// One workgroup per row; fixed summation tree. Padding columns stay zero.
const WG = 64u;
const FIRST = 0u;

struct Params { rows: u32, columns: u32, stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // [rows, stride]
@group(0) @binding(2) var<storage, read_write> x: array<f32>; // [rows, stride]
@group(0) @binding(3) var<storage, read_write> taken: array<f32>; // [rows, stride]

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
  var product = 0.0;
  var squares = 0.0;
  for (var d = thread; d < p.columns; d += WG) {
    product += a[base + d] * x[base + d];
    squares += a[base + d] * a[base + d];
  }
  let dot_total = tree_sum(product, thread);
  let length = sqrt(tree_sum(squares, thread)) + 1e-6;
  let share = dot_total / (length * length);
  for (var d = thread; d < p.columns; d += WG) {
    let part = share * a[base + d];
    var before = 0.0;
    if (FIRST == 0u) { before = taken[base + d]; }
    taken[base + d] = before + part;
    x[base + d] -= part;
  }
}
