// a[b,:] = factor * (a[b,:] + b[b,:]), padding and all. One invocation per vec4.
const WG = 64u;

struct Params { quads: u32, factor: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> a: array<vec4f>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (wid.x + wid.y * groups.x) * WG + thread;
  if (at >= p.quads) { return; }
  a[at] = p.factor * (a[at] + b[at]);
}
