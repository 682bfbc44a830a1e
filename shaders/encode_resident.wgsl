// Pre-activations h[b,i] = sum_d xc[b,d] W[i,d] + bias[i] for some rows b and one shard of latents i.
//
// The same product as encode_direct.wgsl, for software adapters that have subgroups. There a load is made lane by lane, with checks,
// and costs as much as several multiply-adds of all lanes; values that a lane already holds are free. So a workgroup, which is one subgroup,
// keeps a piece of W with it, 8 latents of each lane by 64 columns, and lets up to 512 rows pass by. Of a row each lane loads other columns, and a
// broadcast hands them to all. Sums wait in h from one piece of columns to the next; each runs over d upward.
//
// 8 latents are two blocks of 4 x 4 numbers for every vec4 of columns, and a block times that vec4 of a row adds to 4 sums. The loop that fills the
// blocks is short in text because each load is long in code. latents, first_latent and h_stride are multiples of 4.
//
// TOPS 1: tops[b, t] is the largest score of latents 8t ... 8t + 7, from which topk_tops.wgsl sees where to look; a NaN where one of them is not finite.
// A score is h, times norms[i] with SCALED; its size with ABSOLUTE.
enable subgroups;
const LANES = 8u; // of a subgroup: 4 or 8
const STRIP = 512u; // rows
const DEPTH = 16u; // columns that are kept, in vec4s
const TOPS = 0u;
const SCALED = 0u;
const ABSOLUTE = 0u;

