// The k largest scores of each row, exactly, by the largest score of every 8 latents that encode_resident.wgsl leaves in `tops`. Among equal
// scores the smaller latent wins.
//
// The same result as topk_bisect.wgsl, in the same four steps, for the case that an encoder product has just been computed:
//
//   1. Each lane has a run of consecutive tops, and keeps the largest keys of GROUPS groups of them. A bound with at least k, and few more, of
//      these maxima at or above it is a lower bound of the k-th largest score.
//   2. Each lane lists the eights of its run whose top is at or above the bound, and then the candidates among their latents, in order.
//   3. The k-th key is found among the candidates by halving an interval of keys.
//   4. Each lane writes what it keeps behind what the lanes before it keep.
//
// What lanes keep is in variables of their own: counting in the first HELD of them is a few instructions, while a look at memory costs as much as
// all of these. Where a lane has more candidates than HELD, step 3 counts in all of them, and where it has more than ROOM (many equal scores),
// in the row itself. A workgroup is a subgroup, and takes ROWS rows one after the other.
enable subgroups;
diagnostic(off, subgroup_uniformity); // all that decides on a branch around them is a sum over the subgroup
const WG = 8u; // a subgroup
const ROWS = 16u;
const GROUPS = 16u; // of each lane, a multiple of 4
const HELD = 16u; // at most ROOM
const ROOM = 64u; // eights, and candidates, of each lane
const SCALED = 0u;
const ABSOLUTE = 0u;
const NO_LATENT = 0xffffffffu;

