// W[i,d] uniform in [-bound, bound): word i * d_in + d of a Philox 4x32-10 stream (see src/random.ts, which gives the
// same words), its upper 24 bits scaled. Padding columns are zero. One invocation per element of the shard.
const WG = 64u;

struct Params { rows: u32, first_row: u32, columns: u32, stride: u32, seed_low: u32, seed_high: u32, stream: u32, substream: u32, bound: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> W: array<f32>; // this shard: [rows, stride]

// The 64-bit product of two 32-bit words: (low, high).
fn wide_product(a: u32, b: u32) -> vec2u {
  let a_low = a & 0xffffu;
  let a_high = a >> 16u;
  let b_low = b & 0xffffu;
  let b_high = b >> 16u;
  let middle = a_high * b_low + ((a_low * b_low) >> 16u);
  let middle2 = a_low * b_high + (middle & 0xffffu);
  return vec2u(a * b, a_high * b_high + (middle >> 16u) + (middle2 >> 16u));
}

fn philox(first: vec4u, seed: vec2u) -> vec4u {
  var c = first;
  var key = seed;
  for (var round = 0u; round < 10u; round++) {
    let p0 = wide_product(0xd2511f53u, c.x);
    let p1 = wide_product(0xcd9e8d57u, c.z);
    c = vec4u(p1.y ^ c.y ^ key.x, p1.x, p0.y ^ c.w ^ key.y, p0.x);
    key += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (wid.x + wid.y * groups.x) * WG + thread;
  let row = at / p.stride;
  let column = at % p.stride;
  if (row >= p.rows) { return; }
  var value = 0.0;
  if (column < p.columns) {
    // (first_row + row) * columns + column is a 64-bit number for wide SAEs.
    let product = wide_product(p.first_row + row, p.columns);
    let low = product.x + column;
    let high = product.y + select(0u, 1u, low < column);
    let words = philox(vec4u((low >> 2u) | (high << 30u), high >> 2u, p.substream, p.stream), vec2u(p.seed_low, p.seed_high));
    value = (f32(words[low & 3u] >> 8u) * 0x1p-23f - 1.0) * p.bound;
  }
  W[at] = value;
}
