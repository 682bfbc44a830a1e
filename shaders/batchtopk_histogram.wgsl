// Radix select over a whole batch (batchtopk_digit.wgsl goes on from here): how often every value of one digit occurs among the
// scores whose higher digits are those of the score that is looked for.
//
//   score[b,i] = h[b,i], times norms[i] with SCALED;   key = its bits where it is above zero, else 0
//   digit      = bits shift ... above - 1 of the key
//
// Positive floats are in the order of their bits. Keys of 0 are left out: they are never kept. `above` is 31 for the first digit,
// which also looks for a NaN or an infinity, a bit 0 of flags[0]. Each workgroup counts some rows in its own memory and adds
// that to the whole: integer sums, whatever the order.
const WG = 64u;
const BINS = 2048u;
const SCALED = 0u;

struct Params { rows: u32, latents: u32, rows_per_group: u32, above: u32, shift: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>; // [rows, latents]
@group(0) @binding(2) var<storage, read> norms: array<f32>; // [latents]
@group(0) @binding(3) var<storage, read> selection: array<u32>; // see batchtopk_digit.wgsl
@group(0) @binding(4) var<storage, read_write> histogram: array<atomic<u32>>; // [BINS]
@group(0) @binding(5) var<storage, read_write> flags: array<atomic<u32>>;

var<workgroup> bins: array<atomic<u32>, BINS>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  for (var bin = thread; bin < BINS; bin += WG) { atomicStore(&bins[bin], 0u); }
  workgroupBarrier();
  let first_row = (wid.x + wid.y * groups.x) * p.rows_per_group;
  let is_first = p.above == 31u;
  var prefix = 0u;
  if (!is_first) { prefix = selection[0]; }
  let digit_mask = (1u << (p.above - p.shift)) - 1u;
  var broken = false;
  for (var row = first_row; row < min(first_row + p.rows_per_group, p.rows); row++) {
    for (var i = thread; i < p.latents; i += WG) {
      var score = h[row * p.latents + i];
      if (SCALED == 1u) { score *= norms[i]; }
      let bits = bitcast<u32>(score);
      broken = broken || (bits & 0x7f800000u) == 0x7f800000u;
      let key = select(bits, 0u, bits >= 0x80000000u);
      if (key != 0u && (key >> p.above) == prefix) { atomicAdd(&bins[(key >> p.shift) & digit_mask], 1u); }
    }
  }
  if (is_first && broken) { atomicOr(&flags[0], 1u); }
  workgroupBarrier();
  for (var bin = thread; bin < BINS; bin += WG) {
    let count = atomicLoad(&bins[bin]);
    if (count > 0u) { atomicAdd(&histogram[bin], count); }
  }
}
