// What reaches the pre-activations of ReLU codes, and the latents' sums over a chunk of rows.
//
//   dw = slopes_b (f n_i)^(p-1)                           of the penalty, see relu_rows.wgsl
//   dh = (df + dw n_i) where f > 0, else 0                df: what the decoder gave
//   sums[i] (+)= sum_b dh,   sums[2 pitch + i] (+)= sum_b dw f,   counts[i] (+)= rows with f > 0
//
// dh is written over f; with ADD 1 `more` is added to it, not to the sums. KEEP is 0 for the first rows of a batch. One invocation per latent,
// rows in order: neighbours read neighbouring words, and the bits are those of all rows at once. P as in relu_rows.wgsl.
const WG = 64u;
const P = 1u;
const ADD = 0u;

struct Params { rows: u32, first_row: u32, latents: u32, pitch: u32, keep: u32, p: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> df: array<f32>; // [rows, latents]
@group(0) @binding(2) var<storage, read> more: array<f32>; // [rows, latents]
@group(0) @binding(3) var<storage, read> slopes: array<f32>; // [batch]
@group(0) @binding(4) var<storage, read> norms: array<f32>; // [latents]
@group(0) @binding(5) var<storage, read_write> f: array<f32>; // [rows, latents]
@group(0) @binding(6) var<storage, read_write> sums: array<f32>; // grad bias, (squares), gradients of the norms
@group(0) @binding(7) var<storage, read_write> counts: array<u32>; // [latents]

fn derivative(w: f32) -> f32 {
  if (P == 1u) { return 1.0; }
  if (P == 2u) { return w; }
  return pow(w, p.p - 1.0);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = (wid.x + wid.y * groups.x) * WG + thread;
  if (i >= p.latents) { return; }
  let norm = norms[i];
  var bias = 0.0;
  var stretch = 0.0;
  var count = 0u;
  if (p.keep == 1u) {
    bias = sums[i];
    stretch = sums[2u * p.pitch + i];
    count = counts[i];
  }
  for (var row = 0u; row < p.rows; row++) {
    let at = row * p.latents + i;
    let value = f[at];
    var dh = 0.0;
    if (value > 0.0) {
      let dw = slopes[p.first_row + row] * derivative(value * norm);
      dh = df[at] + dw * norm;
      bias += dh;
      stretch += dw * value;
      count++;
    }
    if (ADD == 1u) { dh += more[at]; }
    f[at] = dh;
  }
  sums[i] = bias;
  sums[2u * p.pitch + i] = stretch;
  counts[i] = count;
}
