// Weight gradients of a range of latents in one shard, gathered through the inverse index: no atomics, rows ascending.
//
// The same as latent_gradients.wgsl, for adapters that gather best from images (src/gpu/images.ts). A workgroup is a subgroup and has one latent. Of
// four entries each lane looks at one, and broadcasts hand them to all; each lane has four columns. Behind the last entry it
// is taken again, times zero. ADD as there.
enable subgroups;
diagnostic(off, subgroup_uniformity); // all that decides on a branch around them is the same in all lanes
const LANES = 8u; // of a subgroup: 4 or 8
const ADD = 0u;
const IMAGE_WIDTH = 1024u;

struct Entry { row: u32, value: f32, dz: f32 }

// Latents first_latent ... first_latent + latents - 1 are the rows of the shard from `before` on.
struct Params { latents: u32, first_latent: u32, before: u32, stride: u32, squares_at: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> starts: array<u32>; // all latents + 1
@group(0) @binding(2) var<storage, read> entries: array<Entry>; // by latent, rows ascending
@group(0) @binding(3) var g: texture_storage_2d<rgba32float, read>; // [rows, stride / 4] texels in a row of IMAGE_WIDTH after the other
@group(0) @binding(4) var xc: texture_storage_2d<rgba32float, read>; // [rows, stride / 4]
@group(0) @binding(5) var<storage, read_write> grad_W_dec: array<vec4f>; // this shard: [.., stride]
@group(0) @binding(6) var<storage, read_write> grad_W_enc: array<vec4f>; // this shard: [.., stride]
@group(0) @binding(7) var<storage, read_write> grad_b: array<f32>; // all latents: grad b_enc, then from squares_at on squares

fn g_at(texel: u32) -> vec4f {
  return textureLoad(g, vec2u(texel % IMAGE_WIDTH, texel / IMAGE_WIDTH));
}

fn xc_at(texel: u32) -> vec4f {
  return textureLoad(xc, vec2u(texel % IMAGE_WIDTH, texel / IMAGE_WIDTH));
}

// Four columns, LANES apart.
struct Columns { a: vec4f, b: vec4f, c: vec4f, d: vec4f }

fn add_g(sum: ptr<function, Columns>, value: f32, at: u32) {
  (*sum).a += value * g_at(at);
  (*sum).b += value * g_at(at + LANES);
  (*sum).c += value * g_at(at + 2u * LANES);
  (*sum).d += value * g_at(at + 3u * LANES);
}

fn add_xc(sum: ptr<function, Columns>, dz: f32, at: u32) {
  (*sum).a += dz * xc_at(at);
  (*sum).b += dz * xc_at(at + LANES);
  (*sum).c += dz * xc_at(at + 2u * LANES);
  (*sum).d += dz * xc_at(at + 3u * LANES);
}

// Stores the gradients of one column, if there is one, and gives the squares of both.
fn store_gradient(own: u32, d: u32, dec: vec4f, enc: vec4f) -> f32 {
  if (d >= p.stride / 4u) { return 0.0; }
  grad_W_dec[own + d] = dec;
  grad_W_enc[own + d] = enc;
  return dot(dec, dec) + dot(enc, enc);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let latent = p.begin_group + wid.x + wid.y * groups.x;
  if (latent >= p.latents) { return; }
  let i = p.first_latent + latent;
  let columns = p.stride / 4u;
  let begin = starts[i];
  let end = starts[i + 1u];
  if (ADD == 1u && begin == end) { return; }
  let own = (p.before + latent) * columns;
  var squares = 0.0;
  for (var strip = 0u; strip < columns; strip += 4u * LANES) {
    let d = strip + lane;
    var dec = Columns();
    var enc = Columns();
    if (ADD == 1u) {
      let e = min(d + LANES * vec4u(0u, 1u, 2u, 3u), vec4u(columns - 1u)) + own;
      dec = Columns(grad_W_dec[e.x], grad_W_dec[e.y], grad_W_dec[e.z], grad_W_dec[e.w]);
      enc = Columns(grad_W_enc[e.x], grad_W_enc[e.y], grad_W_enc[e.z], grad_W_enc[e.w]);
    }
    for (var first = begin; first < end; first += 4u) {
      let here = first + lane % 4u < end;
      let entry = entries[min(first + lane % 4u, end - 1u)];
      let texel = entry.row * columns + strip;
      let value = select(0.0, entry.value, here);
      let dz = select(0.0, entry.dz, here);
      let at0 = subgroupBroadcast(texel, 0u) + lane;
      add_g(&dec, subgroupBroadcast(value, 0u), at0);
      add_xc(&enc, subgroupBroadcast(dz, 0u), at0);
      let at1 = subgroupBroadcast(texel, 1u) + lane;
      add_g(&dec, subgroupBroadcast(value, 1u), at1);
      add_xc(&enc, subgroupBroadcast(dz, 1u), at1);
      let at2 = subgroupBroadcast(texel, 2u) + lane;
      add_g(&dec, subgroupBroadcast(value, 2u), at2);
      add_xc(&enc, subgroupBroadcast(dz, 2u), at2);
      let at3 = subgroupBroadcast(texel, 3u) + lane;
      add_g(&dec, subgroupBroadcast(value, 3u), at3);
      add_xc(&enc, subgroupBroadcast(dz, 3u), at3);
    }
    squares += store_gradient(own, d, dec.a, enc.a) + store_gradient(own, d + LANES, dec.b, enc.b);
    squares += store_gradient(own, d + 2u * LANES, dec.c, enc.c) + store_gradient(own, d + 3u * LANES, dec.d, enc.d);
  }
  var bias = 0.0;
  for (var n = begin + lane; n < end; n += LANES) { bias += entries[n].dz; }
  bias = subgroupAdd(bias);
  let weight_squares = subgroupAdd(squares);
  if (lane == 0u) {
    if (ADD == 1u) { bias += grad_b[i]; }
    grad_b[i] = bias;
    grad_b[p.squares_at + i] = weight_squares + bias * bias;
  }
}
