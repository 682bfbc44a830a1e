// Finishes the weight gradients of one shard of latents: adds what reaches W_dec through its row norms, and squares all of a latent's gradients.
//
//   grad W_dec[i,:] += s_i W_dec[i,:] / |W_dec[i,:]|              s: gradients of the norms, sums[2 pitch ...]; NORMS 1
//   squares[i] = |grad W_dec[i,:]|^2 + |grad W_enc[i,:]|^2 + sums[i]^2 + one[i]^2 + other[i]^2          sums[pitch ...]
//
// VECTORS says how many of sums, one, other are gradients of parameters. One workgroup per latent; fixed summation tree.
const WG = 64u;
const NORMS = 1u;
const VECTORS = 1u;

struct Params { latents: u32, first_latent: u32, stride: u32, enc_stride: u32, pitch: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> W_dec: array<vec4f>; // this shard: [latents, stride]
@group(0) @binding(2) var<storage, read> grad_W_enc: array<vec4f>; // this shard: [latents, enc_stride]
@group(0) @binding(3) var<storage, read> one: array<f32>; // all latents
@group(0) @binding(4) var<storage, read> other: array<f32>; // all latents
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // all latents: grad bias, squares, gradients of the norms
@group(0) @binding(6) var<storage, read_write> grad_W_dec: array<vec4f>; // this shard: [latents, stride]

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
  let latent = wid.x + wid.y * groups.x;
  if (latent >= p.latents) { return; }
  let i = p.first_latent + latent;
  let columns = p.stride / 4u;
  let own = latent * columns;
  var pull = 0.0;
  if (NORMS == 1u) {
    var length = 0.0;
    for (var d = thread; d < columns; d += WG) { length += dot(W_dec[own + d], W_dec[own + d]); }
    let norm = sqrt(tree_sum(length, thread));
    if (norm > 0.0) { pull = sums[2u * p.pitch + i] / norm; } // a zero row has no direction to be pulled along
  }
  var squares = 0.0;
  for (var d = thread; d < columns; d += WG) {
    var dec = grad_W_dec[own + d];
    if (NORMS == 1u) {
      dec += pull * W_dec[own + d];
      grad_W_dec[own + d] = dec;
    }
    squares += dot(dec, dec);
  }
  let enc_columns = p.enc_stride / 4u;
  for (var d = thread; d < enc_columns; d += WG) {
    let enc = grad_W_enc[latent * enc_columns + d];
    squares += dot(enc, enc);
  }
  var total = tree_sum(squares, thread);
  if (thread == 0u) {
    total += sums[i] * sums[i];
    if (VECTORS > 1u) { total += one[i] * one[i]; }
    if (VECTORS > 2u) { total += other[i] * other[i]; }
    sums[p.pitch + i] = total;
  }
}
