// starts[i] = counts[0] + ... + counts[i-1], and starts[n] = the whole. One workgroup walks the array tile by tile.
const WG = 256u;

struct Params { n: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>; // [n]
@group(0) @binding(2) var<storage, read_write> starts: array<u32>; // [n + 1]

var<workgroup> lane_sum: array<u32, WG>;

fn inclusive_scan(value: u32, thread: u32) -> u32 {
  lane_sum[thread] = value;
  workgroupBarrier();
  for (var step = 1u; step < WG; step *= 2u) {
    var before = 0u;
    if (thread >= step) { before = lane_sum[thread - step]; }
    workgroupBarrier();
    lane_sum[thread] += before;
    workgroupBarrier();
  }
  return lane_sum[thread];
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32) {
  var carried = 0u;
  for (var tile = 0u; tile < p.n; tile += WG * 4u) {
    // Four neighbours per thread.
    let at = tile + thread * 4u;
    var own = vec4u();
    if (at < p.n) { own.x = counts[at]; }
    if (at + 1u < p.n) { own.y = counts[at + 1u]; }
    if (at + 2u < p.n) { own.z = counts[at + 2u]; }
    if (at + 3u < p.n) { own.w = counts[at + 3u]; }
    let sum = own.x + own.y + own.z + own.w;
    var start = carried + inclusive_scan(sum, thread) - sum;
    if (at < p.n) { starts[at] = start; }
    start += own.x;
    if (at + 1u < p.n) { starts[at + 1u] = start; }
    start += own.y;
    if (at + 2u < p.n) { starts[at + 2u] = start; }
    start += own.z;
    if (at + 3u < p.n) { starts[at + 3u] = start; }
    carried += lane_sum[WG - 1u];
    workgroupBarrier();
  }
  if (thread == 0u) { starts[p.n] = carried; }
}
