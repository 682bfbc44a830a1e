// Weight gradients of a range of latents in one shard, gathered through the inverse index: no atomics, rows ascending.
//
//   grad W_dec[i,:] (+)= sum over pairs (b, j) of latent i: value_bj g[b,:]
//   grad W_enc[i,:] (+)= sum over pairs (b, j) of latent i: dz_bj xc[b,:]
//   grad b_enc[i]   (+)= sum over pairs (b, j) of latent i: dz_bj
//   squares[i] = |grad W_dec[i,:]|^2 + |grad W_enc[i,:]|^2 + (grad b_enc[i])^2      for the global norm
//
// ADD 0 writes, ADD 1 adds to what is there (main and auxiliary loss, one after the other). One workgroup per latent;
// each thread takes up to three columns at a time, which share the look at an entry.
const WG = 64u;
const ADD = 0u;

struct Entry { row: u32, value: f32, dz: f32 }

// Latents first_latent ... first_latent + latents - 1 are the rows of the shard from `before` on.
struct Params { latents: u32, first_latent: u32, before: u32, stride: u32, squares_at: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> starts: array<u32>; // all latents + 1
@group(0) @binding(2) var<storage, read> entries: array<Entry>; // by latent, rows ascending
@group(0) @binding(3) var<storage, read> g: array<vec4f>; // [rows, stride]
@group(0) @binding(4) var<storage, read> xc: array<vec4f>; // [rows, stride]
@group(0) @binding(5) var<storage, read_write> grad_W_dec: array<vec4f>; // this shard: [.., stride]
@group(0) @binding(6) var<storage, read_write> grad_W_enc: array<vec4f>; // this shard: [.., stride]
@group(0) @binding(7) var<storage, read_write> grad_b: array<f32>; // all latents: grad b_enc, then from squares_at on squares

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

fn store_gradients(at: u32, dec: vec4f, enc: vec4f) -> f32 {
  grad_W_dec[at] = dec;
  grad_W_enc[at] = enc;
  return dot(dec, dec) + dot(enc, enc);
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
  let own = (p.before + latent) * columns;
  for (var d = thread; d < columns; d += 3u * WG) {
    let has1 = d + WG < columns;
    let has2 = d + 2u * WG < columns;
    let d1 = select(d, d + WG, has1);
    let d2 = select(d, d + 2u * WG, has2);
    var dec = vec4f();
    var dec1 = vec4f();
    var dec2 = vec4f();
    var enc = vec4f();
    var enc1 = vec4f();
    var enc2 = vec4f();
    if (ADD == 1u) {
      dec = grad_W_dec[own + d];
      dec1 = grad_W_dec[own + d1];
      dec2 = grad_W_dec[own + d2];
      enc = grad_W_enc[own + d];
      enc1 = grad_W_enc[own + d1];
      enc2 = grad_W_enc[own + d2];
    }
    for (var n = begin; n < end; n++) {
      let entry = entries[n];
      let at = entry.row * columns;
      dec += entry.value * g[at + d];
      enc += entry.dz * xc[at + d];
      if (has1) {
        dec1 += entry.value * g[at + d1];
        enc1 += entry.dz * xc[at + d1];
      }
      if (has2) {
        dec2 += entry.value * g[at + d2];
        enc2 += entry.dz * xc[at + d2];
      }
    }
    squares += store_gradients(own + d, dec, enc);
    if (has1) { squares += store_gradients(own + d1, dec1, enc1); }
    if (has2) { squares += store_gradients(own + d2, dec2, enc2); }
  }
  let weight_squares = tree_sum(squares, thread);
  if (thread == 0u) {
    var bias = 0.0;
    if (ADD == 1u) { bias = grad_b[i]; }
    for (var n = begin; n < end; n++) { bias += entries[n].dz; }
    grad_b[i] = bias;
    grad_b[p.squares_at + i] = weight_squares + bias * bias;
  }
}
