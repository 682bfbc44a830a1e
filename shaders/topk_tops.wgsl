// The k largest scores of each row, exactly, by the largest score of every 8 latents that encode_resident.wgsl leaves in `tops`. Among equal
// scores the smaller latent wins.
//
// The same result as topk_bisect.wgsl, for the case that an encoder product has just been computed:
//
//   1. Each lane keeps the largest keys of GROUPS groups of tops. A bound with at least k, and few more, of these maxima at or above it is a lower
//      bound of the k-th largest score.
//   2. The eights whose top is at or above the bound are taken in order, by all lanes together: as many at a time as the lanes have halves of them.
//   3. A bound with just k of the keys taken at or above it, or else the k-th key, is found by halving an interval of keys.
//   4. In order, what is kept is dealt out to the lanes, which write it when each has one.
//
// All decisions are the same in all lanes: what lanes do apart costs a software adapter as much as if all did it. Where more eights are found than
// there is ROOM for (many equal scores), steps 3 and 4 go over the row itself. A workgroup is a subgroup, and takes ROWS rows one after the other.
enable subgroups;
diagnostic(off, subgroup_uniformity); // all that decides on a branch around them is the same in all lanes
const WG = 8u; // a subgroup: 4 or 8
const ROWS = 16u;
const GROUPS = 16u; // of each lane, a multiple of 4
const HELD = 24u; // quads of each lane in which step 3 looks whether they are taken or not
const ROOM = 32u; // quads of each lane
const SCALED = 0u;
const ABSOLUTE = 0u;
const NO_LATENT = 0xffffffffu;
const EIGHTS = WG / 2u; // taken at a time

