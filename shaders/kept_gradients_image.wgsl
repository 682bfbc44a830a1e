// dz[b,j] = g[b,:] . W_dec[i_bj,:] for the kept pairs of each row that lie in a range of latents in one shard.
//
// The same as kept_gradients.wgsl, for adapters that gather best from images (src/gpu/images.ts). A workgroup is a subgroup and has one row. It takes LANES
// pairs at a time: each lane has some columns, four at a time, of all their products, and in the end the lanes' parts are added. RELU and
// RAGGED as there. A pair of another range or of an empty slot is computed as if it were one of this range, and not stored.
enable subgroups;
diagnostic(off, subgroup_uniformity); // all that decides on a branch around them is the same in all lanes
const LANES = 8u; // of a subgroup: 4 or 8
const RELU = 1u;
const RAGGED = 0u;
const IMAGE_WIDTH = 1024u;

// Latents first_latent ... first_latent + latents - 1 are the rows of the shard from `before` on.
struct Params { rows: u32, k: u32, first_latent: u32, latents: u32, before: u32, stride: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [rows, k]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [rows, k]
@group(0) @binding(3) var<storage, read> offsets: array<u32>; // [rows + 1]
@group(0) @binding(4) var g: texture_storage_2d<rgba32float, read>; // [rows, stride / 4] texels in a row of IMAGE_WIDTH after the other
@group(0) @binding(5) var W_dec: texture_storage_2d<rgba32float, read>; // this shard: [.., stride / 4]
@group(0) @binding(6) var<storage, read_write> dz: array<f32>; // [rows, k]

fn W_dec_at(texel: u32) -> vec4f {
  return textureLoad(W_dec, vec2u(texel % IMAGE_WIDTH, texel / IMAGE_WIDTH));
}

fn g_at(texel: u32) -> vec4f {
  return textureLoad(g, vec2u(texel % IMAGE_WIDTH, texel / IMAGE_WIDTH));
}

// A sum, and the product of a row of W_dec with four columns of each of four places of g, place by place.
fn with_products(sum: f32, grad: mat4x4f, row: u32, d: vec4u) -> f32 {
  let first = sum + dot(grad[0], W_dec_at(row + d.x)) + dot(grad[1], W_dec_at(row + d.y));
  return first + dot(grad[2], W_dec_at(row + d.z)) + dot(grad[3], W_dec_at(row + d.w));
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
  for (var first = first_pair; first < end_pair; first += LANES) {
    let pair = min(first + lane, end_pair - 1u);
    let latent = indices[pair] - p.first_latent;
    let here = latent < p.latents && first + lane < end_pair;
    let some = subgroupMin(select(0xffffffffu, latent, here));
    if (some == 0xffffffffu) { continue; }
    let texel = (p.before + select(some, latent, here)) * columns;
    var sum = array<f32, 8>();
    for (var strip = 0u; strip < columns; strip += 4u * LANES) {
      let d = strip + lane + vec4u(0u, LANES, 2u * LANES, 3u * LANES);
      let own = min(d, vec4u(columns - 1u));
      let there = vec4f(select(vec4u(), vec4u(1u), d < vec4u(columns)));
      let grad = mat4x4f(there.x * g_at(row * columns + own.x), there.y * g_at(row * columns + own.y), there.z * g_at(row * columns + own.z), there.w * g_at(row * columns + own.w));
      sum[0] = with_products(sum[0], grad, subgroupBroadcast(texel, 0u), own);
      sum[1] = with_products(sum[1], grad, subgroupBroadcast(texel, 1u), own);
      sum[2] = with_products(sum[2], grad, subgroupBroadcast(texel, 2u), own);
      sum[3] = with_products(sum[3], grad, subgroupBroadcast(texel, 3u), own);
      if (LANES == 8u) {
        sum[4] = with_products(sum[4], grad, subgroupBroadcast(texel, 4u), own);
        sum[5] = with_products(sum[5], grad, subgroupBroadcast(texel, 5u), own);
        sum[6] = with_products(sum[6], grad, subgroupBroadcast(texel, 6u), own);
        sum[7] = with_products(sum[7], grad, subgroupBroadcast(texel, 7u), own);
      }
    }
    // Each lane keeps the product of its own pair.
    let totals = vec4f(subgroupAdd(sum[0]), subgroupAdd(sum[1]), subgroupAdd(sum[2]), subgroupAdd(sum[3]));
    var product = totals[lane % 4u];
    if (LANES == 8u) {
      let others = vec4f(subgroupAdd(sum[4]), subgroupAdd(sum[5]), subgroupAdd(sum[6]), subgroupAdd(sum[7]));
      product = select(product, others[lane % 4u], lane >= 4u);
    }
    if (here) { dz[pair] = select(product, 0.0, RELU == 1u && values[pair] <= 0.0); }
  }
}
