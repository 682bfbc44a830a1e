// W[i,:] = W[i,:] * (norm / norms[i]): gives every row of a shard the same length. A zero row stays zero.
const WG = 64u;

struct Params { rows: u32, first_row: u32, stride: u32, norm: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> norms: array<f32>; // all rows
@group(0) @binding(2) var<storage, read_write> W: array<vec4f>; // this shard: [rows, stride]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (wid.x + wid.y * groups.x) * WG + thread;
  let row = at / (p.stride / 4u);
  if (row >= p.rows) { return; }
  let length = norms[p.first_row + row];
  if (length > 0.0) { W[at] = W[at] * (p.norm / length); }
}
