// A row's picks as kept pairs: latents ascending and each once, with the sum of what its picks took; then empty slots.
//
//   kept_indices[b,:], kept_values[b,:]   the pairs; (NO_LATENT, 0) in empty slots
//   kept_slots[b,:]                       the pick that took the pair's latent first, as a float (exact below 2^24)
//
// One invocation per pick: the pick that took a latent first finds the pair's place by counting, every other fills a slot at the end.
const WG = 64u;
const NO_LATENT = 0xffffffffu;

struct Params { rows: u32, picks: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [rows, picks]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [rows, picks]
@group(0) @binding(3) var<storage, read> first_slots: array<u32>; // [rows, picks]
@group(0) @binding(4) var<storage, read_write> kept_indices: array<u32>; // [rows, picks]
@group(0) @binding(5) var<storage, read_write> kept_values: array<f32>; // [rows, picks]
@group(0) @binding(6) var<storage, read_write> kept_slots: array<f32>; // [rows, picks]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let n = (p.begin_group + wid.x + wid.y * groups.x) * WG + thread;
  if (n / p.picks >= p.rows) { return; }
  let base = n / p.picks * p.picks;
  let slot = n % p.picks;
  let latent = indices[n];
  let leads = latent != NO_LATENT && first_slots[n] == slot;
  var pairs = 0u;
  var smaller = 0u; // pairs of smaller latents
  var followers = 0u; // picks before this one that lead no pair
  var sum = 0.0;
  for (var t = 0u; t < p.picks; t++) {
    let other = indices[base + t];
    let other_leads = other != NO_LATENT && first_slots[base + t] == t;
    pairs += select(0u, 1u, other_leads);
    smaller += select(0u, 1u, other_leads && other < latent);
    followers += select(0u, 1u, !other_leads && t < slot);
    if (leads && other == latent) { sum += values[base + t]; }
  }
  let to = base + select(pairs + followers, smaller, leads);
  kept_indices[to] = select(NO_LATENT, latent, leads);
  kept_values[to] = sum;
  kept_slots[to] = f32(slot);
}
