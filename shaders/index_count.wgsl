// First half of the inverse index: which rows keep which latent.
//
// For every pair (b, i): counts[i] += 1 and bit b of i's bitmap is set. Integer atomics only: sums and unions do not
// depend on order. KEEP_ALL 0 leaves out pairs whose value is zero: they carry no gradient and did not fire.
// Empty slots are left out always. RAGGED 0: each row has k pairs; 1: row b those from offsets[b] on. One invocation per pair.
const WG = 64u;
const KEEP_ALL = 0u;
const RAGGED = 0u;

struct Params { pairs: u32, rows: u32, k: u32, first_latent: u32, latents: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [rows, k]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [rows, k]
@group(0) @binding(3) var<storage, read> offsets: array<u32>; // [rows + 1]
@group(0) @binding(4) var<storage, read_write> counts: array<atomic<u32>>; // all latents
@group(0) @binding(5) var<storage, read_write> bitmap: array<atomic<u32>>; // this shard: [latents, words]

// The row of a pair: the last whose pairs begin at or before it.
fn row_of(pair: u32) -> u32 {
  if (RAGGED == 0u) { return pair / p.k; }
  var low = 0u;
  var high = p.rows;
  while (high - low > 1u) {
    let middle = (low + high) / 2u;
    if (offsets[middle] <= pair) { low = middle; } else { high = middle; }
  }
  return low;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let pair = (wid.x + wid.y * groups.x) * WG + thread;
  if (pair >= p.pairs) { return; }
  let latent = indices[pair] - p.first_latent;
  if (latent >= p.latents || (KEEP_ALL == 0u && values[pair] == 0.0)) { return; }
  let row = row_of(pair);
  atomicAdd(&counts[p.first_latent + latent], 1u);
  atomicOr(&bitmap[latent * p.words + row / 32u], 1u << (row % 32u));
}
