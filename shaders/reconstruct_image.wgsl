// A row's reconstruction from its kept pairs, the reconstruction's error, and the gradients of what is kept, in one go.
//
//   r[b,:] = b_dec + sum over kept pairs (i, v) of v W_dec[i,:]
//   out[b,:] = r[b,:] * gain_b + shift_b             (written with keep_out)
//   e = out - t
//   g[b,:] = 2 e / B * gain_b                        = d mse / d r,   mse = mean_b sum_d e^2
//   stats[b] = (sum_d e^2, sum_d (t - mean)^2, their ratio, number of kept values that are not zero)
//   dz[b,j] = g[b,:] . W_dec[i_bj,:]                 with RELU 1 zero where v_bj is not above 0
//
// The same as decode_image, residual_rows and kept_gradients_image one after the other, where W_dec is one shard and rows keep at most PAIRS pairs: rows
// of W_dec are gathered once. A workgroup is a subgroup and has one row. It goes over the columns, four of each lane at a time, and what it
// gathered there waits in registers until g is known there. PAIRS is 8, 16, 24 or 32, and the text names each pair by a constant, since registers have
// no index. A slot that is empty or past the row's last pair is taken as a pair of the first latent with a value of zero.
enable subgroups;
diagnostic(off, subgroup_uniformity); // all that decides on a branch around them is the same in all lanes
const LANES = 8u; // of a subgroup: 4 or 8
const PAIRS = 32u;
const RELU = 1u;
const IMAGE_WIDTH = 1024u;
const LOOKS = 8u / LANES; // of each lane at eight pairs

