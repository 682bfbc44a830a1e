// What reaches a gated SAE's products through its magnitudes, and the latents' sums over a chunk of rows. Nothing flows through the gate.
//
//   h = pi - b_gate,   m = h exp(r_mag) + b_mag          see gated_rows.wgsl
//   dm = df where pi > 0 and m > 0, else 0               df: what the decoder gave
//   dh = dm exp(r_mag)                                   written over df
//   grad_b_mag[i] (+)= sum_b dm,   grad_r_mag[i] (+)= sum_b dh h,   pulls[i] (+)= sum_b dh,   counts[i] (+)= rows in which f fired
//
// keep is 0 for the first rows of a batch. One invocation per latent, rows in order, as in relu_latents.wgsl.
const WG = 64u;

struct Params { rows: u32, latents: u32, keep: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gates: array<f32>; // pi [rows, latents]
@group(0) @binding(2) var<storage, read> traits: array<vec4f>; // (exp(r_mag), b_mag, b_gate, 0)
@group(0) @binding(3) var<storage, read_write> df: array<f32>; // [rows, latents]
@group(0) @binding(4) var<storage, read_write> grad_b_mag: array<f32>; // [latents]
@group(0) @binding(5) var<storage, read_write> grad_r_mag: array<f32>; // [latents]
@group(0) @binding(6) var<storage, read_write> pulls: array<f32>; // [latents]
@group(0) @binding(7) var<storage, read_write> counts: array<u32>; // [latents]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = (wid.x + wid.y * groups.x) * WG + thread;
  if (i >= p.latents) { return; }
  let own = traits[i];
  var b_mag = 0.0;
  var r_mag = 0.0;
  var pull = 0.0;
  var count = 0u;
  if (p.keep == 1u) {
    b_mag = grad_b_mag[i];
    r_mag = grad_r_mag[i];
    pull = pulls[i];
    count = counts[i];
  }
  for (var row = 0u; row < p.rows; row++) {
    let at = row * p.latents + i;
    let pi = gates[at];
    let h = pi - own.z;
    var dh = 0.0;
    if (pi > 0.0 && h * own.x + own.y > 0.0) {
      let dm = df[at];
      dh = dm * own.x;
      b_mag += dm;
      r_mag += dh * h;
      pull += dh;
      count++;
    }
    df[at] = dh;
  }
  grad_b_mag[i] = b_mag;
  grad_r_mag[i] = r_mag;
  pulls[i] = pull;
  counts[i] = count;
}
