// r[b,:] = b_dec + sum over latents i of f[b,i] W_dec[i,:], for the latents of one shard, skipping zeros.
//
// The dense twin of decode_sparse.wgsl, for inference: codes given as a matrix. It adds over latents upward and skips
// zeros, so it gives the same bits as the sparse form. START as there. One workgroup per row.
const WG = 64u;
const START = 1u;

struct Params { rows: u32, first_latent: u32, latents: u32, stride: u32, f_stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> f: array<f32>; // [rows, f_stride]
@group(0) @binding(2) var<storage, read> W_dec: array<vec4f>; // this shard: [latents, stride]
@group(0) @binding(3) var<storage, read> b_dec: array<vec4f>; // [stride]
@group(0) @binding(4) var<storage, read_write> r: array<vec4f>; // [rows, stride]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let columns = p.stride / 4u;
  for (var d = thread; d < columns; d += WG) {
    var sum = b_dec[d];
    if (START == 0u) { sum = r[row * columns + d]; }
    for (var i = 0u; i < p.latents; i++) {
      let value = f[row * p.f_stride + p.first_latent + i];
      if (value != 0.0) { sum += value * W_dec[i * columns + d]; }
    }
    r[row * columns + d] = sum;
  }
}
