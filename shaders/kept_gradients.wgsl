// dz[b,j] = g[b,:] . W_dec[i_bj,:] for the kept pairs of each row that lie in a range of latents in one shard.
//
// RELU 1: dz is zero where the kept value is not positive (the derivative of relu); RELU 0: every pair (auxiliary loss, AbsTopK).
// RAGGED 0: each row has k pairs; 1: pairs offsets[b] ... offsets[b + 1] - 1. One workgroup per row: eight lanes share a pair's dot product, WG / 8 pairs at a time; each lane strides over the
// columns and the eight partial sums are added in lane order.
const WG = 64u;
const LANES = 8u;
const RELU = 1u;
const RAGGED = 0u;

// Latents first_latent ... first_latent + latents - 1 are the rows of the shard from `before` on.
struct Params { rows: u32, k: u32, first_latent: u32, latents: u32, before: u32, stride: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [rows, k]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [rows, k]
@group(0) @binding(3) var<storage, read> offsets: array<u32>; // [rows + 1]
@group(0) @binding(4) var<storage, read> g: array<vec4f>; // [rows, stride]
@group(0) @binding(5) var<storage, read> W_dec: array<vec4f>; // this shard: [.., stride]
@group(0) @binding(6) var<storage, read_write> dz: array<f32>; // [rows, k]

var<workgroup> partial: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = p.begin_group + wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let columns = p.stride / 4u;
  let lane = thread % LANES;
  var first_pair = row * p.k;
  var end_pair = first_pair + p.k;
  if (RAGGED == 1u) {
    first_pair = offsets[row];
    end_pair = offsets[row + 1u];
  }
  for (var first = first_pair; first < end_pair; first += WG / LANES) {
    let pair = first + thread / LANES;
    var latent = p.latents;
    if (pair < end_pair) { latent = indices[pair] - p.first_latent; }
    let here = latent < p.latents;
    var sum = 0.0;
    if (here) {
      for (var d = lane; d < columns; d += LANES) {
        sum += dot(g[row * columns + d], W_dec[(p.before + latent) * columns + d]);
      }
    }
    partial[thread] = sum;
    workgroupBarrier();
    if (lane == 0u && here) {
      var total = partial[thread];
      for (var other = 1u; other < LANES; other++) { total += partial[thread + other]; }
      dz[pair] = select(total, 0.0, RELU == 1u && values[pair] <= 0.0);
    }
    workgroupBarrier();
  }
}
