// Frames of 16 bits, as they are stored, to float32: exact, subnormal numbers, infinities and NaN included.
//
//   binary16, s eeeee ffffffffff:  (-1)^s 2^(e - 15) (1 + f / 2^10),  e = 0: (-1)^s 2^-24 f,  e = 31: infinite or NaN
//   bfloat16 (BFLOAT = 1): the upper half of a float32
//
// Bits are put together as integers: unpack2x16float may flush subnormal numbers to zero on one adapter and not on another, and the host's own
// conversion does not. Only 2^-24 f is computed, which is exact: 2^-24, the smallest, is a normal float32. Padding becomes zero. ALIGNED = 1
// where rows have whole vec4s, so that no place has to be divided into row and column.
const ALIGNED = 0u;
const BFLOAT = 0u;
const QUADS = 8u; // vec4s of one invocation: a software adapter pays for every workgroup
const WG = 64u;

struct Params { quads: u32, columns: u32, stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> packed: array<u32>; // [rows, columns] without padding, two to a word, the first in its lower half
@group(0) @binding(2) var<storage, read_write> frames: array<vec4u>; // [rows, stride], bits of float32

fn pattern(row: u32, column: u32) -> u32 {
  let at = row * p.columns + column;
  return select(0u, (packed[at / 2u] >> (16u * (at % 2u))) & 0xffffu, column < p.columns);
}

fn binary16(half: vec4u) -> vec4u {
  let magnitude = half & vec4u(0x7fffu);
  let small = bitcast<vec4u>(vec4f(magnitude) * 0x1p-24);
  let normal = (magnitude << vec4u(13u)) + vec4u(112u << 23u);
  let special = normal + vec4u(112u << 23u); // an exponent of 31 becomes 255
  let bits = select(select(normal, small, magnitude < vec4u(0x400u)), special, magnitude >= vec4u(0x7c00u));
  return ((half & vec4u(0x8000u)) << vec4u(16u)) | bits;
}

fn unpacked(at: u32) -> vec4u {
  var half = vec4u(0u);
  if (ALIGNED == 1u) {
    let pairs = vec2u(packed[2u * at], packed[2u * at + 1u]);
    half = vec4u(pairs.x & 0xffffu, pairs.x >> 16u, pairs.y & 0xffffu, pairs.y >> 16u);
  } else {
    let row = at / (p.stride / 4u);
    let column = 4u * (at % (p.stride / 4u));
    half = vec4u(pattern(row, column), pattern(row, column + 1u), pattern(row, column + 2u), pattern(row, column + 3u));
  }
  if (BFLOAT == 1u) { return half << vec4u(16u); }
  return binary16(half);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first = (wid.x + wid.y * groups.x) * WG * QUADS + thread;
  for (var at = first; at < min(p.quads, first + WG * QUADS); at += WG) { frames[at] = unpacked(at); }
}
