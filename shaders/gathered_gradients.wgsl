// One weight's gradient for one shard of latents, gathered through the inverse index: no atomics, rows ascending.
//
//   grad[i,:] (+)= sum over pairs of latent i:  value M[row,:]               TERM 0
//                                               dz M[row,:]                  TERM 1; also sums[i] (+)= sum of dz, the bias' gradient
//                                               M[row * picks + slot,:]      TERM 2; the pair's dz is its slot, as a float
//   sums[squares_at + i] = |grad[i,:]|^2, and with TERM 1 the bias' square    for the global norm
//
// The same as latent_gradients.wgsl, for weights that go by themselves: those whose rows are not of one length, and tied ones. With TERM 2
// only pairs of rows first_row ... first_row + rows - 1 count, and M begins with the first of these. ADD 0 writes, ADD 1 adds to what is
// there. One workgroup per latent.
const WG = 64u;
const ADD = 0u;
const TERM = 0u;

struct Entry { row: u32, value: f32, dz: f32 }

struct Params { latents: u32, first_latent: u32, stride: u32, squares_at: u32, picks: u32, first_row: u32, rows: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> starts: array<u32>; // all latents + 1
@group(0) @binding(2) var<storage, read> entries: array<Entry>; // by latent, rows ascending
@group(0) @binding(3) var<storage, read> M: array<vec4f>; // [rows, stride], TERM 2: [rows * picks, stride]
@group(0) @binding(4) var<storage, read_write> grad: array<vec4f>; // this shard: [latents, stride]
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // all latents: the bias' gradient, then from squares_at on squares

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
  let latent = p.begin_group + wid.x + wid.y * groups.x;
  if (latent >= p.latents) { return; }
  let i = p.first_latent + latent;
  let columns = p.stride / 4u;
  let begin = starts[i];
  let end = starts[i + 1u];
  if (ADD == 1u && begin == end) { return; }
  var squares = 0.0;
  for (var d = thread; d < columns; d += WG) {
    var sum = vec4f();
    if (ADD == 1u) { sum = grad[latent * columns + d]; }
    for (var n = begin; n < end; n++) {
      let entry = entries[n];
      if (TERM == 0u) { sum += entry.value * M[entry.row * columns + d]; }
      if (TERM == 1u) { sum += entry.dz * M[entry.row * columns + d]; }
      if (TERM == 2u && entry.row - p.first_row < p.rows) {
        sum += M[((entry.row - p.first_row) * p.picks + u32(entry.dz)) * columns + d];
      }
    }
    grad[latent * columns + d] = sum;
    squares += dot(sum, sum);
  }
  var total = tree_sum(squares, thread);
  if (thread == 0u) {
    if (TERM == 1u) {
      var bias = 0.0;
      if (ADD == 1u) { bias = sums[i]; }
      for (var n = begin; n < end; n++) { bias += entries[n].dz; }
      sums[i] = bias;
      total += bias * bias;
    }
    sums[p.squares_at + i] = total;
  }
}
