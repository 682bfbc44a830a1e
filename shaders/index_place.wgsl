// Second half of the inverse index: entries[starts[i] ...] lists the pairs of latent i with rows ascending.
//
// A pair's place among its latent's pairs is the number of bitmap bits below its row, so the order is that of
// the rows whatever order the invocations run in: index_rank.wgsl has counted those of whole 128 rows. One invocation per pair. KEEP_ALL and
// RAGGED as in index_count.wgsl.
const WG = 64u;
const KEEP_ALL = 0u;
const RAGGED = 0u;

struct Entry { row: u32, value: f32, dz: f32 }

struct Params { pairs: u32, rows: u32, k: u32, first_latent: u32, latents: u32, quads: u32, pitch: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [rows, k]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [rows, k]
@group(0) @binding(3) var<storage, read> offsets: array<u32>; // [rows + 1]
@group(0) @binding(4) var<storage, read> dz: array<f32>; // [rows, k]
@group(0) @binding(5) var<storage, read> ranks: array<u32>; // this shard: [latents, pitch]
@group(0) @binding(6) var<storage, read> bitmap: array<vec4u>; // this shard: [latents, quads], 128 rows each
@group(0) @binding(7) var<storage, read_write> entries: array<Entry>; // [rows * k]

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
  let quad = row / 128u;
  let word = row / 32u % 4u;
  let bits = bitmap[latent * p.quads + quad];
  let counts = select(vec4u(), countOneBits(bits), vec4u(0u, 1u, 2u, 3u) < vec4u(word));
  let own = countOneBits(bits[word] & ((1u << (row % 32u)) - 1u));
  let place = ranks[latent * p.pitch + quad] + counts.x + counts.y + counts.z + counts.w + own;
  entries[place] = Entry(row, values[pair], dz[pair]);
}