// Rows from begin_row up to rows and latents from begin_latent up to latents: a piece of the product.
struct Params { begin_row: u32, rows: u32, first_row: u32, begin_latent: u32, latents: u32, first_latent: u32, stride: u32, h_stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> xc: array<vec4f>; // [.., stride]
@group(0) @binding(2) var<storage, read> W: array<vec4f>; // this shard: [latents, stride]
@group(0) @binding(3) var<storage, read> bias: array<vec4f>; // all latents
@group(0) @binding(4) var<storage, read> norms: array<vec4f>; // all latents
@group(0) @binding(5) var<storage, read_write> h: array<vec4f>; // [rows, h_stride]
@group(0) @binding(6) var<storage, read_write> tops: array<f32>; // [rows, ceil(h_stride / 8)]

// Four latents' numbers in four columns, a column of the result for each column of W.
fn block(latent: u32, column: u32) -> mat4x4f {
  let at = min(latent + vec4u(0u, 1u, 2u, 3u), vec4u(p.latents - 1u)) * (p.stride / 4u) + column;
  return transpose(mat4x4f(W[at.x], W[at.y], W[at.z], W[at.w]));
}

fn piece(origin: u32, column: u32) -> vec4f {
  return select(vec4f(), xc[origin + column], column < p.stride / 4u);
}

fn scores_of(sum: vec4f, norm: vec4f) -> vec4f {
  var score = sum;
  if (SCALED == 1u) { score *= norm; }
  if (ABSOLUTE == 1u) { score = abs(score); }
  return score;
}

fn is_broken(score: vec4f) -> bool {
  return any((bitcast<vec4u>(score) & vec4u(0x7f800000u)) == vec4u(0x7f800000u));
}

fn top_of(a: vec4f, b: vec4f) -> f32 {
  let larger = max(a, b);
  let bits = select(bitcast<u32>(max(max(larger.x, larger.y), max(larger.z, larger.w))), 0x7fc00000u, is_broken(a) || is_broken(b));
  return bitcast<f32>(bits);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let latent = p.begin_latent + (wid.x * LANES + lane) * 8u;
  let has_a = latent < p.latents;
  let has_b = latent + 4u < p.latents;
  let quad = (p.first_latent + latent) / 4u;
  let columns = p.stride / 4u;
  let begin = p.begin_row + wid.y * STRIP;
  let end = min(begin + STRIP, p.rows);
  for (var d = 0u; d < columns; d += DEPTH) {
    var w = array<mat4x4f, 2u * DEPTH>();
    for (var n = 0u; n < min(DEPTH, columns - d); n++) {
      w[2u * n] = block(latent, d + n);
      w[2u * n + 1u] = block(latent + 4u, d + n);
    }
    let last = d + DEPTH >= columns;
    // Kept with the lanes only where tops are left: without them the compiler makes slower code of it.
    var kept = array<vec4f, 4>(vec4f(), vec4f(), vec4f(1.0), vec4f(1.0));
    if (TOPS == 1u && last) {
      kept[0] = bias[quad];
      kept[1] = bias[quad + 1u];
      if (SCALED == 1u) {
        kept[2] = norms[quad];
        kept[3] = norms[quad + 1u];
      }
    }
    for (var row = begin; row < end; row++) {
      let origin = (p.first_row + row) * columns;
      var x = array<vec4f, 4>(piece(origin, d + lane), piece(origin, d + lane + LANES), vec4f(), vec4f());
      if (LANES == 4u) {
        x[2] = piece(origin, d + lane + 2u * LANES);
        x[3] = piece(origin, d + lane + 3u * LANES);
      }
      let at = row * (p.h_stride / 4u) + quad;
      var a = vec4f();
      var b = vec4f();
      if (d > 0u) {
        a = h[at];
        b = h[at + 1u];
      }
      let x0 = subgroupBroadcast(x[0u / LANES], 0u % LANES); a += w[0] * x0; b += w[1] * x0;
      let x1 = subgroupBroadcast(x[1u / LANES], 1u % LANES); a += w[2] * x1; b += w[3] * x1;
      let x2 = subgroupBroadcast(x[2u / LANES], 2u % LANES); a += w[4] * x2; b += w[5] * x2;
      let x3 = subgroupBroadcast(x[3u / LANES], 3u % LANES); a += w[6] * x3; b += w[7] * x3;
      let x4 = subgroupBroadcast(x[4u / LANES], 4u % LANES); a += w[8] * x4; b += w[9] * x4;
      let x5 = subgroupBroadcast(x[5u / LANES], 5u % LANES); a += w[10] * x5; b += w[11] * x5;
      let x6 = subgroupBroadcast(x[6u / LANES], 6u % LANES); a += w[12] * x6; b += w[13] * x6;
      let x7 = subgroupBroadcast(x[7u / LANES], 7u % LANES); a += w[14] * x7; b += w[15] * x7;
      let x8 = subgroupBroadcast(x[8u / LANES], 8u % LANES); a += w[16] * x8; b += w[17] * x8;
      let x9 = subgroupBroadcast(x[9u / LANES], 9u % LANES); a += w[18] * x9; b += w[19] * x9;
      let x10 = subgroupBroadcast(x[10u / LANES], 10u % LANES); a += w[20] * x10; b += w[21] * x10;
      let x11 = subgroupBroadcast(x[11u / LANES], 11u % LANES); a += w[22] * x11; b += w[23] * x11;
      let x12 = subgroupBroadcast(x[12u / LANES], 12u % LANES); a += w[24] * x12; b += w[25] * x12;
      let x13 = subgroupBroadcast(x[13u / LANES], 13u % LANES); a += w[26] * x13; b += w[27] * x13;
      let x14 = subgroupBroadcast(x[14u / LANES], 14u % LANES); a += w[28] * x14; b += w[29] * x14;
      let x15 = subgroupBroadcast(x[15u / LANES], 15u % LANES); a += w[30] * x15; b += w[31] * x15;
      if (last && TOPS == 0u) {
        a += bias[quad];
        b += bias[quad + 1u];
      }
      if (last && TOPS == 1u) {
        a += kept[0];
        b += kept[1];
        let first = scores_of(a, kept[2]);
        if (has_a) { tops[row * ((p.h_stride + 7u) / 8u) + quad / 2u] = top_of(first, select(first, scores_of(b, kept[3]), has_b)); }
      }
      if (has_a) { h[at] = a; }
      if (has_b) { h[at + 1u] = b; }
    }
  }
}