// latents is a multiple of 4.
struct Params { rows: u32, first_row: u32, latents: u32, k: u32, slots: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<vec4f>; // [rows, latents]
@group(0) @binding(2) var<storage, read> norms: array<vec4f>; // [latents]
@group(0) @binding(3) var<storage, read> tops: array<vec4f>; // [rows, ceil(latents / 8)], rows beginning anywhere
@group(0) @binding(4) var<storage, read_write> indices: array<u32>; // [.., slots]
@group(0) @binding(5) var<storage, read_write> values: array<f32>; // [.., slots]
@group(0) @binding(6) var<storage, read_write> flags: array<atomic<u32>>;

// What a lane has: quads of tops, eights whose tops are in them, candidates.
struct Run {
  row: u32,
  begin: u32, // of its latents
  end: u32,
  found: u32,
  keys: array<u32, ROOM>, // zero, which is below all bounds, from `found` on
  places: array<u32, ROOM>,
}

// Unsigned numbers in the same order, below 0xffffffff, so that there is a bound above all.
fn ordered_keys(scores: vec4f) -> vec4u {
  let bits = bitcast<vec4u>(scores);
  let keys = select(bits | vec4u(0x80000000u), ~bits, bits > vec4u(0x80000000u));
  return min(keys, vec4u(0xfffffffeu));
}

fn keys_of(row: u32, quad: u32) -> vec4u {
  var scores = h[row * (p.latents / 4u) + quad];
  if (SCALED == 1u) { scores *= norms[quad]; }
  if (ABSOLUTE == 1u) { scores = abs(scores); }
  return ordered_keys(scores);
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

// How many keys of the lane's run are above a bound, and how many at it: of its candidates, or of all its latents where these did not find room.
fn count_in(run: ptr<function, Run>, bound: u32, overflow: bool) -> vec2u {
  var count = vec2u();
  for (var n = 0u; n < select((*run).found, 0u, overflow); n++) {
    let key = (*run).keys[n];
    count += select(vec2u(), vec2u(1u), vec2<bool>(key > bound, key == bound));
  }
  for (var c = (*run).begin; c < select((*run).begin, (*run).end, overflow); c += 4u) {
    let keys = keys_of((*run).row, c / 4u);
    count += vec2u(count_of(keys > vec4u(bound)), count_of(keys == vec4u(bound)));
  }
  return count;
}

// The k-th largest key. `least` has k or more keys at or above it, `most` fewer.
fn last_of(run: ptr<function, Run>, k: u32, least: u32, most: u32) -> u32 {
  let crowd = subgroupMax((*run).found);
  var low = least;
  var high = most;
  loop {
    if (crowd > HELD || high - low <= 1u) { break; }
    let middle = low + (high - low) / 2u;
    var mine = 0u;
    for (var n = 0u; n < HELD; n++) { mine += select(0u, 1u, (*run).keys[n] >= middle); }
    if (subgroupAdd(mine) >= k) { low = middle; } else { high = middle; }
  }
  loop {
    if (high - low <= 1u) { break; }
    let middle = low + (high - low) / 2u;
    let mine = count_in(run, middle, crowd > ROOM);
    if (subgroupAdd(mine.x + mine.y) >= k) { low = middle; } else { high = middle; }
  }
  return low;
}

fn emit_place(row: u32, slot: u32, latent: u32) {
  let at = (p.first_row + row) * p.slots + slot;
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

  // The row's tops, quads that cover them, and the lane's part of these.
  let pitch = (p.latents + 7u) / 8u;
  let first_top = row * pitch;
  let end_top = first_top + pitch;
  let first_quad = first_top / 4u;
  let quads = (end_top + 3u) / 4u - first_quad;
  let length = (quads + WG - 1u) / WG;
  let begin = first_quad + min(lane * length, quads);
  let end = first_quad + min((lane + 1u) * length, quads);

  var maxima = array<vec4u, GROUPS / 4u>();
  var largest_of_all = vec4u();
  for (var group = 0u; group < GROUPS / 4u; group++) {
    var largest = vec4u();
    for (var quad = begin + group; quad < end; quad += GROUPS / 4u) { largest = max(largest, top_keys(quad, first_top, end_top)); }
    maxima[group] = largest;
    largest_of_all = max(largest_of_all, largest);
  }
  // A NaN stands for all that is not finite.
  let most = larger_of(largest_of_all);
  if (most >= 0xff800000u) { atomicOr(&flags[0], 1u); }
  let bound = bound_of(&maxima, k, k / 8u);

  var eights = array<u32, ROOM>();
  var listed = 0u;
  for (var quad = begin; quad < end; quad++) {
    let keys = top_keys(quad, first_top, end_top);
    let at = quad * 4u - first_top; // of a quad that begins before the row, modulo 2^32
    for (var n = 0u; n < 4u; n++) {
      if (keys[n] >= bound && at + n < pitch) {
        eights[min(listed, ROOM - 1u)] = at + n;
        listed++;
      }
    }
  }

  let begin_latent = min(max(begin * 4u, first_top) - first_top, pitch) * 8u;
  let end_latent = min(min(max(end * 4u, first_top) - first_top, pitch) * 8u, p.latents);
  var run = Run(row, begin_latent, end_latent, 0u, array<u32, ROOM>(), array<u32, ROOM>());
  var found = 0u;
  for (var half = 0u; half < 2u * min(listed, ROOM); half++) {
    let quad = eights[half / 2u] * 2u + half % 2u;
    if (quad * 4u >= p.latents) { break; } // the last eight may be half a one
    let keys = keys_of(row, quad);
    for (var n = 0u; n < 4u; n++) {
      if (keys[n] >= bound) {
        run.keys[min(found, ROOM - 1u)] = keys[n];
        run.places[min(found, ROOM - 1u)] = quad * 4u + n;
        found++;
      }
    }
  }
  run.found = select(found, ROOM + 1u, listed > ROOM);
  let overflow = subgroupMax(run.found) > ROOM;

  let last = last_of(&run, k, bound, subgroupMax(most) + 1u);
  let own = count_in(&run, last, overflow);
  let remaining = k - subgroupAdd(own.x); // of those equal to the last
  var before = vec2u(subgroupExclusiveAdd(own.x), subgroupExclusiveAdd(own.y));
  let stop = select(run.found, run.end - run.begin, overflow);
  for (var n = 0u; n < stop; n++) {
    var place = run.begin + n;
    var key = 0u;
    if (overflow) {
      key = keys_of(row, place / 4u)[place % 4u];
    } else {
      place = run.places[n];
      key = run.keys[n];
    }
    if (key > last || (key == last && before.y < remaining)) { emit_place(row, before.x + min(before.y, remaining), place); }
    before += select(vec2u(), vec2u(1u, 0u), key > last);
    before += select(vec2u(), vec2u(0u, 1u), key == last);
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let first = (wid.x + wid.y * groups.x) * ROWS;
  for (var row = first; row < min(first + ROWS, p.rows); row++) { select_by_tops(row, lane); }
}
