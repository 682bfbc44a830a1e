// residual[b,:] -= v W_dec[j,:] for the pick (j, v) that each row made in one iteration of matching pursuit, for the latents of one
// shard. One invocation per vec4.
const WG = 64u;

struct Params { rows: u32, first_row: u32, picks: u32, iteration: u32, first_latent: u32, latents: u32, stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [.., picks]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [.., picks]
@group(0) @binding(3) var<storage, read> W_dec: array<vec4f>; // this shard: [latents, stride]
@group(0) @binding(4) var<storage, read_write> residual: array<vec4f>; // [.., stride]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let n = (wid.x + wid.y * groups.x) * WG + thread;
  let columns = p.stride / 4u;
  if (n / columns >= p.rows) { return; }
  let row = p.first_row + n / columns;
  let d = n % columns;
  let pick = row * p.picks + p.iteration;
  let latent = indices[pick] - p.first_latent; // empty picks and other shards become huge
  if (latent >= p.latents) { return; }
  residual[row * columns + d] -= values[pick] * W_dec[latent * columns + d];
}
