// The quadratic penalty on a batch's L0, and its slope.
//
//   L0 = mean_b l0[b]
//   loss_rows[b, 0] = c (L0 / goal - 1)^2          in every row, so that their mean is the loss
//   slope[0] = 2 c (L0 / goal - 1) / (goal B)      = d loss / d l0[b]
//
// One workgroup: each thread strides over the rows, then a fixed tree.
const WG = 256u;

struct Params { rows: u32, losses: u32, goal: f32, coefficient: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> l0: array<f32>; // [rows]
@group(0) @binding(2) var<storage, read_write> slope: array<f32>; // [1]
@group(0) @binding(3) var<storage, read_write> loss_rows: array<f32>; // [rows, losses]

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
fn main(@builtin(local_invocation_index) thread: u32) {
  var sum = 0.0;
  for (var row = thread; row < p.rows; row += WG) { sum += l0[row]; }
  let excess = tree_sum(sum, thread) / f32(p.rows) / p.goal - 1.0;
  let loss = p.coefficient * excess * excess;
  for (var row = thread; row < p.rows; row += WG) { loss_rows[row * p.losses] = loss; }
  if (thread == 0u) { slope[0] = 2.0 * p.coefficient * excess / (p.goal * f32(p.rows)); }
}
