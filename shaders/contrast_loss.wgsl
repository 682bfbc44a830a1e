// InfoNCE in both directions, row by row: loss_rows[b, column] = coefficient (own_b + other_b - 2 s[b,b]), from contrast_scores.wgsl.
// One invocation per row.
const WG = 64u;

struct Params { rows: u32, losses: u32, column: u32, coefficient: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> of_row: array<vec4f>; // [rows]
@group(0) @binding(2) var<storage, read> of_other: array<vec4f>; // [rows]
@group(0) @binding(3) var<storage, read_write> loss_rows: array<f32>; // [rows, losses]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = (wid.x + wid.y * groups.x) * WG + thread;
  if (row >= p.rows) { return; }
  loss_rows[row * p.losses + p.column] = p.coefficient * ((of_row[row].y - of_row[row].z) + (of_other[row].y - of_row[row].z));
}
