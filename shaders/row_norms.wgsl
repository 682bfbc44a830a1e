// norms[i] = |W[i,:]|_2 for one shard of latents, with SQUARED 1 its square. One workgroup per latent; fixed summation tree.
const WG = 64u;
const SQUARED = 0u;

struct Params { latents: u32, first_latent: u32, stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> W: array<vec4f>; // this shard: [latents, stride]
@group(0) @binding(2) var<storage, read_write> norms: array<f32>; // all latents

var<workgroup> tree: array<f32, WG>;

fn tree_sum(value: f32, thread: u32) -> f32 {
  tree[thread] = value;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (thread < half) { tree[thread] += tree[thread + half]; }
    workgroupBarrier();
  }
  let total = tree[0];
  workgroupBarrier();
  return total;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let latent = wid.x + wid.y * groups.x;
  if (latent >= p.latents) { return; }
  let columns = p.stride / 4u;
  var squares = 0.0;
  for (var d = thread; d < columns; d += WG) {
    let w = W[latent * columns + d];
    squares += dot(w, w);
  }
  let total = tree_sum(squares, thread);
  if (thread == 0u) { norms[p.first_latent + latent] = select(sqrt(total), total, SQUARED == 1u); }
}
