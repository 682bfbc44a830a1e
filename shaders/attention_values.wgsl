// Causal attention over one block of keys, second half: the values, weighted as attention_scores.wgsl left it.
//
//   o[b,i] = o[b,i] carry[b,head] + sum_j w[b,head,j] v[j,i]           head: i / per_head
//
// At the FIRST block o[b,:] begins as the value of the context before a clip, which is the bias; after the LAST it is divided
// by l. One invocation per latent and eight rows, so that a value is read once for all of them; sums run over j upward.
const WG = 64u;
const FIRST = 0u;
const LAST = 0u;
const OWN = 0u;

struct Params { rows: u32, first_row: u32, heads: u32, per_head: u32, latents: u32, stride: u32, keys: u32, w_stride: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>; // [rows * heads, w_stride]
@group(0) @binding(2) var<storage, read> v: array<f32>; // [keys, stride]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [latents]
@group(0) @binding(4) var<storage, read> running: array<vec2f>; // [.., heads]: m, l
@group(0) @binding(5) var<storage, read> carry: array<f32>; // [.., heads]
@group(0) @binding(6) var<storage, read_write> o: array<f32>; // [.., stride]

// Where the weights of a row of this head begin; rows past the end take the last one's.
fn weights_of(row: u32, head: u32) -> u32 {
  return (min(row, p.rows - 1u) * p.heads + head) * p.w_stride;
}

fn store_attended(row: u32, latent: u32, head: u32, sum: f32) {
  if (row >= p.rows) { return; }
  let at = (p.first_row + row) * p.stride + latent;
  let state = (p.first_row + row) * p.heads + head;
  var before = bias[latent];
  if (FIRST == 0u) { before = o[at]; }
  var value = before * carry[state] + sum;
  if (LAST == 1u) { value /= running[state].y; }
  o[at] = value;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let group = p.begin_group + wid.x + wid.y * groups.x;
  let across = (p.latents + WG - 1u) / WG; // workgroups side by side, which have the same rows
  let latent = group % across * WG + thread;
  let row = group / across * 8u;
  if (latent >= p.latents || row >= p.rows) { return; }
  let head = latent / p.per_head;
  let w0 = weights_of(row, head);
  let w1 = weights_of(row + 1u, head);
  let w2 = weights_of(row + 2u, head);
  let w3 = weights_of(row + 3u, head);
  let w4 = weights_of(row + 4u, head);
  let w5 = weights_of(row + 5u, head);
  let w6 = weights_of(row + 6u, head);
  let w7 = weights_of(row + 7u, head);
  var seen = p.keys;
  if (OWN == 1u) { seen = min(seen, p.first_row + row + 7u); } // weights are zero where a row sees less
  var low = vec4f();
  var high = vec4f();
  for (var j = 0u; j < seen; j++) {
    let value = v[j * p.stride + latent];
    low += vec4f(w[w0 + j], w[w1 + j], w[w2 + j], w[w3 + j]) * value;
    high += vec4f(w[w4 + j], w[w5 + j], w[w6 + j], w[w7 + j]) * value;
  }
  store_attended(row, latent, head, low.x);
  store_attended(row + 1u, latent, head, low.y);
  store_attended(row + 2u, latent, head, low.z);
  store_attended(row + 3u, latent, head, low.w);
  store_attended(row + 4u, latent, head, high.x);
  store_attended(row + 5u, latent, head, high.y);
  store_attended(row + 6u, latent, head, high.z);
  store_attended(row + 7u, latent, head, high.w);
}
