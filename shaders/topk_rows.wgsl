// The k largest scores of each row, exactly. Among equal scores the smaller latent wins.
//
//   candidates of row b:  every latent i, or with FROM_LIST the latents list[1 ... list[0]]
//   score:                h[b,i], times norms[i] with SCALED; its size with ABSOLUTE
//   value that is kept:   relu(h[b,i]); with FROM_LIST or ABSOLUTE h[b,i] itself, which may be negative
//
// Kept pairs are written with latents ascending; slots without a candidate hold (NO_LATENT, 0). A NaN or an
// infinity among the scores sets bit 0 of flags[0].
//
// One workgroup per row. Scores become unsigned keys in the same order (-0 counts as +0). Each of 4 WG strided groups
// gives its largest key; the k-th largest of these is a lower bound of the k-th largest score, so the few
// candidates at or above it contain the answer, which ranking by counting then finds without further barriers. Where
// that fails (k over 4 WG, or so many equal scores that the candidates overflow), a radix select of four 8-bit
// digits finds the k-th key. Both ways are integer work: which latents are kept does not depend on scheduling.
const WG = 64u;
const CAPACITY = 768u;
const FROM_LIST = 0u;
const SCALED = 0u;
const ABSOLUTE = 0u;
const NO_LATENT = 0xffffffffu;
const GROUPS = 4u * WG;

struct Params { rows: u32, first_row: u32, latents: u32, k: u32, slots: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>; // [rows, latents]
@group(0) @binding(2) var<storage, read> norms: array<f32>; // [latents]
@group(0) @binding(3) var<storage, read> list: array<u32>; // count, then latents ascending
@group(0) @binding(4) var<storage, read_write> indices: array<u32>; // [.., slots]
@group(0) @binding(5) var<storage, read_write> values: array<f32>; // [.., slots]
@group(0) @binding(6) var<storage, read_write> flags: array<atomic<u32>>;

var<workgroup> maxima: array<u32, GROUPS>;
var<workgroup> candidate_key: array<u32, CAPACITY>;
var<workgroup> candidate_latent: array<u32, CAPACITY>;
var<workgroup> candidate_kept: array<u32, CAPACITY>;
var<workgroup> appended: atomic<u32>;
var<workgroup> shared_count: u32;
var<workgroup> shared_bound: u32;
var<workgroup> histogram: array<atomic<u32>, 256>;
var<workgroup> shared_digit: u32;
var<workgroup> shared_remaining: u32;

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

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = p.begin_group + wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  var count = p.latents;
  if (FROM_LIST == 1u) { count = list[0]; }
  let k = min(p.k, count);
  for (var slot = k + thread; slot < p.slots; slot += WG) {
    indices[(p.first_row + row) * p.slots + slot] = NO_LATENT;
    values[(p.first_row + row) * p.slots + slot] = 0.0;
  }
  if (k == 0u) { return; }

  // The largest key of each group of candidates.
  var broken = false;
  for (var part = 0u; part < 4u; part++) {
    var largest = 0u;
    for (var c = part * WG + thread; c < count; c += GROUPS) {
      let score = score_of(row, c);
      broken = broken || (bitcast<u32>(score) & 0x7f800000u) == 0x7f800000u;
      largest = max(largest, ordered_key(score));
    }
    maxima[part * WG + thread] = largest;
  }
  if (broken) { atomicOr(&flags[0], 1u); }
  if (thread == 0u) {
    atomicStore(&appended, 0u);
    shared_bound = 0u;
  }
  workgroupBarrier();

  // The k-th largest of them, then every candidate at or above it.
  if (k <= GROUPS) {
    for (var part = 0u; part < 4u; part++) {
      let mine = part * WG + thread;
      let key = maxima[mine];
      var rank = 0u;
      for (var other = 0u; other < GROUPS; other++) {
        let its = maxima[other];
        if (its > key || (its == key && other < mine)) { rank++; }
      }
      if (rank == k - 1u) { shared_bound = key; }
    }
    workgroupBarrier();
    let bound = shared_bound;
    for (var c = thread; c < count; c += WG) {
      let key = ordered_key(score_of(row, c));
      if (key >= bound) {
        let slot = atomicAdd(&appended, 1u);
        if (slot < CAPACITY) {
          candidate_key[slot] = key;
          candidate_latent[slot] = latent_of(c);
        }
      }
    }
    workgroupBarrier();
    if (thread == 0u) { shared_count = atomicLoad(&appended); }
  } else if (thread == 0u) {
    shared_count = CAPACITY + 1u;
  }
  let found = workgroupUniformLoad(&shared_count);

  if (found <= CAPACITY) {
    for (var c = thread; c < found; c += WG) {
      let key = candidate_key[c];
      let latent = candidate_latent[c];
      var rank = 0u;
      for (var other = 0u; other < found; other++) {
        let its = candidate_key[other];
        if (its > key || (its == key && candidate_latent[other] < latent)) { rank++; }
      }
      candidate_kept[c] = select(0u, 1u, rank < k);
    }
    workgroupBarrier();
    for (var c = thread; c < found; c += WG) {
      if (candidate_kept[c] == 1u) {
        let latent = candidate_latent[c];
        var slot = 0u;
        for (var other = 0u; other < found; other++) {
          if (candidate_kept[other] == 1u && candidate_latent[other] < latent) { slot++; }
        }
        emit(row, slot, latent);
      }
    }
    return;
  }

  // Radix select: after each digit, `prefix` holds the leading digits of the k-th key and `remaining` how many of the
  // keys that share them are still to be kept.
  var prefix = 0u;
  var mask = 0u;
  var remaining = k;
  for (var digit = 0u; digit < 4u; digit++) {
    let shift = 24u - 8u * digit;
    for (var bin = thread; bin < 256u; bin += WG) { atomicStore(&histogram[bin], 0u); }
    workgroupBarrier();
    for (var c = thread; c < count; c += WG) {
      let key = ordered_key(score_of(row, c));
      if ((key & mask) == prefix) { atomicAdd(&histogram[(key >> shift) & 255u], 1u); }
    }
    workgroupBarrier();
    if (thread == 0u) {
      var above = 0u;
      var bin = 255u;
      loop {
        let here = atomicLoad(&histogram[bin]);
        if (above + here >= remaining || bin == 0u) { break; }
        above += here;
        bin--;
      }
      shared_digit = bin;
      shared_remaining = remaining - above;
    }
    prefix |= workgroupUniformLoad(&shared_digit) << shift;
    remaining = workgroupUniformLoad(&shared_remaining);
    mask |= 255u << shift;
  }

  // Each thread owns a run of consecutive candidates; what the threads before it keep tells where it writes.
  let per_thread = (count + WG - 1u) / WG;
  let begin = min(thread * per_thread, count);
  let end = min(begin + per_thread, count);
  var larger = 0u;
  var equal = 0u;
  for (var c = begin; c < end; c++) {
    let key = ordered_key(score_of(row, c));
    if (key > prefix) { larger++; }
    if (key == prefix) { equal++; }
  }
  maxima[thread] = larger;
  maxima[WG + thread] = equal;
  workgroupBarrier();
  var larger_before = 0u;
  var equal_before = 0u;
  for (var other = 0u; other < thread; other++) {
    larger_before += maxima[other];
    equal_before += maxima[WG + other];
  }
  for (var c = begin; c < end; c++) {
    let key = ordered_key(score_of(row, c));
    if (key > prefix || (key == prefix && equal_before < remaining)) {
      emit(row, larger_before + min(equal_before, remaining), latent_of(c));
    }
    if (key > prefix) { larger_before++; }
    if (key == prefix) { equal_before++; }
  }
}
