// The latents that have been silent for more than `window` steps: list = (count, then latents ascending).
// record[at] = sum of since over all latents.
// One workgroup walks the latents tile by tile.
const WG = 256u;

struct Params { latents: u32, window: u32, record_at: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> since: array<u32>; // [latents]
@group(0) @binding(2) var<storage, read_write> list: array<u32>; // [latents + 1]
@group(0) @binding(3) var<storage, read_write> record: array<f32>;

var<workgroup> lane_sum: array<u32, WG>;
var<workgroup> tree: array<f32, WG>;

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

fn tree_sum(value: f32, thread: u32) -> f32 {
  tree[thread] = value;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (thread < half) { tree[thread] += tree[thread + half]; }
    workgroupBarrier();
  }
  let total = tree[0];
  workgroupBarrier();
  return total;
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32) {
  var carried = 0u;
  var silence = 0.0;
  for (var tile = 0u; tile < p.latents; tile += WG * 4u) {
    // Four neighbours per thread.
    let at = tile + thread * 4u;
    var dead = vec4u();
    for (var n = 0u; n < 4u; n++) {
      if (at + n < p.latents) {
        silence += f32(since[at + n]);
        if (since[at + n] > p.window) { dead[n] = 1u; }
      }
    }
    let sum = dead.x + dead.y + dead.z + dead.w;
    var slot = carried + inclusive_scan(sum, thread) - sum + 1u;
    for (var n = 0u; n < 4u; n++) {
      if (dead[n] == 1u) {
        list[slot] = at + n;
        slot++;
      }
    }
    carried += lane_sum[WG - 1u];
    workgroupBarrier();
  }
  let total = tree_sum(silence, thread);
  if (thread == 0u) {
    list[0] = carried;
    record[p.record_at] = total;
  }
}
