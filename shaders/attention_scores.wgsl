// Causal attention over one block of keys, first half: the weights of its keys, and what they do to the running softmax
// (Milakov and Gimelshein 2018, "Online normalizer calculation for softmax").
//
//   s[j] = scale * q[b,head] . k[j,head]           for the keys that the query sees: all, or with OWN those of frames before its own
//   m    = max(m', max_j s[j])                     m', l': the blocks before. At the FIRST block they are those of the context
//   w[j] = exp(s[j] - m), 0 where unseen           before a clip, whose key is the bias: m' = scale * q . bias, l' = 1
//   l    = l' exp(m' - m) + sum_j w[j]
//   carry = exp(m' - m)                            by which sums over earlier blocks shrink
//
// One workgroup per row and head; fixed summation tree. A score that is not finite sets bit 0 of flags[0].
const WG = 64u;
const FIRST = 0u;
const OWN = 0u;

struct Params { rows: u32, first_row: u32, heads: u32, width: u32, q_stride: u32, k_stride: u32, keys: u32, w_stride: u32, scale: f32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [.., q_stride], heads of `width` side by side
@group(0) @binding(2) var<storage, read> k: array<f32>; // [keys, k_stride]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [heads * width]
@group(0) @binding(4) var<storage, read_write> w: array<f32>; // [rows * heads, w_stride]
@group(0) @binding(5) var<storage, read_write> running: array<vec2f>; // [.., heads]: m, l
@group(0) @binding(6) var<storage, read_write> carry: array<f32>; // [.., heads]
@group(0) @binding(7) var<storage, read_write> flags: array<atomic<u32>>;

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

fn tree_max(value: f32, thread: u32) -> f32 {
  tree[thread] = value;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (thread < half) { tree[thread] = max(tree[thread], tree[thread + half]); }
    workgroupBarrier();
  }
  let largest = tree[0];
  workgroupBarrier();
  return largest;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let group = p.begin_group + wid.x + wid.y * groups.x;
  if (group >= p.rows * p.heads) { return; }
  let row = p.first_row + group / p.heads;
  let head = group % p.heads;
  let query = row * p.q_stride + head * p.width;
  let first_weight = group * p.w_stride;
  var seen = p.keys;
  if (OWN == 1u) { seen = min(seen, row); }

  var before = running[row * p.heads + head];
  if (FIRST == 1u) {
    var score = 0.0;
    for (var d = 0u; d < p.width; d++) { score += q[query + d] * bias[head * p.width + d]; }
    before = vec2f(score * p.scale, 1.0);
  }
  var largest = before.x;
  var broken = (bitcast<u32>(before.x) & 0x7f800000u) == 0x7f800000u;
  for (var j = thread; j < seen; j += WG) {
    var score = 0.0;
    for (var d = 0u; d < p.width; d++) { score += q[query + d] * k[j * p.k_stride + head * p.width + d]; }
    score *= p.scale;
    broken = broken || (bitcast<u32>(score) & 0x7f800000u) == 0x7f800000u;
    w[first_weight + j] = score;
    largest = max(largest, score);
  }
  if (broken) { atomicOr(&flags[0], 1u); }

  let m = tree_max(largest, thread);
  var sum = 0.0;
  for (var j = thread; j < p.keys; j += WG) {
    var weight = 0.0;
    if (j < seen) { weight = exp(w[first_weight + j] - m); }
    w[first_weight + j] = weight;
    sum += weight;
  }
  let total = tree_sum(sum, thread);
  if (thread == 0u) {
    let shrink = exp(before.x - m);
    carry[row * p.heads + head] = shrink;
    running[row * p.heads + head] = vec2f(m, before.y * shrink + total);
  }
}
