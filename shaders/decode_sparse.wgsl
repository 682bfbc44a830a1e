// r[b,:] = b_dec + sum over kept pairs (i, v) of row b: v W_dec[i,:], for the latents of one shard.
//
// START 1 begins the row with b_dec times `bias`; 0 continues what earlier shards wrote. Pairs are sorted by
// latent, so shards taken in order add in the same order as one whole weight: the same bits. One workgroup per row.
const WG = 64u;
const START = 1u;

struct Params { rows: u32, k: u32, first_latent: u32, latents: u32, stride: u32, bias: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [rows, k]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [rows, k]
@group(0) @binding(3) var<storage, read> W_dec: array<vec4f>; // this shard: [latents, stride]
@group(0) @binding(4) var<storage, read> b_dec: array<vec4f>; // [stride]
@group(0) @binding(5) var<storage, read_write> r: array<vec4f>; // [rows, stride]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let columns = p.stride / 4u;
  for (var d = thread; d < columns; d += WG) {
    var sum = p.bias * b_dec[d];
    if (START == 0u) { sum = r[row * columns + d]; }
    for (var j = row * p.k; j < (row + 1u) * p.k; j++) {
      let latent = indices[j] - p.first_latent; // wraps to a huge number below the shard and for empty slots
      if (latent < p.latents) { sum += values[j] * W_dec[latent * columns + d]; }
    }
    r[row * columns + d] = sum;
  }
}
