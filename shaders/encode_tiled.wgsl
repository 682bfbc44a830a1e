// Pre-activations h[b,i] = sum_d xc[b,d] W[i,d] + bias[i] for some rows b and one shard of latents i.
//
// The same product as encode_direct.wgsl, for hardware: a workgroup of 8 x 8 invocations computes a tile of 64 rows x
// 64 latents. Sixteen columns at a time of both operands are staged, transposed, in workgroup memory (8.5 KiB);
// each invocation keeps 8 x 8 sums in registers, so one k-step costs four vec4 loads for 64 multiply-adds.
// The stage is padded by one vec4 per column against bank conflicts. Each sum runs over d upward.
const TILE = 64u;
const DEPTH = 16u;
const PITCH = 17u; // TILE / 4 + 1 vec4s
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

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) thread: u32) {
  let tile_latent = p.begin_latent + wid.x * TILE;
  let tile_row = p.begin_row + wid.y * TILE;
  let columns = p.stride / 4u;
  // Thread t stages four vec4s of each operand: rows 4g ... 4g+3 at column vec4 c, so that a transpose of the
  // 4 x 4 block gives four vec4s along rows.
  let g = thread / 4u;
  let c = thread % 4u;
  let last_row = p.rows - 1u;
  let last_latent = p.latents - 1u;
  let x0 = (p.first_row + min(tile_row + g * 4u, last_row)) * columns;
  let x1 = (p.first_row + min(tile_row + g * 4u + 1u, last_row)) * columns;
  let x2 = (p.first_row + min(tile_row + g * 4u + 2u, last_row)) * columns;
  let x3 = (p.first_row + min(tile_row + g * 4u + 3u, last_row)) * columns;
  let w0 = min(tile_latent + g * 4u, last_latent) * columns;
  let w1 = min(tile_latent + g * 4u + 1u, last_latent) * columns;
  let w2 = min(tile_latent + g * 4u + 2u, last_latent) * columns;
  let w3 = min(tile_latent + g * 4u + 3u, last_latent) * columns;
  var a0 = vec4f(); var a1 = vec4f(); var a2 = vec4f(); var a3 = vec4f();
  var a4 = vec4f(); var a5 = vec4f(); var a6 = vec4f(); var a7 = vec4f();
  var b0 = vec4f(); var b1 = vec4f(); var b2 = vec4f(); var b3 = vec4f();
  var b4 = vec4f(); var b5 = vec4f(); var b6 = vec4f(); var b7 = vec4f();
  for (var d = 0u; d < columns; d += DEPTH / 4u) {
    let column = d + c;
    var xt = mat4x4f();
    var wt = mat4x4f();
    if (column < columns) {
      xt = transpose(mat4x4f(xc[x0 + column], xc[x1 + column], xc[x2 + column], xc[x3 + column]));
      wt = transpose(mat4x4f(W[w0 + column], W[w1 + column], W[w2 + column], W[w3 + column]));
    }
    for (var q = 0u; q < 4u; q++) {
      x_stage[(c * 4u + q) * PITCH + g] = staged(xt[q]);
      w_stage[(c * 4u + q) * PITCH + g] = staged(wt[q]);
    }
    workgroupBarrier();
    for (var k = 0u; k < DEPTH; k++) {
      let xa = vec4f(x_stage[k * PITCH + local.y]);
      let xb = vec4f(x_stage[k * PITCH + local.y + 8u]);
      let wa = vec4f(w_stage[k * PITCH + local.x]);
      let wb = vec4f(w_stage[k * PITCH + local.x + 8u]);
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
  store(row + 32u, latent, a4); store(row + 33u, latent, a5); store(row + 34u, latent, a6); store(row + 35u, latent, a7);
  store(row, latent + 32u, b0); store(row + 1u, latent + 32u, b1); store(row + 2u, latent + 32u, b2); store(row + 3u, latent + 32u, b3);
  store(row + 32u, latent + 32u, b4); store(row + 33u, latent + 32u, b5); store(row + 34u, latent + 32u, b6); store(row + 35u, latent + 32u, b7);
}
