// Adds to the gradients of kept values what InfoNCE in both directions gives the codes of one side (contrast_codes.wgsl):
//
//   d loss / d s[b,j] = ds[b,j] = weight (exp(s[b,j] - own_b) + exp(s[b,j] - other_j) - 2 [b = j])      own, other: contrast_scores.wgsl's logarithms
//   dz[b,i] += norms[i] / length_b (sum_j ds[b,j] others[i,j] - code[b,i] sum_j ds[b,j] s[b,j])
//
// with norms under SCALED; the last term, which comes from the length that codes are divided by, only with COSINE. One workgroup per row
// walks the other side tile by tile: first the scores' gradients, one column per thread, then the pairs', one pair per thread. Fixed order.
const WG = 64u;
const TILE = 256u;
const SCALED = 0u;
const COSINE = 1u;

struct Params { rows: u32, high: u32, stride: u32, weight: f32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [room]
@group(0) @binding(2) var<storage, read> offsets: array<u32>; // [rows + 1]
@group(0) @binding(3) var<storage, read> codes: array<f32>; // [room]
@group(0) @binding(4) var<storage, read> others: array<f32>; // [high, stride], one row per latent
@group(0) @binding(5) var<storage, read> of_row: array<vec4f>; // [rows], this side
@group(0) @binding(6) var<storage, read> of_other: array<vec4f>; // [rows], the other side
@group(0) @binding(7) var<storage, read> norms: array<f32>; // [latents]
@group(0) @binding(8) var<storage, read_write> dz: array<f32>; // [room]

var<workgroup> tree: array<f32, WG>;
var<workgroup> ds: array<f32, TILE>;

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
  let first_pair = offsets[row];
  let end_pair = offsets[row + 1u];
  let own = of_row[row];
  var along = 0.0;
  for (var first = 0u; first < p.rows; first += TILE) {
    for (var n = thread; n < TILE; n += WG) {
      let other = first + n;
      var slope = 0.0;
      if (other < p.rows) {
        var score = 0.0;
        for (var pair = first_pair; pair < end_pair; pair++) {
          let latent = indices[pair];
          if (latent >= p.high) { break; }
          score += codes[pair] * others[latent * p.stride + other];
        }
        slope = p.weight * (exp(score - own.y) + exp(score - of_other[other].y) - select(0.0, 2.0, other == row));
        along += slope * score;
      }
      ds[n] = slope;
    }
    workgroupBarrier();
    let tile = min(TILE, p.rows - first);
    for (var pair = first_pair + thread; pair < end_pair; pair += WG) {
      let latent = indices[pair];
      if (latent >= p.high) { break; }
      var sum = 0.0;
      for (var n = 0u; n < tile; n++) { sum += ds[n] * others[latent * p.stride + first + n]; }
      var factor = 1.0 / own.x;
      if (SCALED == 1u) { factor *= norms[latent]; }
      dz[pair] += factor * sum;
    }
    workgroupBarrier();
  }
  if (COSINE == 1u) {
    let total = tree_sum(along, thread);
    for (var pair = first_pair + thread; pair < end_pair; pair += WG) {
      let latent = indices[pair];
      if (latent >= p.high) { break; }
      var factor = 1.0 / own.x;
      if (SCALED == 1u) { factor *= norms[latent]; }
      dz[pair] -= factor * codes[pair] * total;
    }
  }
}
