// One Adam step (Kingma and Ba 2015, in torch's form), four parameters per invocation:
//
//   gradient = clip[0] * grad
//   m = beta1 m + (1 - beta1) gradient
//   v = beta2 v + (1 - beta2) gradient^2
//   parameter -= rate * m / (sqrt(v) * root + epsilon)
//
// with rate = lr / (1 - beta1^T) and root = 1 / sqrt(1 - beta2^T), computed on the host in float64.
const WG = 64u;

struct Params { quads: u32, rate: f32, root: f32, beta1: f32, beta2: f32, keep1: f32, keep2: f32, epsilon: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clip: array<f32>;
@group(0) @binding(2) var<storage, read> grad: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> parameter: array<vec4f>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (wid.x + wid.y * groups.x) * WG + thread;
  if (at >= p.quads) { return; }
  let gradient = clip[0] * grad[at];
  let mean = p.beta1 * m[at] + p.keep1 * gradient;
  let square = p.beta2 * v[at] + p.keep2 * gradient * gradient;
  m[at] = mean;
  v[at] = square;
  parameter[at] -= p.rate * mean / (sqrt(square) * p.root + vec4f(p.epsilon));
}
