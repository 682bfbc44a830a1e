// Pre-activations h[b,i] = sum_d xc[b,d] W[i,d] + bias[i] for some rows b and one shard of latents i.
//
// Each invocation holds 8 rows x 4 latents in registers and reads its operands straight from memory, four
// columns at a time: a row vector times a mat4x4 whose columns are four latents' weights. No workgroup memory and
// no barrier, which is what software adapters want: they run lanes on CPU cores and pay for every barrier.
// Rows and latents past the end are clamped on load and not stored. Each sum runs over d upward.
const WG_X = 8u; // along latents
const WG_Y = 8u; // along rows

struct Params { rows: u32, first_row: u32, latents: u32, first_latent: u32, stride: u32, h_stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> xc: array<vec4f>; // [.., stride]
@group(0) @binding(2) var<storage, read> W: array<vec4f>; // this shard: [latents, stride]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // all latents
@group(0) @binding(4) var<storage, read_write> h: array<f32>; // [rows, h_stride]

fn store(row: u32, latent: u32, c: vec4f, bias4: vec4f) {
  if (row >= p.rows) { return; }
  let at = row * p.h_stride + p.first_latent + latent;
  let value = c + bias4;
  if (latent + 0u < p.latents) { h[at] = value.x; }
  if (latent + 1u < p.latents) { h[at + 1u] = value.y; }
  if (latent + 2u < p.latents) { h[at + 2u] = value.z; }
  if (latent + 3u < p.latents) { h[at + 3u] = value.w; }
}

@compute @workgroup_size(WG_X, WG_Y)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let latent = id.x * 4u;
  let row = id.y * 8u;
  if (latent >= p.latents || row >= p.rows) { return; }
  let columns = p.stride / 4u;
  let last = p.rows - 1u;
  let r0 = (p.first_row + row) * columns;
  let r1 = (p.first_row + min(row + 1u, last)) * columns;
  let r2 = (p.first_row + min(row + 2u, last)) * columns;
  let r3 = (p.first_row + min(row + 3u, last)) * columns;
  let r4 = (p.first_row + min(row + 4u, last)) * columns;
  let r5 = (p.first_row + min(row + 5u, last)) * columns;
  let r6 = (p.first_row + min(row + 6u, last)) * columns;
  let r7 = (p.first_row + min(row + 7u, last)) * columns;
  let final_latent = p.latents - 1u;
  let i0 = latent * columns;
  let i1 = min(latent + 1u, final_latent) * columns;
  let i2 = min(latent + 2u, final_latent) * columns;
  let i3 = min(latent + 3u, final_latent) * columns;
  var c0 = vec4f();
  var c1 = vec4f();
  var c2 = vec4f();
  var c3 = vec4f();
  var c4 = vec4f();
  var c5 = vec4f();
  var c6 = vec4f();
  var c7 = vec4f();
  for (var d = 0u; d < columns; d++) {
    let w = mat4x4f(W[i0 + d], W[i1 + d], W[i2 + d], W[i3 + d]);
    c0 += xc[r0 + d] * w;
    c1 += xc[r1 + d] * w;
    c2 += xc[r2 + d] * w;
    c3 += xc[r3 + d] * w;
    c4 += xc[r4 + d] * w;
    c5 += xc[r5 + d] * w;
    c6 += xc[r6 + d] * w;
    c7 += xc[r7 + d] * w;
  }
  let b = p.first_latent + latent;
  let end = p.first_latent + final_latent;
  let bias4 = vec4f(bias[b], bias[min(b + 1u, end)], bias[min(b + 2u, end)], bias[min(b + 3u, end)]);
  store(row, latent, c0, bias4);
  store(row + 1u, latent, c1, bias4);
  store(row + 2u, latent, c2, bias4);
  store(row + 3u, latent, c3, bias4);
  store(row + 4u, latent, c4, bias4);
  store(row + 5u, latent, c5, bias4);
  store(row + 6u, latent, c6, bias4);
  store(row + 7u, latent, c7, bias4);
}
