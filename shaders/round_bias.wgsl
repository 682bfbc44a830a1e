// a[b,i] = R(R(a[b,i]) + bias[i]) with R rounding to bfloat16, to nearest, ties to even.
//
// torch adds in float32 and rounds after every operation of a bfloat16 model; SAEs saved in bfloat16 are run the same
// way, because a threshold or a top-k decides on the rounded numbers. One invocation per element; padding is left alone.
const WG = 64u;

struct Params { rows: u32, columns: u32, stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> bias: array<f32>; // [columns]
@group(0) @binding(2) var<storage, read_write> a: array<f32>; // [rows, stride]

fn bfloat16(value: f32) -> f32 {
  let bits = bitcast<u32>(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) { return value; }
  return bitcast<f32>((bits + 0x7fffu + ((bits >> 16u) & 1u)) & 0xffff0000u);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (wid.x + wid.y * groups.x) * WG + thread;
  let row = at / p.columns;
  let column = at % p.columns;
  if (row >= p.rows) { return; }
  let place = row * p.stride + column;
  a[place] = bfloat16(bfloat16(a[place]) + bias[column]);
}
