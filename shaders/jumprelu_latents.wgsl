// What reaches the pre-activations and thresholds of JumpReLU codes, and the latents' sums over a chunk of rows.
//
//   K = 1 / w where |h - theta| < w / 2, else 0           the straight-through kernel, w: bandwidth
//   u = tanh(s f n),   df += c / B (1 - u^2) s n          SPARSITY 1, tanh;  df: what the decoder gave
//   dh = df where h > theta, else 0                       written over df
//   dtheta = sum_b -theta K df - K c'                     c' = c / B (SPARSITY 0, step), 0 (1), slope[0] (2, quadratic: target_l0.wgsl)
//   with TO_INPUT 1:                      dh += theta K df + K c'
//   for theta > h and lambda_i > 0:       dh -= lambda_i n / B,   dtheta += lambda_i n / B
//
//   sums[i] (+)= sum_b dh,   grad_threshold[i] (+)= dtheta * d theta / d parameter,   counts[i] (+)= rows with h > theta
//   sums[2 pitch + i] (+)= sum_b c / B (1 - u^2) s f + lambda_i relu(theta - h) / B          gradients of the norms
//
// keep is 0 for the first rows of a batch. One invocation per latent, rows in order, as in relu_latents.wgsl.
const WG = 64u;
const SPARSITY = 0u;
const PRE_ACT = 0u;
const TO_INPUT = 0u;

struct Params { rows: u32, latents: u32, batch: u32, pitch: u32, keep: u32, coefficient: f32, tanh_scale: f32, bandwidth: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>; // [rows, latents]
@group(0) @binding(2) var<storage, read> traits: array<vec4f>; // (theta, n, lambda, d theta / d parameter)
@group(0) @binding(3) var<storage, read> slope: array<f32>; // [1]
@group(0) @binding(4) var<storage, read_write> df: array<f32>; // [rows, latents]
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // grad bias, (squares), gradients of the norms
@group(0) @binding(6) var<storage, read_write> grad_threshold: array<f32>; // [latents]
@group(0) @binding(7) var<storage, read_write> counts: array<u32>; // [latents]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = (wid.x + wid.y * groups.x) * WG + thread;
  if (i >= p.latents) { return; }
  let own = traits[i];
  let theta = own.x;
  let norm = own.y;
  let rise = own.z / f32(p.batch);
  let share = p.coefficient / f32(p.batch);
  var pressure = 0.0;
  if (SPARSITY == 0u) { pressure = share; }
  if (SPARSITY == 2u) { pressure = slope[0]; }
  var bias = 0.0;
  var stretch = 0.0;
  var lift = 0.0;
  var count = 0u;
  if (p.keep == 1u) {
    bias = sums[i];
    stretch = sums[2u * p.pitch + i];
    lift = grad_threshold[i];
    count = counts[i];
  }
  for (var row = 0u; row < p.rows; row++) {
    let at = row * p.latents + i;
    let value = h[at];
    let fires = value > theta;
    var slope_f = df[at];
    if (SPARSITY == 1u) {
      let code = select(0.0, value, fires);
      let fading = exp(-2.0 * p.tanh_scale * code * norm);
      let steep = share * p.tanh_scale * 4.0 * fading / ((1.0 + fading) * (1.0 + fading)); // c / B s (1 - tanh^2)
      slope_f += steep * norm;
      stretch += steep * code;
    }
    let near = select(0.0, 1.0 / p.bandwidth, abs(value - theta) < 0.5 * p.bandwidth);
    let push = near * (theta * slope_f + pressure);
    var dh = select(0.0, slope_f, fires);
    var dtheta = -push;
    if (TO_INPUT == 1u) { dh += push; }
    if (PRE_ACT == 1u && theta > value) {
      dh -= rise * norm;
      dtheta += rise * norm;
      stretch += rise * (theta - value);
    }
    df[at] = dh;
    bias += dh;
    lift += dtheta * own.w;
    count += select(0u, 1u, fires);
  }
  sums[i] = bias;
  sums[2u * p.pitch + i] = stretch;
  grad_threshold[i] = lift;
  counts[i] = count;
}
