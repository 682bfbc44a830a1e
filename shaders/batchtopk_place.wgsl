// Writes what a batch keeps, row by row, latents ascending: the scores above the last that is kept, and of those equal to it the first
// selection[1] in the order of the batch. The value that is kept is h itself, which is above zero.
//
// `starts` is the exclusive sum of batchtopk_count.wgsl's counts, so every part knows where it writes. One invocation per part; the first of a
// row writes the row's offset, the very last the end; together they mark what is left of the room as empty. Where everything above zero is
// kept, nobody has found the smallest score yet.
const WG = 64u;
const PARTS = 4u;
const SCALED = 0u;
const NO_LATENT = 0xffffffffu;

struct Params { rows: u32, first_row: u32, latents: u32, parts: u32, room: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>; // [rows, latents]
@group(0) @binding(2) var<storage, read> norms: array<f32>; // [latents]
@group(0) @binding(3) var<storage, read> selection: array<u32>; // see batchtopk_digit.wgsl
@group(0) @binding(4) var<storage, read> starts: array<u32>; // [2 parts + 1]
@group(0) @binding(5) var<storage, read_write> offsets: array<u32>; // [batch + 1]
@group(0) @binding(6) var<storage, read_write> indices: array<u32>; // [room]
@group(0) @binding(7) var<storage, read_write> values: array<f32>; // [room]
@group(0) @binding(8) var<storage, read_write> smallest: array<atomic<u32>>; // bits of one float

// Kept pairs before this part.
fn place_of(part: u32) -> u32 {
  return starts[part] + min(starts[p.parts + part] - starts[p.parts], selection[1]);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let own = (wid.x + wid.y * groups.x) * WG + thread;
  let row = own / PARTS;
  if (row >= p.rows) { return; }
  let part = p.first_row * PARTS + own;
  var at = place_of(part);
  let behind = place_of(part + 1u);
  if (own % PARTS == 0u) { offsets[p.first_row + row] = at; }
  if (part == p.parts - 1u) { offsets[p.first_row + row + 1u] = behind; }
  for (var slot = place_of(p.parts) + part; slot < p.room; slot += p.parts) { indices[slot] = NO_LATENT; }
  if (at == behind) { return; }
  let length = (p.latents + PARTS - 1u) / PARTS;
  let begin = min(own % PARTS * length, p.latents);
  let end = min(begin + length, p.latents);
  let last = selection[0];
  var equal = min(starts[p.parts + part] - starts[p.parts], selection[1]); // of those equal to the last, kept before
  var least = 0x7f800000u;
  for (var i = begin; i < end; i++) {
    let value = h[row * p.latents + i];
    var score = value;
    if (SCALED == 1u) { score *= norms[i]; }
    let bits = bitcast<u32>(score);
    let key = select(bits, 0u, bits >= 0x80000000u);
    let ties = key == last && equal < selection[1];
    if (key > last || ties) {
      indices[at] = i;
      values[at] = value;
      at++;
      least = min(least, key);
    }
    equal += select(0u, 1u, ties);
  }
  if (selection[2] == 1u) { atomicMin(&smallest[0], least); }
}