// latents is a multiple of 4.
struct Params { rows: u32, first_row: u32, latents: u32, k: u32, slots: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<vec4f>; // [rows, latents]
@group(0) @binding(2) var<storage, read> norms: array<vec4f>; // [latents]
@group(0) @binding(3) var<storage, read> tops: array<vec4f>; // [rows, ceil(latents / 8)], rows beginning anywhere
@group(0) @binding(4) var<storage, read_write> indices: array<u32>; // [.., slots]
@group(0) @binding(5) var<storage, read_write> values: array<f32>; // [.., slots]
@group(0) @binding(6) var<storage, read_write> flags: array<atomic<u32>>;

// What is taken of a row: each lane has four latents at a time, of all lanes in order. Or, where that found no room, the row itself.
struct Run {
  row: u32,
  length: u32, // quads of each lane
  whole: bool,
  keys: array<vec4u, ROOM>, // zero, which is below all bounds, where there is no latent
  quads: array<u32, ROOM>, // which latents they are, by fours
}

// Unsigned numbers in the same order, below 0xffffffff, so that there is a bound above all.
fn ordered_keys(scores: vec4f) -> vec4u {
  let bits = bitcast<vec4u>(scores);
  let keys = select(bits | vec4u(0x80000000u), ~bits, bits > vec4u(0x80000000u));
  return min(keys, vec4u(0xfffffffeu));
}

// The keys of four latents, zero where there are none.
fn quad_keys(row: u32, quad: u32) -> vec4u {
  let at = min(quad, p.latents / 4u - 1u);
  var scores = h[row * (p.latents / 4u) + at];
  if (SCALED == 1u) { scores *= norms[at]; }
  if (ABSOLUTE == 1u) { scores = abs(scores); }
  return select(vec4u(), ordered_keys(scores), quad < p.latents / 4u);
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

// The keys of four tops that lie in tops first_top ... end_top - 1; of others zero.
fn top_keys(quad: u32, first_top: u32, end_top: u32) -> vec4u {
  let at = quad * 4u + vec4u(0u, 1u, 2u, 3u);
  return select(vec4u(), ordered_keys(tops[min(quad, (end_top - 1u) / 4u)]), (at >= vec4u(first_top)) & (at < vec4u(end_top)));
}

// A bound with at least k maxima at or above it, of all lanes together: at most k + slack of them, or else the largest such bound; or zero.
fn bound_of(maxima: ptr<function, array<vec4u, GROUPS / 4u>>, k: u32, slack: u32, most: u32) -> u32 {
  var smallest = vec4u(0xffffffffu);
  for (var n = 0u; n < GROUPS / 4u; n++) { smallest = min(smallest, (*maxima)[n]); }
  var low = 0u;
  var high = most + 1u; // fewer than k keys at or above
  if (WG * GROUPS >= k) { low = subgroupMin(smaller_of(smallest)); }
  loop {
    if (high - low <= 1u) { break; }
    let middle = low + (high - low) / 2u;
    var mine = 0u;
    for (var n = 0u; n < GROUPS / 4u; n++) { mine += count_of((*maxima)[n] >= vec4u(middle)); }
    let above = lanes_count(mine);
    if (above >= k) { low = middle; } else { high = middle; }
    if (above >= k && above <= k + slack) { break; }
  }
  return low;
}

// Takes the lane's quad of latents into a run, if there is room.
fn take_quad(run: ptr<function, Run>, quad: u32) {
  let n = (*run).length;
  (*run).length++;
  if (n >= ROOM) { return; }
  (*run).keys[n] = quad_keys((*run).row, quad);
  (*run).quads[n] = quad;
}

// The keys of the lane's quad n of a run.
fn keys_of(run: ptr<function, Run>, n: u32, lane: u32) -> vec4u {
  if ((*run).whole) { return quad_keys((*run).row, n * WG + lane); }
  return (*run).keys[n];
}

// How many keys of all lanes are at or above a bound.
fn count_above(run: ptr<function, Run>, bound: u32, lane: u32) -> u32 {
  var mine = 0u;
  if ((*run).whole || (*run).length > HELD) {
    for (var n = 0u; n < (*run).length; n++) { mine += count_of(keys_of(run, n, lane) >= vec4u(bound)); }
  } else {
    for (var n = 0u; n < HELD; n++) { mine += count_of((*run).keys[n] >= vec4u(bound)); }
  }
  return lanes_count(mine);
}

// A bound with k or more keys at or above it, as few as there are, and how many. `least` has k or more, `most` fewer.
fn last_of(run: ptr<function, Run>, k: u32, least: u32, most: u32, lane: u32) -> vec2u {
  var low = least;
  var high = most;
  var count = 0u; // at or above low, once that was asked
  loop {
    if (high - low <= 1u || count == k) { break; }
    let middle = low + (high - low) / 2u;
    let above = count_above(run, middle, lane);
    if (above >= k) {
      low = middle;
      count = above;
    } else {
      high = middle;
    }
  }
  return vec2u(low, count);
}

// Writes WG pairs of a row from `place` on, or `count` if these are fewer, each lane its own.
fn emit_places(row: u32, place: u32, count: u32, latent: u32, lane: u32) {
  if (lane >= count) { return; }
  let at = (p.first_row + row) * p.slots + place + lane;
  let value = h[row * (p.latents / 4u) + latent / 4u][latent % 4u];
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
  let bound = bound_of(&maxima, k, k / 8u, most);

  var run = Run(row, 0u, false, array<vec4u, ROOM>(), array<u32, ROOM>());
  var taken = 0u; // eights
  var own = 0u; // the lane's half of the last EIGHTS of them
  for (var quad = first_quad; quad < end_quad; quad += WG) {
    var marked = answers(top_keys(quad + lane, first_top, end_top) >= vec4u(max(bound, 1u)), lane); // no top's key is zero
    while (marked != 0u) {
      let eight = quad * 4u + lowest_of(marked) - first_top;
      marked &= marked - 1u;
      own = select(own, eight * 2u + lane % 2u, lane / 2u == taken % EIGHTS);
      taken++;
      if (taken % EIGHTS == 0u) { take_quad(&run, own); }
    }
  }
  if (taken % EIGHTS != 0u) { take_quad(&run, select(NO_LATENT, own, lane / 2u < taken % EIGHTS)); }
  if (run.length > ROOM) {
    run.whole = true;
    run.length = (p.latents / 4u + WG - 1u) / WG;
  }

  let last = last_of(&run, k, bound, most + 1u, lane);
  let tied = last.y != k; // then all above the last are kept, and as many that equal it as remain
  var remaining = 0u;
  if (tied) { remaining = k - count_above(&run, last.x + 1u, lane); }
  var placed = 0u;
  var latent = 0u; // the lane's own, of the last WG
  for (var n = 0u; n < run.length; n++) {
    let keys = keys_of(&run, n, lane);
    var quad = n * WG + lane;
    if (!run.whole) { quad = run.quads[n]; }
    var kept = answers(keys >= vec4u(last.x), lane);
    if (tied) {
      var equal = answers(keys == vec4u(last.x), lane);
      kept ^= equal;
      while (equal != 0u && remaining > 0u) {
        kept |= equal & (~equal + 1u);
        equal &= equal - 1u;
        remaining--;
      }
    }
    while (kept != 0u) {
      let bit = lowest_of(kept);
      kept &= kept - 1u;
      latent = select(latent, subgroupShuffle(quad, bit / 4u) * 4u + bit % 4u, lane == placed % WG);
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
