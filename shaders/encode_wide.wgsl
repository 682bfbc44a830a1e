// Pre-activations h[b,i] = sum_d xc[b,d] W[i,d] + bias[i] for some rows b and one shard of latents i.
//
// The same product as encode_tiled.wgsl, for hardware with many multiply-adds for every byte of its cache: a workgroup of 16 x 16 invocations
// computes a tile of 128 rows x 128 latents, which reads each operand half as often. Sixteen columns at a time are staged in 16 KiB of
// workgroup memory, those of x by one half of the invocations and those of W by the other. Each sum runs over d upward.
const TILE = 128u;
const DEPTH = 16u;
const PITCH = 32u; // TILE / 4 vec4s
const HALF = 0u; // 1: operands are rounded to float16; they are multiplied and summed in float32 all the same

// Rows from begin_row up to rows and latents from begin_latent up to latents: a piece of the product.
struct Params { begin_row: u32, rows: u32, first_row: u32, begin_latent: u32, latents: u32, first_latent: u32, stride: u32, h_stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> xc: array<vec4f>; // [.., stride]
@group(0) @binding(2) var<storage, read> W: array<vec4f>; // this shard: [latents, stride]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // all latents
@group(0) @binding(4) var<storage, read_write> h: array<f32>; // [rows, h_stride]

alias Staged = vec4f; // vec4h where HALF is 1 (src/gpu/shader.ts)

var<workgroup> x_stage: array<Staged, DEPTH * PITCH>;
var<workgroup> w_stage: array<Staged, DEPTH * PITCH>;

// Float16 as IEEE 754 rounds to it, ties to even. WGSL leaves the direction to the adapter, and what becomes of numbers that are too large:
// so the 11 bits are rounded to here, and from 65520 on an infinity takes the number's place, which no sum loses.
fn staged(v: vec4f) -> Staged {
  if (HALF == 0u) { return Staged(v); }
  let bits = bitcast<vec4u>(v);
  let rounded = (bits + 0xfffu + ((bits >> vec4u(13u)) & vec4u(1u))) & vec4u(0xffffe000u);
  let infinite = (bits & vec4u(0x80000000u)) | vec4u(0x7f800000u);
  return Staged(bitcast<vec4f>(select(rounded, infinite, (bits & vec4u(0x7fffffffu)) >= vec4u(0x477ff000u))));
}

fn store(row: u32, latent: u32, c: vec4f) {
  if (row >= p.rows) { return; }
  let at = row * p.h_stride + p.first_latent + latent;
  let b = p.first_latent + latent;
  if (latent + 0u < p.latents) { h[at] = c.x + bias[b]; }
  if (latent + 1u < p.latents) { h[at + 1u] = c.y + bias[b + 1u]; }
  if (latent + 2u < p.latents) { h[at + 2u] = c.z + bias[b + 2u]; }
  if (latent + 3u < p.latents) { h[at + 3u] = c.w + bias[b + 3u]; }
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) thread: u32) {
  let tile_latent = p.begin_latent + wid.x * TILE;
  let tile_row = p.begin_row + wid.y * TILE;
  let columns = p.stride / 4u;
  // Thread t of a half stages four vec4s of its operand: rows 4g ... 4g+3 at column vec4 c, so that a transpose of the
  // 4 x 4 block gives four vec4s along rows.
  let stages_x = thread < 128u;
  let g = thread % 128u / 4u;
  let c = thread % 4u;
  let origin = select(tile_latent, tile_row, stages_x) + g * 4u;
  let last = select(p.latents, p.rows, stages_x) - 1u;
  let skipped = select(0u, p.first_row, stages_x);
  let at = (skipped + min(vec4u(origin, origin + 1u, origin + 2u, origin + 3u), vec4u(last))) * columns;
  var a0 = vec4f(); var a1 = vec4f(); var a2 = vec4f(); var a3 = vec4f();
  var a4 = vec4f(); var a5 = vec4f(); var a6 = vec4f(); var a7 = vec4f();
  var b0 = vec4f(); var b1 = vec4f(); var b2 = vec4f(); var b3 = vec4f();
  var b4 = vec4f(); var b5 = vec4f(); var b6 = vec4f(); var b7 = vec4f();
  for (var d = 0u; d < columns; d += DEPTH / 4u) {
    let column = d + c;
    var block = mat4x4f();
    if (column < columns) {
      if (stages_x) {
        block = transpose(mat4x4f(xc[at.x + column], xc[at.y + column], xc[at.z + column], xc[at.w + column]));
      } else {
        block = transpose(mat4x4f(W[at.x + column], W[at.y + column], W[at.z + column], W[at.w + column]));
      }
    }
    for (var q = 0u; q < 4u; q++) {
      let slot = (c * 4u + q) * PITCH + g;
      let four = staged(block[q]);
      if (stages_x) { x_stage[slot] = four; } else { w_stage[slot] = four; }
    }
    workgroupBarrier();
    for (var k = 0u; k < DEPTH; k++) {
      let xa = vec4f(x_stage[k * PITCH + local.y]);
      let xb = vec4f(x_stage[k * PITCH + local.y + 16u]);
      let wa = vec4f(w_stage[k * PITCH + local.x]);
      let wb = vec4f(w_stage[k * PITCH + local.x + 16u]);
      a0 += xa.x * wa; a1 += xa.y * wa; a2 += xa.z * wa; a3 += xa.w * wa;
      a4 += xb.x * wa; a5 += xb.y * wa; a6 += xb.z * wa; a7 += xb.w * wa;
      b0 += xa.x * wb; b1 += xa.y * wb; b2 += xa.z * wb; b3 += xa.w * wb;
      b4 += xb.x * wb; b5 += xb.y * wb; b6 += xb.z * wb; b7 += xb.w * wb;
    }
    workgroupBarrier();
  }
  let row = tile_row + local.y * 4u;
  let latent = tile_latent + local.x * 4u;
  store(row, latent, a0); store(row + 1u, latent, a1); store(row + 2u, latent, a2); store(row + 3u, latent, a3);
  store(row + 64u, latent, a4); store(row + 65u, latent, a5); store(row + 66u, latent, a6); store(row + 67u, latent, a7);
  store(row, latent + 64u, b0); store(row + 1u, latent + 64u, b1); store(row + 2u, latent + 64u, b2); store(row + 3u, latent + 64u, b3);
  store(row + 64u, latent + 64u, b4); store(row + 65u, latent + 64u, b5); store(row + 66u, latent + 64u, b6); store(row + 67u, latent + 64u, b7);
}
