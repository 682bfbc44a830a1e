// Between the halves of the inverse index: where the pairs of latent i begin that are of rows 128 q and later.
//
//   ranks[i, q] = starts[i] + bits of i's bitmap below row 128 q
//
// so that index_place.wgsl looks at four words for a pair, however many rows there are. One invocation per latent.
const WG = 64u;

struct Params { latents: u32, first_latent: u32, quads: u32, pitch: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> starts: array<u32>; // all latents + 1
@group(0) @binding(2) var<storage, read> bitmap: array<vec4u>; // this shard: [latents, quads]
@group(0) @binding(3) var<storage, read_write> ranks: array<u32>; // this shard: [latents, pitch]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let latent = (wid.x + wid.y * groups.x) * WG + thread;
  if (latent >= p.latents) { return; }
  var rank = starts[p.first_latent + latent];
  for (var quad = 0u; quad < p.quads; quad++) {
    ranks[latent * p.pitch + quad] = rank;
    let bits = countOneBits(bitmap[latent * p.quads + quad]);
    rank += bits.x + bits.y + bits.z + bits.w;
  }
}
