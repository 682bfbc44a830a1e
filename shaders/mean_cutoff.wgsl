// Where TopK cut the rows of a batch: cutoff[0] = mean_b min_j values[b,j] norms[indices[b,j]], over the k kept pairs of each row.
//
// A row that has fewer than k pre-activations above zero keeps zeros, so its cut is at zero; an empty slot counts as such. One
// workgroup: each thread strides over the rows, then a fixed tree.
const WG = 256u;
const NO_LATENT = 0xffffffffu;

struct Params { rows: u32, k: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [rows, k]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [rows, k]
@group(0) @binding(3) var<storage, read> norms: array<f32>; // all latents
@group(0) @binding(4) var<storage, read_write> cutoff: array<f32>; // [1]

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
  for (var row = thread; row < p.rows; row += WG) {
    var least = 0.0;
    for (var j = 0u; j < p.k; j++) {
      let latent = indices[row * p.k + j];
      var reported = 0.0;
      if (latent != NO_LATENT) { reported = values[row * p.k + j] * norms[latent]; }
      least = select(min(least, reported), reported, j == 0u);
    }
    sum += least;
  }
  let total = tree_sum(sum, thread);
  if (thread == 0u) { cutoff[0] = total / f32(p.rows); }
}
