// The backward pass of matching pursuit: it walks a row's picks (j, v) from the last to the first, for the latents of one shard.
//
// Forward, r_t+1 = r_t - v_t W_j and v_t = <r_t, W_j>. With g = d loss / d reconstruction and q = g - d loss / d r_t+1, which begins as g:
//
//   c = <q, W_j>                            d loss / d v_t
//   r_t = r_t+1 + v W_j                     the residual before the pick; r begins as what was left over
//   shares[first slot of j] += v q + c r_t  what the pick adds to grad W_dec[j,:]
//   q -= c W_j
//
// In the end q is what the input's bias gets, r the pursuit's input again. Picks first ... last are walked: all of them where the
// weights are one shard, else pick by pick over all shards. `shares` must be zero before the last pick. One workgroup per row; a
// thread keeps to its columns, so only the product needs barriers.
const WG = 64u;

struct Params { rows: u32, first_row: u32, picks: u32, first_pick: u32, end_pick: u32, first_latent: u32, latents: u32, stride: u32, begin_group: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [.., picks]
@group(0) @binding(2) var<storage, read> values: array<f32>; // [.., picks]
@group(0) @binding(3) var<storage, read> first_slots: array<u32>; // [.., picks]
@group(0) @binding(4) var<storage, read> W_dec: array<vec4f>; // this shard: [latents, stride]
@group(0) @binding(5) var<storage, read_write> q: array<vec4f>; // [.., stride]
@group(0) @binding(6) var<storage, read_write> r: array<vec4f>; // [.., stride]
@group(0) @binding(7) var<storage, read_write> shares: array<vec4f>; // [rows * picks, stride]

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

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = p.begin_group + wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let columns = p.stride / 4u;
  let at = (p.first_row + row) * columns;
  for (var t = p.end_pick; t > p.first_pick; t--) {
    let pick = (p.first_row + row) * p.picks + t - 1u;
    let latent = indices[pick] - p.first_latent; // empty picks and other shards become huge
    if (latent < p.latents) {
      let w = latent * columns;
      var sum = 0.0;
      for (var d = thread; d < columns; d += WG) { sum += dot(q[at + d], W_dec[w + d]); }
      let c = tree_sum(sum, thread);
      let v = values[pick];
      let share = (row * p.picks + first_slots[pick]) * columns;
      for (var d = thread; d < columns; d += WG) {
        let before = r[at + d] + v * W_dec[w + d];
        shares[share + d] += v * q[at + d] + c * before;
        q[at + d] -= c * W_dec[w + d];
        r[at + d] = before;
      }
    }
  }
}
