// The best latent of each of k groups of consecutive latents, row by row; among equal scores the smaller latent.
//
//   group j of row b:     latents j size ... (j + 1) size - 1, size = latents / k
//   score:                h[b,i], times norms[i] with SCALED
//   value that is kept:   relu(h[b,i])
//
// Scores are compared as unsigned keys in the same order, in which -0 counts as +0. A NaN or an infinity sets bit 0 of flags[0].
// One invocation per group.
const WG = 64u;
const SCALED = 0u;

struct Params { rows: u32, first_row: u32, latents: u32, k: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>; // [rows, latents]
@group(0) @binding(2) var<storage, read> norms: array<f32>; // [latents]
@group(0) @binding(3) var<storage, read_write> indices: array<u32>; // [.., k]
@group(0) @binding(4) var<storage, read_write> values: array<f32>; // [.., k]
@group(0) @binding(5) var<storage, read_write> flags: array<atomic<u32>>;

fn ordered_key(score: f32) -> u32 {
  let bits = bitcast<u32>(score);
  if (bits == 0x80000000u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let group = (wid.x + wid.y * groups.x) * WG + thread;
  let row = group / p.k;
  if (row >= p.rows) { return; }
  let size = p.latents / p.k;
  let first = group % p.k * size;
  var best = first;
  var largest = 0u;
  var broken = false;
  for (var i = first; i < first + size; i++) {
    var score = h[row * p.latents + i];
    if (SCALED == 1u) { score *= norms[i]; }
    broken = broken || (bitcast<u32>(score) & 0x7f800000u) == 0x7f800000u;
    let key = ordered_key(score);
    if (key > largest) {
      largest = key;
      best = i;
    }
  }
  if (broken) { atomicOr(&flags[0], 1u); }
  let at = p.first_row * p.k + group;
  indices[at] = best;
  values[at] = max(h[row * p.latents + best], 0.0);
}
