// r[b,:] = b_dec + sum over kept pairs (i, v) of row b: v W_dec[i,:], for a range of latents in one shard.
//
// The same as decode_sparse.wgsl, adding in the same order, for adapters that gather best from images (src/gpu/images.ts). A workgroup is a subgroup and
// has one row. Of four pairs each lane looks at one, and broadcasts hand them to all; each lane has four columns. A pair of another
// range or of an empty slot becomes one of this range with a value of zero. START and RAGGED as there.
enable subgroups;
diagnostic(off, subgroup_uniformity); // all that decides on a branch around them is the same in all lanes
const LANES = 8u; // of a subgroup: 4 or 8
const START = 1u;
const RAGGED = 0u;
const IMAGE_WIDTH = 1024u;

// Latents first_latent ... first_latent + latents - 1 are the rows of the shard from `before` on.
struct Params { rows: u32, k: u32, first_latent: u32, latents: u32, before: u32, stride: u32, base_step: u32, bias: f32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [rows, k]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [rows, k]
@group(0) @binding(3) var<storage, read> offsets: array<u32>; // [rows + 1]
@group(0) @binding(4) var W_dec: texture_storage_2d<rgba32float, read>; // this shard: [.., stride / 4] texels in a row of IMAGE_WIDTH after the other
@group(0) @binding(5) var<storage, read> base: array<vec4f>; // [stride], or [rows, stride]
@group(0) @binding(6) var<storage, read_write> r: array<vec4f>; // [rows, stride]

fn W_dec_at(texel: u32) -> vec4f {
  return textureLoad(W_dec, vec2u(texel % IMAGE_WIDTH, texel / IMAGE_WIDTH));
}

// Four columns, LANES apart.
struct Columns { a: vec4f, b: vec4f, c: vec4f, d: vec4f }

fn add_row(sum: ptr<function, Columns>, value: f32, at: u32) {
  (*sum).a += value * W_dec_at(at);
  (*sum).b += value * W_dec_at(at + LANES);
  (*sum).c += value * W_dec_at(at + 2u * LANES);
  (*sum).d += value * W_dec_at(at + 3u * LANES);
}

fn start_of(row: u32, column: u32, columns: u32) -> vec4f {
  let d = min(column, columns - 1u);
  if (START == 0u) { return r[row * columns + d]; }
  return p.bias * base[row * p.base_step + d];
}

fn store_column(row: u32, d: u32, sum: vec4f) {
  if (d < p.stride / 4u) { r[row * (p.stride / 4u) + d] = sum; }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let row = p.begin_group + wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let columns = p.stride / 4u;
  var first_pair = row * p.k;
  var end_pair = first_pair + p.k;
  if (RAGGED == 1u) {
    first_pair = offsets[row];
    end_pair = offsets[row + 1u];
  }
  for (var strip = 0u; strip < columns; strip += 4u * LANES) {
    let d = strip + lane;
    var sum = Columns(start_of(row, d, columns), start_of(row, d + LANES, columns), start_of(row, d + 2u * LANES, columns), start_of(row, d + 3u * LANES, columns));
    for (var first = first_pair; first < end_pair; first += 4u) {
      let pair = first + lane % 4u;
      let latent = indices[min(pair, end_pair - 1u)] - p.first_latent;
      let here = latent < p.latents && pair < end_pair;
      let some = subgroupMin(select(0xffffffffu, latent, here));
      if (some == 0xffffffffu) { continue; }
      let value = select(0.0, values[min(pair, end_pair - 1u)], here);
      let texel = (p.before + select(some, latent, here)) * columns + strip;
      add_row(&sum, subgroupBroadcast(value, 0u), subgroupBroadcast(texel, 0u) + lane);
      add_row(&sum, subgroupBroadcast(value, 1u), subgroupBroadcast(texel, 1u) + lane);
      add_row(&sum, subgroupBroadcast(value, 2u), subgroupBroadcast(texel, 2u) + lane);
      add_row(&sum, subgroupBroadcast(value, 3u), subgroupBroadcast(texel, 3u) + lane);
    }
    store_column(row, d, sum.a);
    store_column(row, d + LANES, sum.b);
    store_column(row, d + 2u * LANES, sum.c);
    store_column(row, d + 3u * LANES, sum.d);
  }
}
