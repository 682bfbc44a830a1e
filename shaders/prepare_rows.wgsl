// One batch of frames, made ready for a step.
//
//   t[b,:] = (frames[b,:] - centre) * scale                   what the SAE sees and has to reconstruct
//   n[b,:] = t[b,:]                                           NORMALISE 0: none
//          = t[b,:] * sqrt(d_in) / |t[b,:]|                   1: constant_norm_rescale
//          = (t[b,:] - mean_b) / (sd_b + 1e-5)                2: layer_norm, sd with Bessel's correction
//   xc[b,:] = n[b,:] - subtract * b_dec                       the encoder's input (subtract is 1 or 0)
//   affine[b] = (gain, shift) with output = reconstruction * gain + shift, which undoes the normalisation
//
// One workgroup per row; a thread has four neighbouring columns at a time. Columns d_in ... stride-1 are padding: they are written as zero, so every
// later product may run over whole vec4s. Sums are strided by thread, then a fixed tree: the same bits every run.
const WG = 64u;
const NORMALISE = 0u;

struct Params { rows: u32, d_in: u32, stride: u32, scale: f32, subtract: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> frames: array<vec4f>;
@group(0) @binding(2) var<storage, read> centre: array<vec4f>;
@group(0) @binding(3) var<storage, read> b_dec: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> t: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> xc: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> row_affine: array<vec2f>;

var<workgroup> tree: array<f32, WG>;

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

// t in four columns, and `fill` in those that are padding.
fn target_at(row: u32, d: u32, fill: f32) -> vec4f {
  let there = 4u * d + vec4u(0u, 1u, 2u, 3u) < vec4u(p.d_in);
  return select(vec4f(fill), (frames[row * (p.stride / 4u) + d] - centre[d]) * p.scale, there);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let columns = p.stride / 4u;
  var gain = 1.0;
  var shift = 0.0;
  var inverse = 1.0;
  if (NORMALISE == 1u) {
    var squares = 0.0;
    for (var d = thread; d < columns; d += WG) {
      let value = target_at(row, d, 0.0);
      squares += dot(value, value);
    }
    inverse = sqrt(f32(p.d_in)) / sqrt(tree_sum(squares, thread));
    gain = 1.0 / inverse;
  }
  if (NORMALISE == 2u) {
    var sum = 0.0;
    for (var d = thread; d < columns; d += WG) { sum += dot(target_at(row, d, 0.0), vec4f(1.0)); }
    shift = tree_sum(sum, thread) / f32(p.d_in);
    var squares = 0.0;
    for (var d = thread; d < columns; d += WG) {
      let value = target_at(row, d, shift) - shift;
      squares += dot(value, value);
    }
    gain = sqrt(tree_sum(squares, thread) / (f32(p.d_in) - 1.0));
    inverse = 1.0 / (gain + 1e-5);
  }
  for (var d = thread; d < columns; d += WG) {
    let value = target_at(row, d, 0.0);
    let input = (value - shift) * inverse - p.subtract * b_dec[d];
    t[row * columns + d] = value;
    xc[row * columns + d] = select(vec4f(), input, 4u * d + vec4u(0u, 1u, 2u, 3u) < vec4u(p.d_in));
  }
  if (thread == 0u) { row_affine[row] = vec2f(gain, shift); }
}
