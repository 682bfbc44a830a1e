// What one step amounts to: sums over its rows, the global gradient norm and the factor that clips it.
//
//   record[slot] = (sum e^2, sum (t - mean)^2, sum of row ratios, sum of active, |grad|_2, n_dead, flags,
//                   -, -, sums of the other losses ...)         SLOT floats
//   clip[0] = min(1, max_norm / (|grad| + 1e-6)), or 1 when max_norm is not positive     (torch clip_grad_norm_)
//
// One workgroup: each thread strides over the rows, then a fixed tree. The flags are handed over and cleared.
const WG = 256u;
const SLOT = 32u;
const FIRST_LOSS = 9u;

struct Params { rows: u32, squares: u32, squares_at: u32, d_in: u32, slot: u32, losses: u32, max_norm: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> stats: array<vec4f>; // [rows]
@group(0) @binding(2) var<storage, read> loss_rows: array<f32>; // [rows, losses]
@group(0) @binding(3) var<storage, read> squares: array<f32>; // from squares_at on: squared norms of all gradients but b_dec's
@group(0) @binding(4) var<storage, read> grad_b_dec: array<f32>; // [d_in]
@group(0) @binding(5) var<storage, read> dead: array<u32>; // count, then latents
@group(0) @binding(6) var<storage, read_write> flags: array<u32>;
@group(0) @binding(7) var<storage, read_write> record: array<f32>;
@group(0) @binding(8) var<storage, read_write> clip: array<f32>;

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
  var sums = vec4f();
  for (var row = thread; row < p.rows; row += WG) { sums += stats[row]; }
  var length = 0.0;
  for (var i = thread; i < p.squares; i += WG) { length += squares[p.squares_at + i]; }
  for (var d = thread; d < p.d_in; d += WG) { length += grad_b_dec[d] * grad_b_dec[d]; }
  let error = tree_sum(sums.x, thread);
  let spread = tree_sum(sums.y, thread);
  let ratios = tree_sum(sums.z, thread);
  let firing = tree_sum(sums.w, thread);
  let norm = sqrt(tree_sum(length, thread));
  let at = p.slot * SLOT;
  for (var loss = 0u; loss < p.losses; loss++) {
    var sum = 0.0;
    for (var row = thread; row < p.rows; row += WG) { sum += loss_rows[row * p.losses + loss]; }
    let total = tree_sum(sum, thread);
    if (thread == 0u) { record[at + FIRST_LOSS + loss] = total; }
  }
  if (thread == 0u) {
    record[at] = error;
    record[at + 1u] = spread;
    record[at + 2u] = ratios;
    record[at + 3u] = firing;
    record[at + 4u] = norm;
    record[at + 5u] = f32(dead[0]);
    record[at + 6u] = f32(flags[0]);
    flags[0] = 0u;
    clip[0] = select(1.0, min(1.0, p.max_norm / (norm + 1e-6)), p.max_norm > 0.0);
  }
}
