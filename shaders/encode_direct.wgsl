// Pre-activations h[b,i] = sum_d xc[b,d] W[i,d] + bias[i] for some rows b and one shard of latents i.
//
// The same product as encode_tiled.wgsl, for software adapters: they run lanes on CPU cores, pay for every barrier, and load
// lane by lane with a check each, which costs many times a multiply-add. So each invocation reads straight from memory
// and keeps as many sums as it can: 16 rows x 16 latents, in blocks of 4 x 4. Four columns of a block are one
// product of matrices, w x, whose column b is the sum over d of xc[b,d] W[.,d].
// Rows and latents past the end are clamped on load and not stored. Each sum runs over d upward.
const WG_X = 8u; // along latents
const WG_Y = 8u; // along rows

// Rows from begin_row up to rows and latents from begin_latent up to latents: a piece of the product.
struct Params { begin_row: u32, rows: u32, first_row: u32, begin_latent: u32, latents: u32, first_latent: u32, stride: u32, h_stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> xc: array<vec4f>; // [.., stride]
@group(0) @binding(2) var<storage, read> W: array<vec4f>; // this shard: [latents, stride]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // all latents
@group(0) @binding(4) var<storage, read_write> h: array<f32>; // [rows, h_stride]

fn store_row(row: u32, latent: u32, c: vec4f) {
  if (row >= p.rows) { return; }
  let b = p.first_latent + latent;
  let at = row * p.h_stride + b;
  if (latent + 0u < p.latents) { h[at] = c.x + bias[b]; }
  if (latent + 1u < p.latents) { h[at + 1u] = c.y + bias[b + 1u]; }
  if (latent + 2u < p.latents) { h[at + 2u] = c.z + bias[b + 2u]; }
  if (latent + 3u < p.latents) { h[at + 3u] = c.w + bias[b + 3u]; }
}

// Where four rows of x begin, and four latents' rows of W.
fn four_rows(row: u32) -> vec4u {
  return (p.first_row + min(row + vec4u(0u, 1u, 2u, 3u), vec4u(p.rows - 1u))) * (p.stride / 4u);
}

fn four_latents(latent: u32) -> vec4u {
  return min(latent + vec4u(0u, 1u, 2u, 3u), vec4u(p.latents - 1u)) * (p.stride / 4u);
}

fn x_block(at: vec4u, d: u32) -> mat4x4f {
  return mat4x4f(xc[at.x + d], xc[at.y + d], xc[at.z + d], xc[at.w + d]);
}

fn w_block(at: vec4u, d: u32) -> mat4x4f {
  return transpose(mat4x4f(W[at.x + d], W[at.y + d], W[at.z + d], W[at.w + d]));
}

@compute @workgroup_size(WG_X, WG_Y)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let latent = p.begin_latent + id.x * 16u;
  let row = p.begin_row + id.y * 16u;
  if (latent >= p.latents || row >= p.rows) { return; }
  let r0 = four_rows(row);
  let r1 = four_rows(row + 4u);
  let r2 = four_rows(row + 8u);
  let r3 = four_rows(row + 12u);
  let i0 = four_latents(latent);
  let i1 = four_latents(latent + 4u);
  let i2 = four_latents(latent + 8u);
  let i3 = four_latents(latent + 12u);
  var c00 = mat4x4f(); var c01 = mat4x4f(); var c02 = mat4x4f(); var c03 = mat4x4f();
  var c10 = mat4x4f(); var c11 = mat4x4f(); var c12 = mat4x4f(); var c13 = mat4x4f();
  var c20 = mat4x4f(); var c21 = mat4x4f(); var c22 = mat4x4f(); var c23 = mat4x4f();
  var c30 = mat4x4f(); var c31 = mat4x4f(); var c32 = mat4x4f(); var c33 = mat4x4f();
  for (var d = 0u; d < p.stride / 4u; d++) {
    let w0 = w_block(i0, d);
    let w1 = w_block(i1, d);
    let w2 = w_block(i2, d);
    let w3 = w_block(i3, d);
    let x0 = x_block(r0, d);
    c00 += w0 * x0; c01 += w1 * x0; c02 += w2 * x0; c03 += w3 * x0;
    let x1 = x_block(r1, d);
    c10 += w0 * x1; c11 += w1 * x1; c12 += w2 * x1; c13 += w3 * x1;
    let x2 = x_block(r2, d);
    c20 += w0 * x2; c21 += w1 * x2; c22 += w2 * x2; c23 += w3 * x2;
    let x3 = x_block(r3, d);
    c30 += w0 * x3; c31 += w1 * x3; c32 += w2 * x3; c33 += w3 * x3;
  }
  // A loop, because sixteen copies of the stores would take the adapter's compiler longer than many products.
  var blocks = array<mat4x4f, 16>(c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33);
  for (var n = 0u; n < 16u; n++) {
    let top = row + n / 4u * 4u;
    let left = latent + n % 4u * 4u;
    store_row(top, left, blocks[n][0]);
    store_row(top + 1u, left, blocks[n][1]);
    store_row(top + 2u, left, blocks[n][2]);
    store_row(top + 3u, left, blocks[n][3]);
  }
}
