// C[m,:] = start + sum over k of A(m,k) B[k,:]: rows of B weighted by codes or by their gradients.
//
// The same as weighted_rows_tiled.wgsl, for software adapters that have subgroups and pay for loads (see encode_resident.wgsl): a workgroup, which is
// one subgroup, keeps 64 rows of B by 8 columns of each lane with it, and lets up to 512 rows of C pass by. Of a row of A each lane loads other
// terms, and a broadcast hands them to all. Sums wait in C from one 64 terms to the next. start and ALONG as there; k upward, one
// term after the other, so that terms given in several dispatches leave the same bits as in one.
enable subgroups;
const LANES = 8u; // of a subgroup: 4 or 8
const STRIP = 512u; // rows of C
const DEPTH = 64u; // terms that are kept
const ALONG = 0u;

struct Params { rows: u32, terms: u32, stride: u32, a_first: u32, a_row: u32, a_term: u32, b_first: u32, c_first: u32, start: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> A: array<f32>; // A(m,k) lies at a_first + m a_row + k a_term
@group(0) @binding(2) var<storage, read> B: array<vec4f>; // rows b_first ... of [.., stride]
@group(0) @binding(3) var<storage, read> bias: array<vec4f>; // [stride]
@group(0) @binding(4) var<storage, read_write> C: array<vec4f>; // rows c_first ... of [.., stride]

// Four terms of a row of A, zero behind the last one.
fn four_weights(m: u32, k: u32) -> vec4f {
  let own = min(vec4u(k, k + 1u, k + 2u, k + 3u), vec4u(p.terms - 1u));
  let at = p.a_first + m * p.a_row + own * select(p.a_term, 1u, ALONG == 0u);
  return select(vec4f(), vec4f(A[at.x], A[at.y], A[at.z], A[at.w]), vec4u(k, k + 1u, k + 2u, k + 3u) < vec4u(p.terms));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let columns = p.stride / 4u;
  let d = (wid.x * LANES + lane) * 2u;
  let d0 = min(d, columns - 1u);
  let d1 = min(d + 1u, columns - 1u);
  let begin = wid.y * STRIP;
  let end = min(begin + STRIP, p.rows);
  for (var first = 0u; first < p.terms; first += DEPTH) {
    var w = array<vec4f, 2u * DEPTH>();
    for (var n = 0u; n < min(DEPTH, p.terms - first); n++) {
      let at = (p.b_first + first + n) * columns;
      w[2u * n] = B[at + d0];
      w[2u * n + 1u] = B[at + d1];
    }
    for (var m = begin; m < end; m++) {
      var x = array<vec4f, 4>(four_weights(m, first + 4u * lane), four_weights(m, first + 4u * (lane + LANES)), vec4f(), vec4f());
      if (LANES == 4u) {
        x[2] = four_weights(m, first + 4u * (lane + 2u * LANES));
        x[3] = four_weights(m, first + 4u * (lane + 3u * LANES));
      }
      let own = (p.c_first + m) * columns;
      var a = vec4f();
      var b = vec4f();
      if (first == 0u && p.start == 2u) {
        a = bias[d0];
        b = bias[d1];
      } else if (first > 0u || p.start == 0u) {
        a = C[own + d0];
        b = C[own + d1];
      }
      let x0 = subgroupBroadcast(x[0u / LANES], 0u % LANES);
      a += w[0] * x0.x; a += w[2] * x0.y; a += w[4] * x0.z; a += w[6] * x0.w;
      b += w[1] * x0.x; b += w[3] * x0.y; b += w[5] * x0.z; b += w[7] * x0.w;
      let x1 = subgroupBroadcast(x[1u / LANES], 1u % LANES);
      a += w[8] * x1.x; a += w[10] * x1.y; a += w[12] * x1.z; a += w[14] * x1.w;
      b += w[9] * x1.x; b += w[11] * x1.y; b += w[13] * x1.z; b += w[15] * x1.w;
      let x2 = subgroupBroadcast(x[2u / LANES], 2u % LANES);
      a += w[16] * x2.x; a += w[18] * x2.y; a += w[20] * x2.z; a += w[22] * x2.w;
      b += w[17] * x2.x; b += w[19] * x2.y; b += w[21] * x2.z; b += w[23] * x2.w;
      let x3 = subgroupBroadcast(x[3u / LANES], 3u % LANES);
      a += w[24] * x3.x; a += w[26] * x3.y; a += w[28] * x3.z; a += w[30] * x3.w;
      b += w[25] * x3.x; b += w[27] * x3.y; b += w[29] * x3.z; b += w[31] * x3.w;
      let x4 = subgroupBroadcast(x[4u / LANES], 4u % LANES);
      a += w[32] * x4.x; a += w[34] * x4.y; a += w[36] * x4.z; a += w[38] * x4.w;
      b += w[33] * x4.x; b += w[35] * x4.y; b += w[37] * x4.z; b += w[39] * x4.w;
      let x5 = subgroupBroadcast(x[5u / LANES], 5u % LANES);
      a += w[40] * x5.x; a += w[42] * x5.y; a += w[44] * x5.z; a += w[46] * x5.w;
      b += w[41] * x5.x; b += w[43] * x5.y; b += w[45] * x5.z; b += w[47] * x5.w;
      let x6 = subgroupBroadcast(x[6u / LANES], 6u % LANES);
      a += w[48] * x6.x; a += w[50] * x6.y; a += w[52] * x6.z; a += w[54] * x6.w;
      b += w[49] * x6.x; b += w[51] * x6.y; b += w[53] * x6.z; b += w[55] * x6.w;
      let x7 = subgroupBroadcast(x[7u / LANES], 7u % LANES);
      a += w[56] * x7.x; a += w[58] * x7.y; a += w[60] * x7.z; a += w[62] * x7.w;
      b += w[57] * x7.x; b += w[59] * x7.y; b += w[61] * x7.z; b += w[63] * x7.w;
      let x8 = subgroupBroadcast(x[8u / LANES], 8u % LANES);
      a += w[64] * x8.x; a += w[66] * x8.y; a += w[68] * x8.z; a += w[70] * x8.w;
      b += w[65] * x8.x; b += w[67] * x8.y; b += w[69] * x8.z; b += w[71] * x8.w;
      let x9 = subgroupBroadcast(x[9u / LANES], 9u % LANES);
      a += w[72] * x9.x; a += w[74] * x9.y; a += w[76] * x9.z; a += w[78] * x9.w;
      b += w[73] * x9.x; b += w[75] * x9.y; b += w[77] * x9.z; b += w[79] * x9.w;
      let x10 = subgroupBroadcast(x[10u / LANES], 10u % LANES);
      a += w[80] * x10.x; a += w[82] * x10.y; a += w[84] * x10.z; a += w[86] * x10.w;
      b += w[81] * x10.x; b += w[83] * x10.y; b += w[85] * x10.z; b += w[87] * x10.w;
      let x11 = subgroupBroadcast(x[11u / LANES], 11u % LANES);
      a += w[88] * x11.x; a += w[90] * x11.y; a += w[92] * x11.z; a += w[94] * x11.w;
      b += w[89] * x11.x; b += w[91] * x11.y; b += w[93] * x11.z; b += w[95] * x11.w;
      let x12 = subgroupBroadcast(x[12u / LANES], 12u % LANES);
      a += w[96] * x12.x; a += w[98] * x12.y; a += w[100] * x12.z; a += w[102] * x12.w;
      b += w[97] * x12.x; b += w[99] * x12.y; b += w[101] * x12.z; b += w[103] * x12.w;
      let x13 = subgroupBroadcast(x[13u / LANES], 13u % LANES);
      a += w[104] * x13.x; a += w[106] * x13.y; a += w[108] * x13.z; a += w[110] * x13.w;
      b += w[105] * x13.x; b += w[107] * x13.y; b += w[109] * x13.z; b += w[111] * x13.w;
      let x14 = subgroupBroadcast(x[14u / LANES], 14u % LANES);
      a += w[112] * x14.x; a += w[114] * x14.y; a += w[116] * x14.z; a += w[118] * x14.w;
      b += w[113] * x14.x; b += w[115] * x14.y; b += w[117] * x14.z; b += w[119] * x14.w;
      let x15 = subgroupBroadcast(x[15u / LANES], 15u % LANES);
      a += w[120] * x15.x; a += w[122] * x15.y; a += w[124] * x15.z; a += w[126] * x15.w;
      b += w[121] * x15.x; b += w[123] * x15.y; b += w[125] * x15.z; b += w[127] * x15.w;
      if (d < columns) { C[own + d] = a; }
      if (d + 1u < columns) { C[own + d + 1u] = b; }
    }
  }
}
