// What the parts of a batch's rows have of the scores that are kept: counts[part] of the scores above the last one that is kept, and
// counts[parts + part] of those equal to it. Keys as in batchtopk_histogram.wgsl.
//
// A row has PARTS parts, each a run of consecutive latents; parts are numbered through the batch. One invocation per part.
const WG = 64u;
const PARTS = 4u;
const SCALED = 0u;

struct Params { rows: u32, first_row: u32, latents: u32, parts: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>; // [rows, latents]
@group(0) @binding(2) var<storage, read> norms: array<f32>; // [latents]
@group(0) @binding(3) var<storage, read> selection: array<u32>; // key of the last that is kept
@group(0) @binding(4) var<storage, read_write> counts: array<u32>; // [2 parts]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let part = (wid.x + wid.y * groups.x) * WG + thread;
  let row = part / PARTS;
  if (row >= p.rows) { return; }
  let length = (p.latents + PARTS - 1u) / PARTS;
  let begin = min(part % PARTS * length, p.latents);
  let end = min(begin + length, p.latents);
  let last = selection[0];
  var larger = 0u;
  var equal = 0u;
  for (var i = begin; i < end; i++) {
    var score = h[row * p.latents + i];
    if (SCALED == 1u) { score *= norms[i]; }
    let bits = bitcast<u32>(score);
    let key = select(bits, 0u, bits >= 0x80000000u);
    larger += select(0u, 1u, key > last);
    equal += select(0u, 1u, key == last);
  }
  counts[p.first_row * PARTS + part] = larger;
  counts[p.parts + p.first_row * PARTS + part] = equal;
}
