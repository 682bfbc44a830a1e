// The codes that a contrastive loss compares, from a batch's kept pairs: of each row those of its first `high` latents.
//
//   f[b,i] = z[b,i], times norms[i] with SCALED
//   code   = f[b,i] / length_b,  length_b = max(|f[b,:]|, 1e-8) with COSINE, else 1
//
// They are written beside their pairs, and into a matrix of one row per latent, which is zero before: by_latent[i, b]. of_row[b] begins with the
// length. Pairs of a row are in the order of latents, so those that count come first. One workgroup per row; fixed tree.
const WG = 64u;
const SCALED = 0u;
const COSINE = 1u;

struct Params { rows: u32, high: u32, stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [room]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [room]
@group(0) @binding(3) var<storage, read> offsets: array<u32>; // [rows + 1]
@group(0) @binding(4) var<storage, read> norms: array<f32>; // [latents]
@group(0) @binding(5) var<storage, read_write> codes: array<f32>; // [room]
@group(0) @binding(6) var<storage, read_write> by_latent: array<f32>; // [high, stride]
@group(0) @binding(7) var<storage, read_write> of_row: array<vec4f>; // [rows]

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

fn activation(pair: u32) -> f32 {
  if (SCALED == 1u) { return values[pair] * norms[indices[pair]]; }
  return values[pair];
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let first_pair = offsets[row];
  let end_pair = offsets[row + 1u];
  var length = 1.0;
  if (COSINE == 1u) {
    var squares = 0.0;
    for (var pair = first_pair + thread; pair < end_pair; pair += WG) {
      if (indices[pair] >= p.high) { break; }
      let f = activation(pair);
      squares += f * f;
    }
    length = max(sqrt(tree_sum(squares, thread)), 1e-8);
  }
  for (var pair = first_pair + thread; pair < end_pair; pair += WG) {
    let latent = indices[pair];
    if (latent >= p.high) { break; }
    let code = activation(pair) / length;
    codes[pair] = code;
    by_latent[latent * p.stride + row] = code;
  }
  if (thread == 0u) { of_row[row] = vec4f(length, 0.0, 0.0, 0.0); }
}
