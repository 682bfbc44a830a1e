// C[m,:] = start + sum over k of A(m,k) B[k,:], skipping zeros of A: rows of B weighted by codes or by their gradients.
//
// The same as weighted_rows_tiled.wgsl, for software adapters. They run both sides of a branch and skip with loops alone, so each
// invocation walks to its next weight that is not zero by a loop of its own; it sums eight vec4 columns of one row of C as two
// matrices, and neighbours take other columns of the same row, which have the same way to walk. start as there. k upward.
const WG = 64u;

struct Params { rows: u32, terms: u32, stride: u32, a_first: u32, a_row: u32, a_term: u32, b_first: u32, c_first: u32, start: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> A: array<f32>; // A(m,k) lies at a_first + m a_row + k a_term
@group(0) @binding(2) var<storage, read> B: array<vec4f>; // rows b_first ... of [.., stride]
@group(0) @binding(3) var<storage, read> bias: array<vec4f>; // [stride]
@group(0) @binding(4) var<storage, read_write> C: array<vec4f>; // rows c_first ... of [.., stride]

fn four(at: vec4u) -> mat4x4f {
  return mat4x4f(B[at.x], B[at.y], B[at.z], B[at.w]);
}

fn four_starts(at: u32, d: vec4u) -> mat4x4f {
  if (p.start == 1u) { return mat4x4f(); }
  if (p.start == 2u) { return mat4x4f(bias[d.x], bias[d.y], bias[d.z], bias[d.w]); }
  return mat4x4f(C[at + d.x], C[at + d.y], C[at + d.z], C[at + d.w]);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (wid.x + wid.y * groups.x) * WG + thread;
  let columns = p.stride / 4u;
  let blocks = (columns + 7u) / 8u;
  let m = at / blocks;
  if (m >= p.rows) { return; }
  let first = at % blocks * 8u;
  let last = vec4u(columns - 1u);
  let d0 = min(first + vec4u(0u, 1u, 2u, 3u), last);
  let d1 = min(first + vec4u(4u, 5u, 6u, 7u), last);
  let own = (p.c_first + m) * columns;
  let weights = p.a_first + m * p.a_row;
  var c0 = four_starts(own, d0);
  var c1 = four_starts(own, d1);
  var k = 0u;
  loop {
    while (k < p.terms && A[weights + k * p.a_term] == 0.0) { k++; }
    if (k >= p.terms) { break; }
    let weight = A[weights + k * p.a_term];
    let b = (p.b_first + k) * columns;
    c0 += weight * four(b + d0);
    c1 += weight * four(b + d1);
    k++;
  }
  for (var n = 0u; n < 4u; n++) {
    if (first + n < columns) { C[own + first + n] = c0[n]; }
    if (first + 4u + n < columns) { C[own + first + 4u + n] = c1[n]; }
  }
}
