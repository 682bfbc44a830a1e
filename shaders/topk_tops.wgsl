// The k largest scores of each row, exactly, by the largest score of every 8 latents that encode_resident.wgsl leaves in `tops`. Among equal
// scores the smaller latent wins.
//
// The same result as topk_bisect.wgsl, for the case that an encoder product has just been computed:
//
//   1. Each lane has a run of consecutive tops, and keeps the largest keys of GROUPS groups of them. A bound with at least k, and few more, of
//      these maxima at or above it is a lower bound of the k-th largest score.
//   2. The eights whose top is at or above the bound are taken in order, by all lanes together: each lane keeps the key of one latent of them, so
//      that slot n of all lanes has consecutive latents.
//   3. A bound with just k of the kept keys at or above it, or else the k-th key, is found by halving an interval of keys.
//   4. Slot by slot, in order, what is kept is dealt out to the lanes, which write it when each has one.
//
// All decisions are the same in all lanes: what lanes do apart costs a software adapter as much as if all did it. Where more eights are found than
// there is ROOM for (many equal scores), steps 3 and 4 go over all eights of the row itself. A workgroup is a subgroup, and takes ROWS rows one
// after the other.
enable subgroups;
diagnostic(off, subgroup_uniformity); // all that decides on a branch around them is a sum over the subgroup
const WG = 8u; // a subgroup: 4 or 8
const ROWS = 16u;
const GROUPS = 16u; // of each lane, a multiple of 4
const HELD = 96u; // slots in which step 3 looks whether they are taken or not, a multiple of 4, at most ROOM
const ROOM = 128u; // slots, a multiple of 4
const SCALED = 0u;
const ABSOLUTE = 0u;
const NO_LATENT = 0xffffffffu;

