// One iteration of matching pursuit: the latent that each row takes next.
//
//   j = argmax_i h[b,i], ties to the smaller latent, where h[b,:] = W_dec r_b for the row's residual r_b
//   the row gets the pick (j, h[b,j]), or an empty one when it is done or no h[b,i] is above zero
//
// A row is done before an iteration, but never before the first, when |r_b| < threshold, and after one that gave no pick or,
// with `stop`, a latent that it had already. first_slots[b,t] is the pick that first took the latent of pick t: t itself when it is new.
// A NaN or an infinity in h sets bit 0 of flags[0] and is never taken. One workgroup per row; integer comparisons and a fixed tree.
const WG = 64u;
const NO_LATENT = 0xffffffffu;

struct Params { rows: u32, first_row: u32, latents: u32, stride: u32, picks: u32, iteration: u32, threshold: f32, stop: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>; // [rows, latents]
@group(0) @binding(2) var<storage, read> residual: array<vec4f>; // [.., stride]
@group(0) @binding(3) var<storage, read_write> indices: array<u32>; // [.., picks]
@group(0) @binding(4) var<storage, read_write> values: array<f32>; // [.., picks]
@group(0) @binding(5) var<storage, read_write> first_slots: array<u32>; // [.., picks]
@group(0) @binding(6) var<storage, read_write> done: array<u32>; // [..]
@group(0) @binding(7) var<storage, read_write> flags: array<atomic<u32>>;

var<workgroup> tree: array<f32, WG>;
var<workgroup> best_value: array<f32, WG>;
var<workgroup> best_latent: array<u32, WG>;
var<workgroup> first_slot: u32;

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
  let row = p.begin_group + wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let at = p.first_row + row;
  var candidates = select(p.latents, 0u, done[at] != 0u);
  if (p.iteration > 0u && p.threshold > 0.0) {
    var squares = 0.0;
    for (var d = thread; d < p.stride / 4u; d += WG) {
      let r = residual[at * (p.stride / 4u) + d];
      squares += dot(r, r);
    }
    if (sqrt(tree_sum(squares, thread)) < p.threshold) { candidates = 0u; }
  }

  var value = 0.0;
  var latent = NO_LATENT;
  var broken = false;
  for (var i = thread; i < candidates; i += WG) {
    let product = h[row * p.latents + i];
    let finite = (bitcast<u32>(product) & 0x7f800000u) != 0x7f800000u;
    broken = broken || !finite;
    if (finite && product > value) {
      value = product;
      latent = i;
    }
  }
  if (broken) { atomicOr(&flags[0], 1u); }
  best_value[thread] = value;
  best_latent[thread] = latent;
  if (thread == 0u) { first_slot = p.iteration; }
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (thread < half) {
      let other_value = best_value[thread + half];
      let other_latent = best_latent[thread + half];
      if (other_value > best_value[thread] || (other_value == best_value[thread] && other_latent < best_latent[thread])) {
        best_value[thread] = other_value;
        best_latent[thread] = other_latent;
      }
    }
    workgroupBarrier();
  }
  let chosen = best_latent[0];
  let base = at * p.picks;
  for (var t = thread; t < p.iteration; t += WG) {
    if (indices[base + t] == chosen && first_slots[base + t] == t) { first_slot = t; } // at most one
  }
  workgroupBarrier();
  if (thread == 0u) {
    let slot = base + p.iteration;
    let none = chosen == NO_LATENT;
    indices[slot] = chosen;
    values[slot] = select(best_value[0], 0.0, none);
    first_slots[slot] = select(first_slot, p.iteration, none);
    if (none || (p.stop == 1u && first_slot != p.iteration)) { done[at] = 1u; }
  }
}
