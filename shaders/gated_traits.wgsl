// What a gated SAE's magnitudes need of each latent: traits[i] = (exp(r_mag), b_mag, b_gate, 0). See gated_rows.wgsl.
const WG = 64u;

struct Params { latents: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> r_mag: array<f32>; // [latents]
@group(0) @binding(2) var<storage, read> b_mag: array<f32>; // [latents]
@group(0) @binding(3) var<storage, read> b_gate: array<f32>; // [latents]
@group(0) @binding(4) var<storage, read_write> traits: array<vec4f>; // [latents]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = (wid.x + wid.y * groups.x) * WG + thread;
  if (i >= p.latents) { return; }
  traits[i] = vec4f(exp(r_mag[i]), b_mag[i], b_gate[i], 0.0);
}
