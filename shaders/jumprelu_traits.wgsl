// What a JumpReLU SAE in training needs of each latent: traits[i] = (theta, n, lambda if the latent is dead else 0, d theta / d parameter).
//
//   LOG 0: theta = relu(threshold)          (SAELens since 6.48)
//   LOG 1: theta = exp(log_threshold)       (SAELens 6.18)
//
// n are decoder norms, lambda the coefficient of the pre-activation loss. The list of the dead ascends: each invocation looks its latent up.
const WG = 64u;
const LOG = 0u;

struct Params { latents: u32, lambda: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> threshold: array<f32>; // [latents], or its logarithms
@group(0) @binding(2) var<storage, read> norms: array<f32>; // [latents]
@group(0) @binding(3) var<storage, read> dead: array<u32>; // count, then latents ascending
@group(0) @binding(4) var<storage, read_write> traits: array<vec4f>; // [latents]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = (wid.x + wid.y * groups.x) * WG + thread;
  if (i >= p.latents) { return; }
  var theta = max(threshold[i], 0.0);
  var derivative = select(0.0, 1.0, threshold[i] > 0.0);
  if (LOG == 1u) {
    theta = exp(threshold[i]);
    derivative = theta;
  }
  // Afterwards `low` dead latents are smaller than i.
  var low = 0u;
  var high = dead[0];
  while (low < high) {
    let middle = (low + high) / 2u;
    if (dead[1u + middle] < i) { low = middle + 1u; } else { high = middle; }
  }
  var lambda = 0.0;
  if (low < dead[0]) { lambda = select(0.0, p.lambda, dead[1u + low] == i); }
  traits[i] = vec4f(theta, norms[i], lambda, derivative);
}
