// How a row's codes compare with all rows of the other side:
//
//   s[b,j] = sum over the row's pairs of code[b,i] others[i,j]
//   of_row[b] = (length, log sum_j exp(s[b,j]), s[b,b], -)
//
// Scores are not kept: a batch has rows x rows of them. One workgroup per row; each thread keeps its own running maximum and sum, which are
// joined in a fixed tree. A score that is not finite sets bit 0 of flags[0].
const WG = 64u;

struct Params { rows: u32, high: u32, stride: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [room]
@group(0) @binding(2) var<storage, read> offsets: array<u32>; // [rows + 1]
@group(0) @binding(3) var<storage, read> codes: array<f32>; // [room]
@group(0) @binding(4) var<storage, read> others: array<f32>; // [high, stride], one row per latent
@group(0) @binding(5) var<storage, read_write> of_row: array<vec4f>; // [rows]
@group(0) @binding(6) var<storage, read_write> flags: array<atomic<u32>>;

var<workgroup> tree: array<vec2f, WG>; // maximum, sum relative to it

fn join(a: vec2f, b: vec2f) -> vec2f {
  let m = max(a.x, b.x);
  return vec2f(m, a.y * exp(a.x - m) + b.y * exp(b.x - m));
}

fn similarity_of(first_pair: u32, end_pair: u32, other: u32) -> f32 {
  var score = 0.0;
  for (var pair = first_pair; pair < end_pair; pair++) {
    let latent = indices[pair];
    if (latent >= p.high) { break; }
    score += codes[pair] * others[latent * p.stride + other];
  }
  return score;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = p.begin_group + wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let first_pair = offsets[row];
  let end_pair = offsets[row + 1u];
  var running = vec2f(-1e30, 0.0);
  var broken = false;
  for (var other = thread; other < p.rows; other += WG) {
    let score = similarity_of(first_pair, end_pair, other);
    broken = broken || (bitcast<u32>(score) & 0x7f800000u) == 0x7f800000u;
    running = join(running, vec2f(score, 1.0));
  }
  if (broken) { atomicOr(&flags[0], 1u); }
  tree[thread] = running;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (thread < half) { tree[thread] = join(tree[thread], tree[thread + half]); }
    workgroupBarrier();
  }
  if (thread == 0u) { of_row[row] = vec4f(of_row[row].x, tree[0].x + log(tree[0].y), similarity_of(first_pair, end_pair, row), 0.0); }
}
