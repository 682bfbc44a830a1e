// Codes from pre-activations, in place, for inference.
//
//   f = relu(h) where h > threshold[i], else 0
//
// which is relu with thresholds of zero and JumpReLU (Rajamanoharan et al. 2024) with others.
// A NaN or an infinity sets bit 0 of flags[0]. One invocation per element.
const WG = 64u;

struct Params { elements: u32, latents: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> threshold: array<f32>; // [latents]
@group(0) @binding(2) var<storage, read_write> h: array<f32>; // [rows, latents]
@group(0) @binding(3) var<storage, read_write> flags: array<atomic<u32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (wid.x + wid.y * groups.x) * WG + thread;
  if (at >= p.elements) { return; }
  let value = h[at];
  if ((bitcast<u32>(value) & 0x7f800000u) == 0x7f800000u) { atomicOr(&flags[0], 1u); }
  h[at] = select(0.0, max(value, 0.0), value > threshold[at % p.latents]);
}
