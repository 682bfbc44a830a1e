// Takes out of each gradient row what points along its weight row, for one shard of rows that are kept at one length:
//
//   c_i = (grad[i,:] . W[i,:]) / |W[i,:]|^2          0 for a row of zeros
//   grad[i,:] -= c_i W[i,:]
//   squares[i] = max(squares[i] - c_i (grad[i,:] . W[i,:]), 0)          the squared gradient norms, of which |grad[i,:]|^2 is a part
//
// One workgroup per row; fixed summation tree.
const WG = 64u;

struct Params { rows: u32, stride: u32, squares_at: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> W: array<vec4f>; // this shard: [rows, stride]
@group(0) @binding(2) var<storage, read_write> grad: array<vec4f>; // this shard: [rows, stride]
@group(0) @binding(3) var<storage, read_write> squares: array<f32>; // from squares_at on: this shard's rows

var<workgroup> tree: array<vec2f, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = wid.x + wid.y * groups.x;
  if (row >= p.rows) { return; }
  let columns = p.stride / 4u;
  let own = row * columns;
  var products = vec2f();
  for (var d = thread; d < columns; d += WG) {
    let w = W[own + d];
    products += vec2f(dot(grad[own + d], w), dot(w, w));
  }
  tree[thread] = products;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (thread < half) { tree[thread] += tree[thread + half]; }
    workgroupBarrier();
  }
  let along = tree[0].x;
  let length = tree[0].y;
  if (length > 0.0) {
    let c = along / length;
    for (var d = thread; d < columns; d += WG) { grad[own + d] -= c * W[own + d]; }
    if (thread == 0u) { squares[p.squares_at + row] = max(squares[p.squares_at + row] - c * along, 0.0); }
  }
}
