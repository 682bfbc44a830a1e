// A digest of a tensor's bits: 64 bits that any change of one word changes, and any other change but by a chance of about 2^-64.
//
//   digests[2 slot]     += sum over words of S(word ^ s),                 s = S(index + 0x9e3779b9)
//   digests[2 slot + 1] += sum over words of S(0x85ebca6b word + R(s))    modulo 2^32
//
// index is the word's place in the whole matrix without padding, so that shards and strides do not count; S is a bijection of 32-bit words that
// flips half of its output for every bit of its input (C. Wellons, hash-prospector: lowbias32), R turns by half a word. Integer sums do
// not depend on order. Each invocation takes WORDS words, WG apart; PADDED 1 leaves out the padding of rows.
const WG = 64u;
const WORDS = 64u;
const PADDED = 0u;

struct Params { words: u32, columns: u32, stride: u32, first: u32, slot: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> M: array<u32>; // this shard: [rows, stride]
@group(0) @binding(2) var<storage, read_write> digests: array<atomic<u32>>; // [2 slots]

fn scrambled(word: u32) -> u32 {
  var x = word;
  x = (x ^ (x >> 16u)) * 0x7feb352du;
  x = (x ^ (x >> 15u)) * 0x846ca68bu;
  return x ^ (x >> 16u);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let begin = (wid.x + wid.y * groups.x) * WG * WORDS + thread;
  var sum = vec2u();
  for (var n = 0u; n < WORDS; n++) {
    let at = begin + n * WG;
    if (at >= p.words) { break; }
    var index = at;
    if (PADDED == 1u) {
      let column = at % p.stride;
      if (column >= p.columns) { continue; }
      index = at / p.stride * p.columns + column;
    }
    let word = M[at];
    let place = scrambled(p.first + index + 0x9e3779b9u);
    sum += vec2u(scrambled(word ^ place), scrambled(word * 0x85ebca6bu + ((place << 16u) | (place >> 16u))));
  }
  if (begin < p.words) {
    atomicAdd(&digests[2u * p.slot], sum.x);
    atomicAdd(&digests[2u * p.slot + 1u], sum.y);
  }
}
