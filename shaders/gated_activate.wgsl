// Codes of a gated SAE from its gates, in place, for inference: f = relu(m) where pi > 0, else 0, with m as in gated_rows.wgsl.
// A NaN or an infinity sets bit 0 of flags[0]. One invocation per element.
const WG = 64u;

struct Params { elements: u32, latents: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> traits: array<vec4f>; // (exp(r_mag), b_mag, b_gate, 0)
@group(0) @binding(2) var<storage, read_write> h: array<f32>; // pi [rows, latents]
@group(0) @binding(3) var<storage, read_write> flags: array<atomic<u32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (wid.x + wid.y * groups.x) * WG + thread;
  if (at >= p.elements) { return; }
  let pi = h[at];
  let own = traits[at % p.latents];
  let m = (pi - own.z) * own.x + own.y;
  if ((bitcast<u32>(pi) & 0x7f800000u) == 0x7f800000u || (bitcast<u32>(m) & 0x7f800000u) == 0x7f800000u) { atomicOr(&flags[0], 1u); }
  h[at] = select(0.0, max(m, 0.0), pi > 0.0);
}
