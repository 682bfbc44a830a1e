// total[d] = keep * total[d] + factor * (partial[0,d] + partial[1,d] + ...), blocks upward. keep is 0 or 1.
const WG = 64u;

struct Params { blocks: u32, stride: u32, factor: f32, keep: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>; // [blocks, stride]
@group(0) @binding(2) var<storage, read_write> total: array<f32>; // [stride]

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let d = id.x;
  if (d >= p.stride) { return; }
  var sum = 0.0;
  for (var block = 0u; block < p.blocks; block++) { sum += partial[block * p.stride + d]; }
  var start = 0.0;
  if (p.keep != 0.0) { start = total[d]; }
  total[d] = start + p.factor * sum;
}