struct Params { rows: u32, k: u32, latents: u32, d_in: u32, stride: u32, batch: u32, keep_out: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [rows, k]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [rows, k]
@group(0) @binding(3) var W_dec: texture_storage_2d<rgba32float, read>; // [latents, stride / 4] texels in a row of IMAGE_WIDTH after the other
@group(0) @binding(4) var b_dec: texture_storage_2d<rgba32float, read>; // [stride / 4]
@group(0) @binding(5) var mean: texture_storage_2d<rgba32float, read>; // [stride / 4], the batch's mean of t
@group(0) @binding(6) var<storage, read> t: array<vec4f>; // [rows, stride]
@group(0) @binding(7) var<storage, read> row_affine: array<vec2f>; // [rows]
@group(0) @binding(8) var<storage, read_write> out: array<vec4f>; // [rows, stride]
@group(0) @binding(9) var<storage, read_write> g: array<vec4f>; // [rows, stride]
@group(0) @binding(10) var<storage, read_write> dz: array<f32>; // [rows, k]
@group(0) @binding(11) var<storage, read_write> stats: array<vec4f>; // [rows]

// The lanes' numbers, added as a tree.
fn lanes_sum(value: f32) -> f32 {
  var sum = value;
  for (var half = LANES / 2u; half > 0u; half /= 2u) { sum += subgroupShuffleXor(sum, half); }
  return sum;
}

// Eight pairs, as the lanes look at them.
struct Eight { here: array<bool, LOOKS>, texels: array<u32, LOOKS>, values: array<f32, LOOKS> }

// What is known of the pairs where the workgroup is now: their rows of W_dec there, and their products with g up to there.
struct Held { rows: array<vec4f, 32>, products: array<f32, 32> }

fn place(texel: u32) -> vec2u {
  return vec2u(texel % IMAGE_WIDTH, texel / IMAGE_WIDTH);
}

fn take(held: ptr<function, Held>, n: u32, texel: u32, value: f32, sum: ptr<function, vec4f>) {
  let row = textureLoad(W_dec, place(texel));
  (*held).rows[n] = row;
  *sum += value * row;
}

fn take_eight(held: ptr<function, Held>, first: u32, eight: Eight, d: u32, sum: ptr<function, vec4f>) {
  take(held, first + 0u, subgroupBroadcast(eight.texels[0u / LANES], 0u % LANES) + d, subgroupBroadcast(eight.values[0u / LANES], 0u % LANES), sum);
  take(held, first + 1u, subgroupBroadcast(eight.texels[1u / LANES], 1u % LANES) + d, subgroupBroadcast(eight.values[1u / LANES], 1u % LANES), sum);
  take(held, first + 2u, subgroupBroadcast(eight.texels[2u / LANES], 2u % LANES) + d, subgroupBroadcast(eight.values[2u / LANES], 2u % LANES), sum);
  take(held, first + 3u, subgroupBroadcast(eight.texels[3u / LANES], 3u % LANES) + d, subgroupBroadcast(eight.values[3u / LANES], 3u % LANES), sum);
  take(held, first + 4u, subgroupBroadcast(eight.texels[4u / LANES], 4u % LANES) + d, subgroupBroadcast(eight.values[4u / LANES], 4u % LANES), sum);
  take(held, first + 5u, subgroupBroadcast(eight.texels[5u / LANES], 5u % LANES) + d, subgroupBroadcast(eight.values[5u / LANES], 5u % LANES), sum);
  take(held, first + 6u, subgroupBroadcast(eight.texels[6u / LANES], 6u % LANES) + d, subgroupBroadcast(eight.values[6u / LANES], 6u % LANES), sum);
  take(held, first + 7u, subgroupBroadcast(eight.texels[7u / LANES], 7u % LANES) + d, subgroupBroadcast(eight.values[7u / LANES], 7u % LANES), sum);
}

fn multiply_eight(held: ptr<function, Held>, first: u32, grad: vec4f) {
  (*held).products[first + 0u] += dot(grad, (*held).rows[first + 0u]);
  (*held).products[first + 1u] += dot(grad, (*held).rows[first + 1u]);
  (*held).products[first + 2u] += dot(grad, (*held).rows[first + 2u]);
  (*held).products[first + 3u] += dot(grad, (*held).rows[first + 3u]);
  (*held).products[first + 4u] += dot(grad, (*held).rows[first + 4u]);
  (*held).products[first + 5u] += dot(grad, (*held).rows[first + 5u]);
  (*held).products[first + 6u] += dot(grad, (*held).rows[first + 6u]);
  (*held).products[first + 7u] += dot(grad, (*held).rows[first + 7u]);
}

// Pairs `first` ... of a row, which begins at `origin`.
fn look_at_eight(origin: u32, first: u32, lane: u32) -> Eight {
  var eight = Eight();
  for (var n = 0u; n < LOOKS; n++) {
    let slot = first + n * LANES + lane;
    let at = origin + min(slot, p.k - 1u);
    let latent = indices[at];
    let here = slot < p.k && latent < p.latents;
    eight.here[n] = here;
    eight.texels[n] = select(0u, latent, here) * (p.stride / 4u);
    eight.values[n] = select(0.0, values[at], here);
  }
  return eight;
}

// The lanes' parts of eight products, added; each lane stores those of the pairs that it looked at.
fn store_eight(held: ptr<function, Held>, first: u32, eight: Eight, origin: u32, lane: u32) {
  let a = vec4f(subgroupAdd((*held).products[first + 0u]), subgroupAdd((*held).products[first + 1u]), subgroupAdd((*held).products[first + 2u]), subgroupAdd((*held).products[first + 3u]));
  let b = vec4f(subgroupAdd((*held).products[first + 4u]), subgroupAdd((*held).products[first + 5u]), subgroupAdd((*held).products[first + 6u]), subgroupAdd((*held).products[first + 7u]));
  for (var n = 0u; n < LOOKS; n++) {
    let slot = n * LANES + lane;
    let product = select(a[slot % 4u], b[slot % 4u], slot >= 4u);
    if (eight.here[n]) { dz[origin + first + slot] = select(product, 0.0, RELU == 1u && eight.values[n] <= 0.0); }
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let row = p.begin_group + wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let columns = p.stride / 4u;
  let origin = row * p.k;
  var eights = array<Eight, 4>();
  var firing = 0.0;
  for (var n = 0u; n < PAIRS / 8u; n++) {
    eights[n] = look_at_eight(origin, n * 8u, lane);
    for (var look = 0u; look < LOOKS; look++) { firing += select(0.0, 1.0, eights[n].values[look] != 0.0); }
  }
  let affine = row_affine[row];
  let scale = 2.0 / f32(p.batch) * affine.x;
  var held = Held();
  var squares = 0.0;
  var spread = 0.0;
  for (var strip = 0u; strip < columns; strip += LANES) {
    let d = min(strip + lane, columns - 1u);
    var sum = textureLoad(b_dec, place(d));
    take_eight(&held, 0u, eights[0], d, &sum);
    if (PAIRS > 8u) { take_eight(&held, 8u, eights[1], d, &sum); }
    if (PAIRS > 16u) { take_eight(&held, 16u, eights[2], d, &sum); }
    if (PAIRS > 24u) { take_eight(&held, 24u, eights[3], d, &sum); }
    let there = 4u * (strip + lane) + vec4u(0u, 1u, 2u, 3u) < vec4u(p.d_in);
    let aim = t[row * columns + d];
    let result = select(vec4f(), sum * affine.x + affine.y, there);
    let e = select(vec4f(), result - aim, there);
    let deviation = select(vec4f(), aim - textureLoad(mean, place(d)), there);
    let grad = select(vec4f(), scale * e, there);
    squares += dot(e, e);
    spread += dot(deviation, deviation);
    multiply_eight(&held, 0u, grad);
    if (PAIRS > 8u) { multiply_eight(&held, 8u, grad); }
    if (PAIRS > 16u) { multiply_eight(&held, 16u, grad); }
    if (PAIRS > 24u) { multiply_eight(&held, 24u, grad); }
    if (strip + lane < columns) {
      if (p.keep_out == 1u) { out[row * columns + d] = result; }
      g[row * columns + d] = grad;
    }
  }
  store_eight(&held, 0u, eights[0], origin, lane);
  if (PAIRS > 8u) { store_eight(&held, 8u, eights[1], origin, lane); }
  if (PAIRS > 16u) { store_eight(&held, 16u, eights[2], origin, lane); }
  if (PAIRS > 24u) { store_eight(&held, 24u, eights[3], origin, lane); }
  squares = lanes_sum(squares);
  spread = lanes_sum(spread);
  firing = subgroupAdd(firing);
  if (lane == 0u) { stats[row] = vec4f(squares, spread, squares / spread, firing); }
}
