// A reconstruction's squared error and its gradient, row by row.
//
//   loss_rows[b, column] = sum_d (r - t)^2
//   g[b,:] = 2 (r - t) / B                       (written over r)
//
// One workgroup per row, from first_row on; fixed summation tree. Padding columns stay zero.
const WG = 64u;

struct Params { rows: u32, first_row: u32, d_in: u32, stride: u32, batch: u32, losses: u32, column: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> t: array<f32>; // [batch, stride]
@group(0) @binding(2) var<storage, read_write> r: array<f32>; // [batch, stride]
@group(0) @binding(3) var<storage, read_write> loss_rows: array<f32>; // [batch, losses]

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
  let base = row * p.stride;
  let scale = 2.0 / f32(p.batch);
  var squares = 0.0;
  for (var d = thread; d < p.d_in; d += WG) {
    let e = r[base + d] - t[base + d];
    r[base + d] = scale * e;
    squares += e * e;
  }
  let total = tree_sum(squares, thread);
  if (thread == 0u) { loss_rows[row * p.losses + p.column] = total; }
}
