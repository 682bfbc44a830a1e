// What a dispatch costs that does nothing: one workgroup, which leaves at once unless `n` is not zero.
const WG = 64u;

struct Params { n: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32) {
  if (thread < p.n) { out[thread] = 0.0; }
}
