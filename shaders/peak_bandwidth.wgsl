// How fast memory can be: a[i] = b[i] + factor * c[i], the triad of McCalpin's STREAM benchmark.
//
// Each invocation takes PER vec4s, as far apart as there are invocations, so that neighbours read neighbouring memory: hardware needs
// no more than one, a software adapter pays for every invocation.
const WG = 64u;
const PER = 1u;

struct Params { quads: u32, step: u32, factor: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> b: array<vec4f>;
@group(0) @binding(2) var<storage, read> c: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> a: array<vec4f>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first = (wid.x + wid.y * groups.x) * WG + thread;
  if (first >= p.step) { return; }
  for (var n = 0u; n < PER; n++) {
    let at = first + n * p.step;
    if (at < p.quads) { a[at] = b[at] + p.factor * c[at]; }
  }
}
