// dz[b,j] = g[b,:] . W_dec[i_bj,:] for the kept pairs of each row that lie in a range of latents in one shard.
//
// The same as kept_gradients.wgsl, for software adapters, which pay for every barrier and every load: each invocation computes the
// products of eight pairs of a row by itself, two at a time a row vector times a mat4x4, so that they share the loads of g.
// RELU as there. Pairs of other ranges are clamped on load and not stored. Each sum runs over d upward.
//
// RAGGED 1: pairs offsets[b] ... offsets[b + 1] - 1 of a row. Its eights begin at number offsets[b] / 8 + b, rounded down, which leaves room for all
// that the rows before it can have; so an invocation finds its row by halving, and some have nothing to do.
const WG = 64u;
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

// The latents of four pairs, counted from the range's first: outside the range, and in empty slots, a huge number.
fn four_latents_at(pair: u32, end: u32) -> vec4u {
  let at = min(pair + vec4u(0u, 1u, 2u, 3u), vec4u(end - 1u));
  return vec4u(indices[at.x], indices[at.y], indices[at.z], indices[at.w]) - p.first_latent;
}

fn four_columns(at: vec4u, d: u32) -> mat4x4f {
  return mat4x4f(W_dec[at.x + d], W_dec[at.y + d], W_dec[at.z + d], W_dec[at.w + d]);
}

fn store_four(pair: u32, end: u32, latent: vec4u, sum: vec4f) {
  for (var n = 0u; n < 4u; n++) {
    if (pair + n < end && latent[n] < p.latents) { dz[pair + n] = select(sum[n], 0.0, RELU == 1u && values[pair + n] <= 0.0); }
  }
}

fn first_eight_of(row: u32) -> u32 {
  return offsets[row] / 8u + row;
}

// The last row whose eights begin at or before this one.
fn row_of_eight(eight: u32) -> u32 {
  var low = 0u;
  var high = p.rows;
  while (high - low > 1u) {
    let middle = (low + high) / 2u;
    if (first_eight_of(middle) <= eight) { low = middle; } else { high = middle; }
  }
  return low;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (p.begin_group + wid.x + wid.y * groups.x) * WG + thread;
  var row = 0u;
  var pair = 0u;
  var end = 0u;
  if (RAGGED == 1u) {
    row = row_of_eight(at);
    pair = offsets[row] + (at - first_eight_of(row)) * 8u;
    end = offsets[row + 1u];
    if (pair >= end) { return; }
  } else {
    let per_row = (p.k + 7u) / 8u;
    row = at / per_row;
    if (row >= p.rows) { return; }
    pair = row * p.k + at % per_row * 8u;
    end = (row + 1u) * p.k;
  }
  let columns = p.stride / 4u;
  let latent0 = four_latents_at(pair, end);
  let latent1 = four_latents_at(pair + 4u, end);
  if (all(latent0 >= vec4u(p.latents)) && all(latent1 >= vec4u(p.latents))) { return; }
  let w0 = (p.before + min(latent0, vec4u(p.latents - 1u))) * columns;
  let w1 = (p.before + min(latent1, vec4u(p.latents - 1u))) * columns;
  var sum0 = vec4f();
  var sum1 = vec4f();
  for (var d = 0u; d < columns; d++) {
    let g4 = g[row * columns + d];
    sum0 += g4 * four_columns(w0, d);
    sum1 += g4 * four_columns(w1, d);
  }
  store_four(pair, end, latent0, sum0);
  store_four(pair + 4u, end, latent1, sum1);
}
