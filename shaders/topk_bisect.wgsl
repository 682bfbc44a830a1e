// The k largest scores of each row, exactly. Among equal scores the smaller latent wins.
//
// The same result as topk_rows.wgsl, in the form that suits a software adapter: a few lanes per row, each with a
// run of consecutive candidates of its own, so that order needs no sorting and nothing is appended in a race. There
// every look at memory costs, and counting the keys above a bound is the cheapest question one can ask. So:
//
//   1. Each lane keeps the largest keys of up to GROUPS strided groups of its run. A bound with at least k, and few
//      more, of these maxima at or above it is a lower bound of the k-th largest score.
//   2. Each lane keeps the candidates at or above the bound, in order; they contain the answer.
//   3. The k-th key is found among them by halving an interval of keys.
//   4. Each lane writes what it keeps behind what the lanes before it keep.
//
// Where a lane's candidates overflow (many equal scores, or a large k), step 3 counts in the row itself. A workgroup takes
// ROWS rows one after the other, because starting one costs a software adapter as much as a good part of a row. It is one subgroup: at
// a barrier such an adapter would put all it knows aside, and take it up again.
enable subgroups;
diagnostic(off, subgroup_uniformity); // all that decides on a branch around them is a sum over the subgroup
const WG = 4u; // a subgroup
const ROWS = 16u;
const GROUPS = 32u; // of each lane, at most ROOM
const CAPACITY = 1024u;
const ROOM = CAPACITY / WG; // candidates of each lane
const FROM_LIST = 0u;
const SHORT = 0u; // lists of up to so many latents are left to topk_listed.wgsl
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

var<workgroup> keys: array<u32, CAPACITY>;
var<workgroup> places: array<u32, CAPACITY>;

// A run of candidates: places in the row, or, where stored, slots of `keys`.
struct Run { row: u32, begin: u32, end: u32, stored: bool }

fn ordered_key(score: f32) -> u32 {
  let bits = bitcast<u32>(score);
  if (bits == 0x80000000u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn latent_of(candidate: u32) -> u32 {
  if (FROM_LIST == 1u) { return list[candidate + 1u]; }
  return candidate;
}

fn score_of(row: u32, candidate: u32) -> f32 {
  let latent = latent_of(candidate);
  var score = h[row * p.latents + latent];
  if (SCALED == 1u) { score *= norms[latent]; }
  if (ABSOLUTE == 1u) { score = abs(score); }
  return score;
}

fn emit(row: u32, slot: u32, latent: u32) {
  let at = (p.first_row + row) * p.slots + slot;
  let value = h[row * p.latents + latent];
  indices[at] = latent;
  values[at] = select(max(value, 0.0), value, FROM_LIST == 1u || ABSOLUTE == 1u);
}

// Keys stay below 0xffffffff, so that there is a bound above all.
fn key_of(run: Run, candidate: u32) -> u32 {
  if (run.stored) { return keys[candidate]; }
  return min(ordered_key(score_of(run.row, candidate)), 0xfffffffeu);
}

// A bound with at least k keys at or above it: at most k + slack of them, or else the largest such bound. `least` has k.
fn bisect(run: Run, k: u32, slack: u32, least: u32) -> u32 {
  var low = least; // k or more keys at or above
  var high = 0xffffffffu; // fewer
  loop {
    if (high - low == 1u) { break; }
    let middle = low + (high - low) / 2u;
    var mine = 0u;
    for (var c = run.begin; c < run.end; c++) { mine += select(0u, 1u, key_of(run, c) >= middle); }
    let above = subgroupAdd(mine);
    if (above >= k) { low = middle; } else { high = middle; }
    if (above >= k && above <= k + slack) { break; }
  }
  return low;
}

fn select_row(row: u32, thread: u32) {
  var count = p.latents;
  if (FROM_LIST == 1u) { count = list[0]; }
  let k = min(p.k, count);
  for (var slot = k + thread; slot < p.slots; slot += WG) {
    indices[(p.first_row + row) * p.slots + slot] = NO_LATENT;
    values[(p.first_row + row) * p.slots + slot] = 0.0;
  }
  if (k == 0u) { return; }
  let length = (count + WG - 1u) / WG;
  let begin = min(thread * length, count);
  let end = min(begin + length, count);
  let whole = Run(row, begin, end, false);
  let base = thread * ROOM;

  var largest_of_all = 0u;
  var smallest = 0xffffffffu;
  let own_groups = min(GROUPS, end - begin);
  for (var group = 0u; group < own_groups; group++) {
    var largest = 0u;
    for (var c = begin + group; c < end; c += GROUPS) {
      let key = key_of(whole, c);
      largest = max(largest, key);
      smallest = min(smallest, key);
    }
    keys[base + group] = largest;
    largest_of_all = max(largest_of_all, largest);
  }
  // Infinities and NaNs have the outermost keys.
  if (begin < end && (largest_of_all >= 0xff800000u || smallest <= 0x007fffffu)) { atomicOr(&flags[0], 1u); }

  var bound = 0u;
  if (subgroupAdd(own_groups) >= k) {
    bound = bisect(Run(row, base, base + own_groups, true), k, k / 8u, 0u);
  }

  var found = 0u;
  for (var c = begin; c < end; c++) {
    let key = key_of(whole, c);
    if (key >= bound) {
      if (found < ROOM) {
        keys[base + found] = key;
        places[base + found] = c;
      }
      found++;
    }
  }
  let overflow = subgroupMax(found) > ROOM;
  var run = Run(row, base, base + found, true);
  if (overflow) { run = whole; }

  let last = bisect(run, k, 0u, bound);
  var larger = 0u;
  var equal = 0u;
  for (var c = run.begin; c < run.end; c++) {
    let key = key_of(run, c);
    larger += select(0u, 1u, key > last);
    equal += select(0u, 1u, key == last);
  }
  let remaining = k - subgroupAdd(larger); // of those equal to the last
  var before = vec2u(subgroupExclusiveAdd(larger), subgroupExclusiveAdd(equal));
  for (var c = run.begin; c < run.end; c++) {
    let key = key_of(run, c);
    if (key > last || (key == last && before.y < remaining)) {
      var place = c;
      if (run.stored) { place = places[c]; }
      emit(row, before.x + min(before.y, remaining), latent_of(place));
    }
    before += select(vec2u(), vec2u(1u, 0u), key > last);
    before += select(vec2u(), vec2u(0u, 1u), key == last);
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) thread: u32) {
  let first = (p.begin_group + wid.x + wid.y * groups.x) * ROWS;
  if (SHORT > 0u && list[0] <= SHORT) { return; }
  for (var row = first; row < min(first + ROWS, p.rows); row++) { select_row(row, thread); }
}
