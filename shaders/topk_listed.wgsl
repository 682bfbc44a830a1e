// The k largest scores of each row among a list of latents, exactly. Among equal scores the smaller latent wins.
//
// The same result as topk_bisect.wgsl with FROM_LIST, for lists of up to 4 HELD latents a lane: these and a row's keys of them stay with the lanes, where
// asking how many keys are above a bound costs a software adapter less than reading any of them again. Longer lists are left to topk_bisect.
//
//   1. Each lane reads four neighbours of the list at a time, of all lanes in order, and keeps the largest keys of GROUPS groups of these fours.
//      k or more of these maxima, if there are as many, are at or above the smallest.
//   2. A bound with just k keys at or above it, or else the k-th key, is found by halving an interval of keys.
//   3. In order, what is kept is dealt out to the lanes, which write it when each has one.
//
// All decisions are the same in all lanes. A workgroup is a subgroup, and takes ROWS rows one after the other.
enable subgroups;
diagnostic(off, subgroup_uniformity); // all that decides on a branch around them is the same in all lanes
const WG = 8u; // a subgroup: 4 or 8
const ROWS = 16u;
const GROUPS = 8u;
const HELD = 96u; // fours of each lane: 32, 64, 96 or 128
const SCALED = 0u;
const ABSOLUTE = 0u;
const NO_LATENT = 0xffffffffu;

