// How fast multiply-adds can be: chains of them that touch no memory. Twelve independent ones per invocation, as three vec4s, cover the
// latency of a multiply-add and fit the registers of every adapter; 16 steps of each per round make the loop itself cheap.
//
//   a = a * factor + step, 192 times per round
//
// What is written keeps the compiler from leaving it all away. `groups` workgroups of WG invocations.
const WG = 64u;

struct Params { groups: u32, rounds: u32, factor: f32, step: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> sums: array<vec4f>; // [groups * WG]

fn four_steps(a: vec4f) -> vec4f {
  let f = vec4f(p.factor);
  let s = vec4f(p.step);
  return (((a * f + s) * f + s) * f + s) * f + s;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let group = wid.x + wid.y * groups.x;
  if (group >= p.groups) { return; }
  var a = vec4f(f32(thread));
  var b = a + vec4f(1.0);
  var c = a + vec4f(2.0);
  for (var round = 0u; round < p.rounds; round++) {
    a = four_steps(a); b = four_steps(b); c = four_steps(c);
    a = four_steps(a); b = four_steps(b); c = four_steps(c);
    a = four_steps(a); b = four_steps(b); c = four_steps(c);
    a = four_steps(a); b = four_steps(b); c = four_steps(c);
  }
  sums[group * WG + thread] = a + b + c;
}
