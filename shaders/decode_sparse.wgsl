// r[b,:] = b_dec + sum over kept pairs (i, v) of row b: v W_dec[i,:], for a range of latents in one shard.
//
// START 1 begins the row with base times `bias`: b_dec (base_step 0), or what latents before the range gave (base_step: vec4s of a row); START 0
// continues what earlier shards wrote. Pairs are sorted by latent, so ranges taken in order add in the same order as one whole weight:
// the same bits. RAGGED 0: each row has k pairs; 1: pairs offsets[b] ... offsets[b + 1] - 1. One workgroup per row; each thread takes up to
// three columns at a time, which share the look at a pair.
const WG = 64u;
const START = 1u;
const RAGGED = 0u;

// Latents first_latent ... first_latent + latents - 1 are the rows of the shard from `before` on.
struct Params { rows: u32, k: u32, first_latent: u32, latents: u32, before: u32, stride: u32, base_step: u32, bias: f32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [rows, k]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [rows, k]
@group(0) @binding(3) var<storage, read> offsets: array<u32>; // [rows + 1]
@group(0) @binding(4) var<storage, read> W_dec: array<vec4f>; // this shard: [.., stride]
@group(0) @binding(5) var<storage, read> base: array<vec4f>; // [stride], or [rows, stride]
@group(0) @binding(6) var<storage, read_write> r: array<vec4f>; // [rows, stride]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = p.begin_group + wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let columns = p.stride / 4u;
  let end = p.first_latent + p.latents; // from here on other ranges, and empty slots
  var first_pair = row * p.k;
  var end_pair = first_pair + p.k;
  if (RAGGED == 1u) {
    first_pair = offsets[row];
    end_pair = offsets[row + 1u];
  }
  for (var d = thread; d < columns; d += 3u * WG) {
    let has1 = d + WG < columns;
    let has2 = d + 2u * WG < columns;
    let d1 = select(d, d + WG, has1);
    let d2 = select(d, d + 2u * WG, has2);
    let at = row * columns;
    let own = row * p.base_step;
    var sum = p.bias * base[own + d];
    var sum1 = p.bias * base[own + d1];
    var sum2 = p.bias * base[own + d2];
    if (START == 0u) {
      sum = r[at + d];
      sum1 = r[at + d1];
      sum2 = r[at + d2];
    }
    for (var j = first_pair; j < end_pair; j++) {
      let latent = indices[j];
      if (latent >= end) { break; }
      if (latent >= p.first_latent) {
        let value = values[j];
        let w = (p.before + latent - p.first_latent) * columns;
        sum += value * W_dec[w + d];
        if (has1) { sum1 += value * W_dec[w + d1]; }
        if (has2) { sum2 += value * W_dec[w + d2]; }
      }
    }
    r[at + d] = sum;
    if (has1) { r[at + d1] = sum1; }
    if (has2) { r[at + d2] = sum2; }
  }
}