struct Params { rows: u32, first_row: u32, latents: u32, k: u32, slots: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>; // [rows, latents]
@group(0) @binding(2) var<storage, read> norms: array<f32>; // [latents]
@group(0) @binding(3) var<storage, read> list: array<u32>; // count, then latents ascending
@group(0) @binding(4) var<storage, read_write> indices: array<u32>; // [.., slots]
@group(0) @binding(5) var<storage, read_write> values: array<f32>; // [.., slots]
@group(0) @binding(6) var<storage, read_write> flags: array<atomic<u32>>;

// What a lane has of the list: fours of latents, as many as all lanes need. NO_LATENT where the list has ended.
struct Listed {
  length: u32,
  latents: array<vec4u, HELD>,
  norms: array<vec4f, HELD>,
}

// Unsigned numbers in the same order, below 0xffffffff, so that there is a bound above all.
fn ordered_keys(scores: vec4f) -> vec4u {
  let bits = bitcast<vec4u>(scores);
  let keys = select(bits | vec4u(0x80000000u), ~bits, bits > vec4u(0x80000000u));
  return min(keys, vec4u(0xfffffffeu));
}

fn larger_of(v: vec4u) -> u32 {
  return max(max(v.x, v.y), max(v.z, v.w));
}

fn smaller_of(v: vec4u) -> u32 {
  return min(min(v.x, v.y), min(v.z, v.w));
}

fn ones(yes: vec4<bool>) -> vec4u {
  return select(vec4u(), vec4u(1u), yes);
}

// The lanes' counts, added as a tree.
fn lanes_count(count: u32) -> u32 {
  var sum = count;
  for (var half = WG / 2u; half > 0u; half /= 2u) { sum += subgroupShuffleXor(sum, half); }
  return sum;
}

// Which lanes say yes to four questions: bit 4 l + c is lane l's answer to question c.
fn answers(yes: vec4<bool>, lane: u32) -> u32 {
  let bits = select(vec4u(), vec4u(1u, 2u, 4u, 8u), yes);
  var all = (bits.x | bits.y | bits.z | bits.w) << (4u * lane);
  for (var half = WG / 2u; half > 0u; half /= 2u) { all |= subgroupShuffleXor(all, half); }
  return all;
}

// The place of the lowest one. (countTrailingZeros, which a software adapter takes longer over.)
fn lowest_of(bits: u32) -> u32 {
  return countOneBits((bits & (~bits + 1u)) - 1u);
}

fn read_list(listed: ptr<function, Listed>, count: u32, lane: u32) {
  (*listed).length = (count + 4u * WG - 1u) / (4u * WG);
  for (var n = 0u; n < (*listed).length; n++) {
    let at = (n * WG + lane) * 4u + vec4u(0u, 1u, 2u, 3u);
    let there = at < vec4u(count);
    let place = min(at, vec4u(count - 1u)) + 1u;
    let latents = vec4u(list[place.x], list[place.y], list[place.z], list[place.w]);
    (*listed).latents[n] = select(vec4u(NO_LATENT), latents, there);
    if (SCALED == 1u) { (*listed).norms[n] = vec4f(norms[latents.x], norms[latents.y], norms[latents.z], norms[latents.w]); }
  }
}

// Keys of four listed latents, zero where the list has ended, which is below all bounds.
fn listed_keys(listed: ptr<function, Listed>, row: u32, n: u32) -> vec4u {
  let latents = (*listed).latents[n];
  let at = row * p.latents + min(latents, vec4u(p.latents - 1u));
  var scores = vec4f(h[at.x], h[at.y], h[at.z], h[at.w]);
  if (SCALED == 1u) { scores *= (*listed).norms[n]; }
  if (ABSOLUTE == 1u) { scores = abs(scores); }
  return select(vec4u(), ordered_keys(scores), latents != vec4u(NO_LATENT));
}

// How many of a lane's keys in eight fours are at or above a bound, by component.
fn above_of_eight(keys: ptr<function, array<vec4u, HELD>>, first: u32, bound: vec4u) -> vec4u {
  return ones((*keys)[first] >= bound) + ones((*keys)[first + 1u] >= bound) + ones((*keys)[first + 2u] >= bound) + ones((*keys)[first + 3u] >= bound)
    + ones((*keys)[first + 4u] >= bound) + ones((*keys)[first + 5u] >= bound) + ones((*keys)[first + 6u] >= bound) + ones((*keys)[first + 7u] >= bound);
}

// How many keys of all lanes are at or above a bound. The text names each four by a constant, since registers have no index.
fn listed_above(keys: ptr<function, array<vec4u, HELD>>, least: u32) -> u32 {
  let bound = vec4u(least);
  var mine = above_of_eight(keys, 0u, bound) + above_of_eight(keys, 8u, bound) + above_of_eight(keys, 16u, bound) + above_of_eight(keys, 24u, bound);
  if (HELD > 32u) { mine += above_of_eight(keys, 32u, bound) + above_of_eight(keys, 40u, bound) + above_of_eight(keys, 48u, bound) + above_of_eight(keys, 56u, bound); }
  if (HELD > 64u) { mine += above_of_eight(keys, 64u, bound) + above_of_eight(keys, 72u, bound) + above_of_eight(keys, 80u, bound) + above_of_eight(keys, 88u, bound); }
  if (HELD > 96u) { mine += above_of_eight(keys, 96u, bound) + above_of_eight(keys, 104u, bound) + above_of_eight(keys, 112u, bound) + above_of_eight(keys, 120u, bound); }
  return lanes_count(mine.x + mine.y + mine.z + mine.w);
}

// Writes WG pairs of a row from `place` on, or `count` if these are fewer, each lane its own.
fn emit_listed(row: u32, place: u32, count: u32, latent: u32, lane: u32) {
  if (lane >= count) { return; }
  let at = (p.first_row + row) * p.slots + place + lane;
  indices[at] = latent;
  values[at] = h[row * p.latents + latent];
}

fn select_listed(listed: ptr<function, Listed>, row: u32, k: u32, lane: u32) {
  var keys = array<vec4u, HELD>();
  var largest_of_all = vec4u();
  var smallest_of_all = vec4u(0xffffffffu);
  var least = vec4u(0xffffffffu); // of the maxima
  for (var group = 0u; group < GROUPS; group++) {
    var largest = vec4u();
    for (var n = group; n < (*listed).length; n += GROUPS) {
      let four = listed_keys(listed, row, n);
      keys[n] = four;
      largest = max(largest, four);
      smallest_of_all = min(smallest_of_all, select(vec4u(0xffffffffu), four, (*listed).latents[n] != vec4u(NO_LATENT)));
    }
    least = min(least, largest);
    largest_of_all = max(largest_of_all, largest);
  }
  // Infinities and NaNs have the outermost keys.
  let most = subgroupMax(larger_of(largest_of_all));
  if ((most >= 0xff800000u || subgroupMin(smaller_of(smallest_of_all)) <= 0x007fffffu) && lane == 0u) { atomicOr(&flags[0], 1u); }

  var low = 0u; // k or more keys at or above
  if (4u * GROUPS * WG >= k) { low = subgroupMin(smaller_of(least)); }
  var high = most + 1u; // fewer
  var count = 0u; // at or above low, once that was asked
  loop {
    if (high - low <= 1u || count == k) { break; }
    let middle = low + (high - low) / 2u;
    let above = listed_above(&keys, middle);
    if (above >= k) {
      low = middle;
      count = above;
    } else {
      high = middle;
    }
  }
  let tied = count != k; // then all above low are kept, and as many that equal it as remain
  var remaining = 0u;
  if (tied) { remaining = k - listed_above(&keys, low + 1u); }
  var placed = 0u;
  var latent = 0u; // the lane's own, of the last WG
  for (var n = 0u; n < (*listed).length; n++) {
    let latents = (*listed).latents[n];
    var kept = answers(keys[n] >= vec4u(max(low, 1u)), lane);
    if (tied) {
      var equal = answers((keys[n] == vec4u(low)) & (latents != vec4u(NO_LATENT)), lane);
      kept &= ~equal;
      while (equal != 0u && remaining > 0u) {
        kept |= equal & (~equal + 1u);
        equal &= equal - 1u;
        remaining--;
      }
    }
    while (kept != 0u) {
      let bit = lowest_of(kept);
      kept &= kept - 1u;
      latent = select(latent, subgroupShuffle(latents[bit % 4u], bit / 4u), lane == placed % WG);
      placed++;
      if (placed % WG == 0u) { emit_listed(row, placed - WG, WG, latent, lane); }
    }
  }
  emit_listed(row, placed - placed % WG, placed % WG, latent, lane);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let first = (p.begin_group + wid.x + wid.y * groups.x) * ROWS;
  let count = list[0];
  if (count > 4u * HELD * WG) { return; }
  let k = min(p.k, count);
  var listed = Listed();
  if (count > 0u) { read_list(&listed, count, lane); }
  for (var row = first; row < min(first + ROWS, p.rows); row++) {
    for (var slot = k + lane; slot < p.slots; slot += WG) {
      indices[(p.first_row + row) * p.slots + slot] = NO_LATENT;
      values[(p.first_row + row) * p.slots + slot] = 0.0;
    }
    if (k > 0u) { select_listed(&listed, row, k, lane); }
  }
}
