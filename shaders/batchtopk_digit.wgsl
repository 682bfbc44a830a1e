// One digit of the key of the `keep`-th largest score of a batch, from its histogram (batchtopk_histogram.wgsl), which is cleared for the next.
//
//   selection = (leading digits of that key,
//                how many of the scores that share them are kept,
//                1 where fewer than `keep` scores are above zero: then these are all kept, and the key is 0)
//   smallest  = after the last digit (shift 0) that score; +infinity where there is none or fewer are kept
//
// One workgroup: each thread sums a run of bins, from the largest digit down, then the one in whose run the count is reached looks closer.
const WG = 256u;
const BINS = 2048u;
const RUN = BINS / WG;

struct Params { keep: u32, above: u32, shift: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> histogram: array<u32>; // [BINS]
@group(0) @binding(2) var<storage, read_write> selection: array<u32>; // [3]
@group(0) @binding(3) var<storage, read_write> smallest: array<u32>; // bits of one float

var<workgroup> run_sum: array<u32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32) {
  var own = array<u32, RUN>();
  var sum = 0u;
  for (var n = 0u; n < RUN; n++) {
    let bin = BINS - 1u - (thread * RUN + n);
    own[n] = histogram[bin];
    sum += own[n];
    histogram[bin] = 0u;
  }
  run_sum[thread] = sum;
  var prefix = 0u;
  var remaining = p.keep;
  var exhausted = 0u;
  if (p.above < 31u) {
    prefix = selection[0];
    remaining = selection[1];
    exhausted = selection[2];
  }
  workgroupBarrier();
  var before = 0u;
  for (var other = 0u; other < thread; other++) { before += run_sum[other]; }
  let is_last = thread == WG - 1u;
  if (is_last && before + sum < remaining) { exhausted = 1u; }
  let reaches = exhausted == 0u && before < remaining && before + sum >= remaining;
  // A batch that keeps nothing takes the key above all.
  if (!reaches && !(is_last && (exhausted == 1u || remaining == 0u))) { return; }
  var digit = 0u;
  if (reaches) {
    var n = 0u;
    while (before + own[n] < remaining) {
      before += own[n];
      n++;
    }
    digit = BINS - 1u - (thread * RUN + n);
    remaining -= before;
  } else if (exhausted == 1u) {
    prefix = 0u;
    remaining = 0u;
  } else {
    digit = (1u << (p.above - p.shift)) - 1u;
  }
  selection[0] = (prefix << (p.above - p.shift)) | digit;
  selection[1] = remaining;
  selection[2] = exhausted;
  if (p.shift == 0u) { smallest[0] = select(selection[0], 0x7f800000u, remaining == 0u); }
}