// latents is a multiple of 4.
struct Params { rows: u32, first_row: u32, latents: u32, k: u32, slots: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>; // [rows, latents]
@group(0) @binding(2) var<storage, read> norms: array<f32>; // [latents]
@group(0) @binding(3) var<storage, read> tops: array<vec4f>; // [rows, ceil(latents / 8)], rows beginning anywhere
@group(0) @binding(4) var<storage, read_write> indices: array<u32>; // [.., slots]
@group(0) @binding(5) var<storage, read_write> values: array<f32>; // [.., slots]
@group(0) @binding(6) var<storage, read_write> flags: array<atomic<u32>>;

// What is kept of a row: WG latents a slot, each lane the key of its own. Or, where that found no room, the row itself.
struct Run {
  row: u32,
  slots: u32,
  whole: bool,
  keys: array<vec4u, ROOM / 4u>, // of four slots each; zero, which is below all bounds, where there is no latent
  starts: array<u32, ROOM>, // the first latent of each slot
}

// Unsigned numbers in the same order, below 0xffffffff, so that there is a bound above all.
fn ordered_keys(scores: vec4f) -> vec4u {
  let bits = bitcast<vec4u>(scores);
  let keys = select(bits | vec4u(0x80000000u), ~bits, bits > vec4u(0x80000000u));
  return min(keys, vec4u(0xfffffffeu));
}

// The keys of four latents, zero where there is none.
fn four_keys_of(row: u32, latents: vec4u) -> vec4u {
  let at = min(latents, vec4u(p.latents - 1u));
  let first = row * p.latents;
  var scores = vec4f(h[first + at.x], h[first + at.y], h[first + at.z], h[first + at.w]);
  if (SCALED == 1u) { scores *= vec4f(norms[at.x], norms[at.y], norms[at.z], norms[at.w]); }
  if (ABSOLUTE == 1u) { scores = abs(scores); }
  return select(vec4u(), ordered_keys(scores), latents < vec4u(p.latents));
}

fn larger_of(v: vec4u) -> u32 {
  return max(max(v.x, v.y), max(v.z, v.w));
}

fn smaller_of(v: vec4u) -> u32 {
  return min(min(v.x, v.y), min(v.z, v.w));
}

fn count_of(v: vec4<bool>) -> u32 {
  let ones = select(vec4u(), vec4u(1u), v);
  return ones.x + ones.y + ones.z + ones.w;
}

// The keys of four tops that lie in tops first_top ... end_top - 1; of others zero.
fn top_keys(quad: u32, first_top: u32, end_top: u32) -> vec4u {
  let at = quad * 4u + vec4u(0u, 1u, 2u, 3u);
  return select(vec4u(), ordered_keys(tops[quad]), (at >= vec4u(first_top)) & (at < vec4u(end_top)));
}

// A bound with at least k maxima at or above it, of all lanes together: at most k + slack of them, or else the largest such bound; or zero.
fn bound_of(maxima: ptr<function, array<vec4u, GROUPS / 4u>>, k: u32, slack: u32) -> u32 {
  var largest = vec4u();
  var smallest = vec4u(0xffffffffu);
  for (var n = 0u; n < GROUPS / 4u; n++) {
    largest = max(largest, (*maxima)[n]);
    smallest = min(smallest, (*maxima)[n]);
  }
  var low = 0u;
  var high = subgroupMax(larger_of(largest)) + 1u; // fewer than k keys at or above
  if (WG * GROUPS >= k) { low = subgroupMin(smaller_of(smallest)); }
  loop {
    if (high - low <= 1u) { break; }
    let middle = low + (high - low) / 2u;
    var mine = 0u;
    for (var n = 0u; n < GROUPS / 4u; n++) { mine += count_of((*maxima)[n] >= vec4u(middle)); }
    let above = subgroupAdd(mine);
    if (above >= k) { low = middle; } else { high = middle; }
    if (above >= k && above <= k + slack) { break; }
  }
  return low;
}

// Which lanes say yes, four questions side by side: bit 4 l + c is lane l's answer to question c.
fn interleaved_ballot(yes: vec4<bool>) -> u32 {
  var bits = vec4u(subgroupBallot(yes.x).x, subgroupBallot(yes.y).x, subgroupBallot(yes.z).x, subgroupBallot(yes.w).x);
  bits = (bits | (bits << vec4u(12u))) & vec4u(0x000f000fu);
  bits = (bits | (bits << vec4u(6u))) & vec4u(0x03030303u);
  bits = (bits | (bits << vec4u(3u))) & vec4u(0x11111111u);
  return bits.x | (bits.y << 1u) | (bits.z << 2u) | (bits.w << 3u);
}

// The keys of four slots.
fn four_slots(run: ptr<function, Run>, quad: u32, lane: u32) -> vec4u {
  if ((*run).whole) { return four_keys_of((*run).row, (quad * 4u + vec4u(0u, 1u, 2u, 3u)) * WG + lane); }
  return (*run).keys[quad];
}

// Which lanes' keys of a slot are kept: those above the last, and as many that equal it as remain.
fn kept_of(key: u32, last: u32, below: u32, remaining: ptr<function, u32>) -> u32 {
  let equal = subgroupBallot(key == last).x;
  let kept = subgroupBallot(key > last || (key == last && countOneBits(equal & below) < *remaining)).x;
  *remaining -= min(*remaining, countOneBits(equal));
  return kept;
}

// How many kept keys of all lanes are at or above a bound.
fn count_above(run: ptr<function, Run>, bound: u32, lane: u32) -> u32 {
  var mine = 0u;
  if ((*run).whole || (*run).slots > HELD) {
    for (var quad = 0u; quad * 4u < (*run).slots; quad++) { mine += count_of(four_slots(run, quad, lane) >= vec4u(bound)); }
  } else {
    for (var n = 0u; n < HELD / 4u; n++) { mine += count_of((*run).keys[n] >= vec4u(bound)); }
  }
  return subgroupAdd(mine);
}

// The largest bound with k or more keys at or above it, or one with just k. `least` has k or more, `most` fewer.
fn last_of(run: ptr<function, Run>, k: u32, least: u32, most: u32, lane: u32) -> u32 {
  var low = least;
  var high = most;
  loop {
    if (high - low <= 1u) { break; }
    let middle = low + (high - low) / 2u;
    let above = count_above(run, middle, lane);
    if (above >= k) { low = middle; } else { high = middle; }
    if (above == k) { break; }
  }
  return low;
}

// Writes WG pairs of a row from `place` on, or `count` if these are fewer, each lane its own.
fn emit_places(row: u32, place: u32, count: u32, latent: u32, lane: u32) {
  if (lane >= count) { return; }
  let at = (p.first_row + row) * p.slots + place + lane;
  let value = h[row * p.latents + latent];
  indices[at] = latent;
  values[at] = select(max(value, 0.0), value, ABSOLUTE == 1u);
}

fn select_by_tops(row: u32, lane: u32) {
  let k = min(p.k, p.latents);
  for (var slot = k + lane; slot < p.slots; slot += WG) {
    indices[(p.first_row + row) * p.slots + slot] = NO_LATENT;
    values[(p.first_row + row) * p.slots + slot] = 0.0;
  }
  if (k == 0u) { return; }

  // The row's tops, and quads that cover them.
  let pitch = (p.latents + 7u) / 8u;
  let first_top = row * pitch;
  let end_top = first_top + pitch;
  let first_quad = first_top / 4u;
  let end_quad = (end_top + 3u) / 4u;

  var maxima = array<vec4u, GROUPS / 4u>();
  var largest_of_all = vec4u();
  for (var group = 0u; group < GROUPS / 4u; group++) {
    var largest = vec4u();
    for (var quad = first_quad + group * WG + lane; quad < end_quad; quad += WG * GROUPS / 4u) { largest = max(largest, top_keys(quad, first_top, end_top)); }
    maxima[group] = largest;
    largest_of_all = max(largest_of_all, largest);
  }
  // A NaN stands for all that is not finite.
  let most = subgroupMax(larger_of(largest_of_all));
  if (most >= 0xff800000u && lane == 0u) { atomicOr(&flags[0], 1u); }
  let bound = bound_of(&maxima, k, k / 8u);

  var run = Run(row, 0u, false, array<vec4u, ROOM / 4u>(), array<u32, ROOM>());
  for (var quad = first_quad; quad < end_quad; quad += WG) {
    let keys = top_keys(min(quad + lane, end_quad - 1u), first_top, end_top);
    var marked = interleaved_ballot((keys >= vec4u(bound)) & vec4<bool>(quad + lane < end_quad));
    while (marked != 0u) {
      let at = quad * 4u + countTrailingZeros(marked) - first_top; // of a quad that begins before the row, modulo 2^32
      marked &= marked - 1u;
      if (at >= pitch) { continue; } // where all keys are zero the bound is, and what is no top is marked too
      for (var part = 0u; part < 8u; part += WG) {
        run.starts[min(run.slots, ROOM - 1u)] = at * 8u + part;
        run.slots++;
      }
    }
  }
  if (run.slots > ROOM) {
    run.whole = true;
    run.slots = (p.latents + WG - 1u) / WG;
  }
  // Four slots at a time: they lie far apart in memory, which then looks for them side by side.
  for (var slot = 0u; slot < select(run.slots, 0u, run.whole); slot += 4u) {
    let there = slot + vec4u(0u, 1u, 2u, 3u) < vec4u(run.slots);
    let latents = vec4u(run.starts[slot], run.starts[slot + 1u], run.starts[slot + 2u], run.starts[slot + 3u]) + lane;
    run.keys[slot / 4u] = select(vec4u(), four_keys_of(row, latents), there);
  }

  let last = last_of(&run, k, bound, most + 1u, lane);
  let above = count_above(&run, last + 1u, lane);
  var remaining = k - above; // of those equal to the last; all others at or above it are kept
  if (count_above(&run, last, lane) == k) { remaining = k; }
  let below = (1u << lane) - 1u;
  var placed = 0u;
  var latent = 0u; // the lane's own, of the last WG
  for (var quad = 0u; quad * 4u < run.slots; quad++) {
    let keys = four_slots(&run, quad, lane);
    var kept = 0u; // WG bits a slot
    kept |= kept_of(keys.x, last, below, &remaining) << (0u * WG);
    kept |= kept_of(keys.y, last, below, &remaining) << (1u * WG);
    kept |= kept_of(keys.z, last, below, &remaining) << (2u * WG);
    kept |= kept_of(keys.w, last, below, &remaining) << (3u * WG);
    while (kept != 0u) {
      let next = countTrailingZeros(kept);
      let slot = quad * 4u + next / WG;
      kept &= kept - 1u;
      latent = select(latent, select(run.starts[min(slot, ROOM - 1u)], slot * WG, run.whole) + next % WG, lane == placed % WG);
      placed++;
      if (placed % WG == 0u) { emit_places(row, placed - WG, WG, latent, lane); }
    }
  }
  emit_places(row, placed - placed % WG, placed % WG, latent, lane);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let first = (p.begin_group + wid.x + wid.y * groups.x) * ROWS;
  for (var row = first; row < min(first + ROWS, p.rows); row++) { select_by_tops(row, lane); }
}
