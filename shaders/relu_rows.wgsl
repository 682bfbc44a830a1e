// ReLU codes and their Lp penalty, row by row, over the pre-activations.
//
//   f = relu(h)
//   S_b = (sum_i (f_bi n_i)^p)^(1/p)               n: decoder norms
//   loss_rows[b, column] = c S_b
//   slopes[b] = c / B * S_b^(1-p), or 0 where nothing is active:     d loss / d (f_bi n_i) = slopes_b (f_bi n_i)^(p-1)
//   l0[b] = number of f_bi above zero
//
// P is p where it is 1 or 2, which need no logarithms, and 0 for any other. A NaN or an infinity sets bit 0 of flags[0].
// One workgroup per row, from first_row of the batch on; fixed summation tree.
const WG = 64u;
const P = 1u;

struct Params { rows: u32, first_row: u32, latents: u32, batch: u32, losses: u32, column: u32, p: f32, coefficient: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> norms: array<f32>; // [latents]
@group(0) @binding(2) var<storage, read_write> h: array<f32>; // [rows, latents]
@group(0) @binding(3) var<storage, read_write> l0: array<f32>; // [batch]
@group(0) @binding(4) var<storage, read_write> slopes: array<f32>; // [batch]
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

fn powered(w: f32) -> f32 {
  if (P == 1u) { return w; }
  if (P == 2u) { return w * w; }
  return pow(w, p.p);
}

fn root(sum: f32) -> f32 {
  if (P == 1u) { return sum; }
  if (P == 2u) { return sqrt(sum); }
  return select(0.0, pow(sum, 1.0 / p.p), sum > 0.0); // adapters differ in what the power of zero is
}

fn slope(size: f32) -> f32 {
  if (P == 1u) { return 1.0; }
  if (P == 2u) { return 1.0 / size; }
  return pow(size, 1.0 - p.p);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let base = row * p.latents;
  var sum = 0.0;
  var firing = 0.0;
  for (var i = thread; i < p.latents; i += WG) {
    let value = h[base + i];
    if ((bitcast<u32>(value) & 0x7f800000u) == 0x7f800000u) { atomicOr(&flags[0], 1u); }
    let f = max(value, 0.0);
    h[base + i] = f;
    if (f > 0.0) {
      sum += powered(f * norms[i]);
      firing += 1.0;
    }
  }
  let size = root(tree_sum(sum, thread));
  let active_total = tree_sum(firing, thread);
  if (thread == 0u) {
    let b = p.first_row + row;
    loss_rows[b * p.losses + p.column] = p.coefficient * size;
    var factor = 0.0;
    if (size > 0.0) { factor = p.coefficient / f32(p.batch) * slope(size); }
    slopes[b] = factor;
    l0[b] = active_total;
  }
}
