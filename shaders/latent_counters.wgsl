// since[i] = 0 if latent i fired in this batch, else since[i] + 1;  fired[i] += rows of this batch in which it fired.
const WG = 64u;

struct Params { latents: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>; // rows of this batch, per latent
@group(0) @binding(2) var<storage, read_write> since: array<u32>; // steps since the latent last fired
@group(0) @binding(3) var<storage, read_write> fired: array<u32>; // rows since the sampling window began

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = (wid.x + wid.y * groups.x) * WG + thread;
  if (i >= p.latents) { return; }
  since[i] = select(0u, since[i] + 1u, counts[i] == 0u);
  fired[i] += counts[i];
}
