// C[m,:] = start + sum over k of A(m,k) B[k,:]: rows of B weighted by codes or by their gradients.
//
//   decoding          C = r, A = f, B = W_dec: m a frame, k a latent
//   weight gradients  C = grad W, A = f^T or dh^T, B = frames or their gradients: m a latent, k a frame
//
// start 0 begins with what is in C, 1 with zero, 2 with the bias. For hardware: a workgroup of 8 x 8 invocations computes a tile of 64
// rows x 64 columns. Sixteen terms at a time of both operands are staged in workgroup memory (8.5 KiB); each invocation keeps
// 8 x 8 sums in registers. Every sum begins with its start and runs over k upward, so terms given in several dispatches leave the same
// bits as in one. A is read along whichever of its dimensions is contiguous: ALONG 0 over k, 1 over m.
const TILE = 64u;
const DEPTH = 16u;
const PITCH = 17u; // TILE / 4 + 1 vec4s
const ALONG = 0u;

struct Params { rows: u32, terms: u32, stride: u32, a_first: u32, a_row: u32, a_term: u32, b_first: u32, c_first: u32, start: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> A: array<f32>; // A(m,k) lies at a_first + m a_row + k a_term
@group(0) @binding(2) var<storage, read> B: array<vec4f>; // rows b_first ... of [.., stride]
@group(0) @binding(3) var<storage, read> bias: array<vec4f>; // [stride]
@group(0) @binding(4) var<storage, read_write> C: array<vec4f>; // rows c_first ... of [.., stride]

var<workgroup> a_stage: array<vec4f, DEPTH * PITCH>; // four rows m of one term
var<workgroup> b_stage: array<vec4f, DEPTH * PITCH>; // four columns of one term

fn weight(m: u32, k: u32) -> f32 {
  if (m >= p.rows || k >= p.terms) { return 0.0; }
  return A[p.a_first + m * p.a_row + k * p.a_term];
}

fn start(m: u32, d: u32) -> vec4f {
  let columns = p.stride / 4u;
  if (p.start == 1u || m >= p.rows || d >= columns) { return vec4f(); }
  if (p.start == 2u) { return bias[d]; }
  return C[(p.c_first + m) * columns + d];
}

// The row of an invocation's n-th sum: four from its first on, four 32 further, and the same again for its other column.
fn nth_row(m: u32, n: u32) -> u32 {
  return m + n % 4u + n / 4u % 2u * 32u;
}

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) thread: u32) {
  let columns = p.stride / 4u;
  let tile_m = wid.y * TILE;
  let tile_d = wid.x * (TILE / 4u);
  let m = tile_m + local.y * 4u;
  let d = tile_d + local.x;
  // The starts go through a loop, and so do the stores, because sixteen copies of either take long to compile.
  var sums = array<vec4f, 16>();
  for (var n = 0u; n < 16u; n++) { sums[n] = start(nth_row(m, n), d + n / 8u * 8u); }
  var a0 = sums[0]; var a1 = sums[1]; var a2 = sums[2]; var a3 = sums[3];
  var a4 = sums[4]; var a5 = sums[5]; var a6 = sums[6]; var a7 = sums[7];
  var b0 = sums[8]; var b1 = sums[9]; var b2 = sums[10]; var b3 = sums[11];
  var b4 = sums[12]; var b5 = sums[13]; var b6 = sums[14]; var b7 = sums[15];
  for (var first = 0u; first < p.terms; first += DEPTH) {
    // Each thread stages four vec4s of either operand; neighbouring threads read neighbouring words.
    for (var q = 0u; q < 4u; q++) {
      let place = q * 64u + thread;
      let term = place / 16u;
      let column = tile_d + place % 16u;
      var staged = vec4f();
      if (first + term < p.terms && column < columns) { staged = B[(p.b_first + first + term) * columns + column]; }
      b_stage[term * PITCH + place % 16u] = staged;
      let k = select(place % 16u, term, ALONG == 1u);
      let group = select(term, place % 16u, ALONG == 1u);
      let row = tile_m + group * 4u;
      a_stage[k * PITCH + group] = vec4f(weight(row, first + k), weight(row + 1u, first + k), weight(row + 2u, first + k), weight(row + 3u, first + k));
    }
    workgroupBarrier();
    for (var k = 0u; k < DEPTH; k++) {
      let xa = a_stage[k * PITCH + local.y];
      let xb = a_stage[k * PITCH + local.y + 8u];
      let wa = b_stage[k * PITCH + local.x];
      let wb = b_stage[k * PITCH + local.x + 8u];
      a0 += xa.x * wa; a1 += xa.y * wa; a2 += xa.z * wa; a3 += xa.w * wa;
      a4 += xb.x * wa; a5 += xb.y * wa; a6 += xb.z * wa; a7 += xb.w * wa;
      b0 += xa.x * wb; b1 += xa.y * wb; b2 += xa.z * wb; b3 += xa.w * wb;
      b4 += xb.x * wb; b5 += xb.y * wb; b6 += xb.z * wb; b7 += xb.w * wb;
    }
    workgroupBarrier();
  }
  sums = array<vec4f, 16>(a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7);
  for (var n = 0u; n < 16u; n++) {
    let row = nth_row(m, n);
    let column = d + n / 8u * 8u;
    if (row < p.rows && column < columns) { C[(p.c_first + row) * columns + column] = sums[n]; }
  }
}
