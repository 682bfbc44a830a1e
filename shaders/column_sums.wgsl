// partial[block,:] = sum over the block's 128 rows of weight_row * M[row,:], rows upward.
//
// First half of a column sum; column_total.wgsl adds the blocks. WEIGHTED 0 takes every weight as one. Shards begin at
// multiples of 128 rows, so the blocks, and with them the bits, are those of the whole matrix.
// A workgroup sums one block, from begin_block on, for 64 vec4 columns.
const WG = 64u;
const BLOCK = 128u;
const WEIGHTED = 0u;

struct Params { rows: u32, first_row: u32, begin_block: u32, stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> M: array<vec4f>; // this shard: [rows, stride]
@group(0) @binding(2) var<storage, read> weights: array<f32>; // all rows
@group(0) @binding(3) var<storage, read_write> partial: array<vec4f>; // [all blocks, stride]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) thread: u32) {
  let columns = p.stride / 4u;
  let d = wid.y * WG + thread;
  if (d >= columns) { return; }
  let block = p.begin_block + wid.x;
  let begin = block * BLOCK;
  let end = min(begin + BLOCK, p.rows);
  var sum = vec4f();
  for (var row = begin; row < end; row++) {
    if (WEIGHTED == 1u) { sum += weights[p.first_row + row] * M[row * columns + d]; }
    else { sum += M[row * columns + d]; }
  }
  partial[(p.first_row / BLOCK + block) * columns + d] = sum;
}
