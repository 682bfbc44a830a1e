// The part of an ascending list that lies in a range of latents: list and part are a count, then that many latents.
//
// Where the range begins in the list and where it ends is found by halving. One invocation per entry of the list.
const WG = 64u;

struct Params { latents: u32, first: u32, end: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> list: array<u32>; // [latents + 1]
@group(0) @binding(2) var<storage, read_write> part: array<u32>; // [latents + 1]

// Entries of the list below a latent.
fn entries_below(latent: u32) -> u32 {
  var low = 0u;
  var high = list[0];
  while (low < high) {
    let middle = (low + high) / 2u;
    if (list[1u + middle] < latent) { low = middle + 1u; } else { high = middle; }
  }
  return low;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let entry = (wid.x + wid.y * groups.x) * WG + thread;
  if (entry >= p.latents) { return; }
  let begin = entries_below(p.first);
  let end = entries_below(p.end);
  if (entry == 0u) { part[0] = end - begin; }
  if (entry < end - begin) { part[1u + entry] = list[1u + begin + entry]; }
}
