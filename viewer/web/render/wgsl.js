/** WGSL of the splat renderer: what shaders.js is for WebGL, by the same formulas (docs/rasterisation.md). */
import { ALPHA_MAX, ALPHA_MIN, CLAMP, FAR, LOW_PASS, NEAR } from "./constants.js";
import { BANDS, BASIS } from "./shaders.js";

/** Splats that one workgroup projects. */
export const GROUP = 256;

/** Bytes of the struct View, and of the struct Drawn of one splat. */
export const VIEW_BYTES = 192;
export const DRAWN_BYTES = 64;

const VIEW = `
struct View {
  rows: array<vec4f, 3>,     // view from world
  eyeGain: vec4f,            // eye; added to log scales
  lens: vec4f,               // fx, fy, cx, cy [px]
  sizeGain: vec4f,           // of the picture [px]; factor of opacities; 1: antialiased
  low: vec4f,                // box outside of which nothing is drawn
  high: vec4f,
  steps: array<vec4f, 3>,    // of luma and chroma of each SH band
  numbers: vec4u,            // splats to look at; SH degree; 1: all of the scene, else those in \`chosen\`
}`;
const DRAWN = `
struct Drawn {
  centreAxis: vec4f,         // centre, long half axis of the ellipse alpha = ALPHA_MIN [px]
  axisOpacity: vec4f,        // short half axis; opacity
  conic: vec4f,              // inverse covariance xx, xy, yy
  colour: vec4f,
}`;

/** SH of the scene's degree; bands above the one asked for are left out. */
function harmonics({ degree, integers, ycocg }) {
  if (degree === 0) return "fn harmonics(splat: u32, d: vec3f) -> vec3f { return vec3f(0.0); }";
  const width = 3 * ((degree + 1) ** 2 - 1);
  const lines = [];
  let j = 0;
  for (let band = 0; band < degree; band++) {
    const terms = [];
    for (let m = 0; m < BANDS[band]; m++, j++) terms.push(`(${BASIS[j]}) * vec3f(number(at, ${3 * j}u), number(at, ${3 * j + 1}u), number(at, ${3 * j + 2}u))`);
    lines.push(`if (view.numbers.y > ${band}u) { sum += toRgb((${terms.join("\n      + ")}) * view.steps[${band}].xyy); }`);
  }
  return `
@group(0) @binding(6) var<storage, read> sh: array<${integers ? "i32" : "f32"}>;
fn number(at: u32, j: u32) -> f32 {
  ${integers ? "return f32(extractBits(sh[at + (j >> 1u)], 16u * (j & 1u), 16u));" : "return sh[at + j];"}
}
fn toRgb(v: vec3f) -> vec3f {
  ${ycocg ? "let t = v.x - 0.5 * v.z;\n  return vec3f(t + 0.5 * v.y, v.x + 0.5 * v.z, t - 0.5 * v.y);" : "return v;"}
}
fn harmonics(splat: u32, d: vec3f) -> vec3f {
  let x = d.x; let y = d.y; let z = d.z;
  let at = splat * ${integers ? Math.ceil(width / 2) : width}u;
  var sum = vec3f(0.0);
  ${lines.join("\n  ")}
  return sum;
}`;
}

/**
 * From splats to what is drawn, one invocation a splat. Slot s is the splat of the s-th highest index, so that a stable sort
 * leaves of equally far ones the one with the higher index first. The bits of its depth say whether it is drawn: 0 if not.
 * @param {{degree: number, integers: boolean, ycocg: boolean}} kind How SH is stored.
 */
export function projectCode(kind) {
  return `${VIEW}${DRAWN}
@group(0) @binding(0) var<uniform> view: View;
@group(0) @binding(1) var<storage, read> geometry: array<vec4f>;   // place, opacity; quaternion; log scales; colour
@group(0) @binding(2) var<storage, read> chosen: array<u32>;
@group(0) @binding(3) var<storage, read_write> drawn: array<Drawn>;
@group(0) @binding(4) var<storage, read_write> depths: array<u32>;
@group(0) @binding(5) var<storage, read_write> blocks: array<u32>;  // how many of each workgroup are drawn
${harmonics(kind)}

fn rotationOf(quaternion: vec4f) -> mat3x3f {
  let norm = length(quaternion);
  var q = vec4f(1.0, 0.0, 0.0, 0.0);
  if (norm > 0.0) { q = quaternion / norm; }
  let w = q.x; let x = q.y; let y = q.z; let z = q.w;
  return mat3x3f(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

/** The bits of the depth, or 0 where nothing is drawn. */
fn project(slot: u32) -> u32 {
  var splat = view.numbers.x - 1u - slot;
  if (view.numbers.z == 0u) { splat = chosen[splat]; }
  let place = geometry[4u * splat];
  if (any(place.xyz < view.low.xyz) || any(place.xyz > view.high.xyz)) { return 0u; }
  let p = vec3f(dot(view.rows[0].xyz, place.xyz), dot(view.rows[1].xyz, place.xyz), dot(view.rows[2].xyz, place.xyz))
    + vec3f(view.rows[0].w, view.rows[1].w, view.rows[2].w);
  if (!(p.z >= ${NEAR} && p.z <= ${FAR})) { return 0u; }
  let scale = exp(geometry[4u * splat + 2u].xyz + view.eyeGain.w);
  let lens = view.lens;
  let size = view.sizeGain.xy;

  let middle = lens.xy * p.xy / p.z + lens.zw;
  let margin = ${CLAMP * 0.5} * size / lens.xy;
  let slope = clamp(p.xy / p.z, -(lens.zw / lens.xy + margin), (size - lens.zw) / lens.xy + margin);
  let q = rotationOf(geometry[4u * splat + 1u]);
  let a = ((lens.x / p.z) * (view.rows[0].xyz - slope.x * view.rows[2].xyz) * q) * scale;
  let b = ((lens.y / p.z) * (view.rows[1].xyz - slope.y * view.rows[2].xyz) * q) * scale;
  let area = cross(a, b);
  let sharp = dot(area, area);
  var xx = dot(a, a);
  var yy = dot(b, b);
  let xy = dot(a, b);
  let det = sharp + ${LOW_PASS} * (xx + yy) + ${LOW_PASS * LOW_PASS};
  xx += ${LOW_PASS};
  yy += ${LOW_PASS};
  var opacity = place.w;
  if (view.sizeGain.z != 1.0) { opacity = clamp(opacity * view.sizeGain.z, 1.0 / 1024.0, 1.0 - 1.0 / 1024.0); }
  if (view.sizeGain.w != 0.0) { opacity *= sqrt(sharp / det); }
  if (!(opacity >= ${ALPHA_MIN} && det > 0.0 && det < 3e38)) { return 0u; }

  let squared = 2.0 * log(opacity / ${ALPHA_MIN});
  let reach = sqrt(squared);
  // The rectangle around the ellipse must hold a pixel centre of the picture; half a pixel more, for rounding.
  let half = reach * sqrt(vec2f(xx, yy)) + 0.5;
  if (any(middle + half < vec2f(0.5)) || any(middle - half > size - 0.5)) { return 0u; }
  let longest = 0.5 * (xx + yy) + length(vec2f(0.5 * (xx - yy), xy));
  // Of the two rows of S - lambda I the longer one, turned: the other may be nearly 0.
  let one = vec2f(xy, longest - xx);
  let other = vec2f(longest - yy, xy);
  let direction = select(other, one, dot(one, one) > dot(other, other));
  let norm = length(direction);
  var axis = vec2f(1.0, 0.0);
  if (norm > 0.0) { axis = direction / norm; }
  let base = geometry[4u * splat + 3u].xyz;
  drawn[slot] = Drawn(
    vec4f(middle, reach * sqrt(longest) * axis),
    vec4f(reach * sqrt(det / longest) * vec2f(-axis.y, axis.x), opacity, 0.0),
    vec4f(yy / det, -xy / det, xx / det, 0.0),
    vec4f(max(base + harmonics(splat, normalize(place.xyz - view.eyeGain.xyz)), vec3f(0.0)), 1.0));
  return bitcast<u32>(p.z);
}

var<workgroup> count: atomic<u32>;

@compute @workgroup_size(${GROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  if (id.x < view.numbers.x) {
    let depth = project(id.x);
    depths[id.x] = depth;
    if (depth != 0u) { atomicAdd(&count, 1u); }
  }
  workgroupBarrier();
  if (lane == 0u) { blocks[group.x] = atomicLoad(&count); }
}`;
}

/** A quad around each ellipse, in the order of the list. */
export const DRAW_CODE = `${VIEW}${DRAWN}
@group(0) @binding(0) var<uniform> view: View;
@group(0) @binding(1) var<storage, read> drawn: array<Drawn>;
@group(0) @binding(2) var<storage, read> order: array<u32>;

struct Corner {
  @builtin(position) position: vec4f,
  @location(0) @interpolate(flat) centre: vec2f,
  @location(1) @interpolate(flat) conic: vec4f,   // xx, xy, yy, opacity
  @location(2) @interpolate(flat) colour: vec3f,
}

@vertex
fn corner(@builtin(vertex_index) vertex: u32, @builtin(instance_index) instance: u32) -> Corner {
  let splat = drawn[order[instance]];
  // A little more than the ellipse, for rounding; alpha decides in the end.
  let place = 1.01 * (2.0 * vec2f(f32(vertex & 1u), f32(vertex >> 1u)) - 1.0);
  let at = splat.centreAxis.xy + place.x * splat.centreAxis.zw + place.y * splat.axisOpacity.xy;
  let size = view.sizeGain.xy;
  var out: Corner;
  out.position = vec4f(2.0 * at.x / size.x - 1.0, 1.0 - 2.0 * at.y / size.y, 0.0, 1.0);
  out.centre = splat.centreAxis.xy;
  out.conic = vec4f(splat.conic.xyz, splat.axisOpacity.z);
  out.colour = splat.colour.xyz;
  return out;
}

@fragment
fn blend(in: Corner) -> @location(0) vec4f {
  let d = in.position.xy - in.centre;
  let sigma = 0.5 * (in.conic.x * d.x * d.x + in.conic.z * d.y * d.y) + in.conic.y * d.x * d.y;
  let alpha = min(${ALPHA_MAX}, in.conic.w * exp(-sigma));
  if (sigma < 0.0 || alpha < ${ALPHA_MIN}) { discard; }
  return vec4f(in.colour * alpha, alpha);
}`;

/** A triangle over everything. */
const COVER = `
@vertex
fn cover(@builtin(vertex_index) vertex: u32) -> @builtin(position) vec4f {
  return vec4f(select(-1.0, 3.0, vertex == 1u), select(-1.0, 3.0, vertex == 2u), 0.0, 1.0);
}
fn over(c: vec4f, background: vec3f) -> vec3f { return clamp(c.rgb + (1.0 - c.a) * background, vec3f(0.0), vec3f(1.0)); }`;

/** A float picture over the background. */
export const RESOLVE_CODE = `${COVER}
@group(0) @binding(0) var<uniform> background: vec4f;
@group(0) @binding(1) var picture: texture_2d<f32>;
@fragment
fn paint(@builtin(position) at: vec4f) -> @location(0) vec4f {
  return vec4f(over(textureLoad(picture, vec2i(at.xy), 0), background.rgb), 1.0);
}`;

/** A picture as it is, into another format. */
export const COPY_CODE = `${COVER}
@group(0) @binding(0) var picture: texture_2d<f32>;
@fragment
fn paint(@builtin(position) at: vec4f) -> @location(0) vec4f { return textureLoad(picture, vec2i(at.xy), 0); }`;

/** How far two pictures are apart, in colours that keep their order in grey. */
export const DIFFERENCE_CODE = `${COVER}
@group(0) @binding(0) var<uniform> background: vec4f;   // its fourth number is the gain
@group(0) @binding(1) var first: texture_2d<f32>;
@group(0) @binding(2) var second: texture_2d<f32>;
@fragment
fn paint(@builtin(position) at: vec4f) -> @location(0) vec4f {
  let d = abs(over(textureLoad(first, vec2i(at.xy), 0), background.rgb) - over(textureLoad(second, vec2i(at.xy), 0), background.rgb));
  let t = clamp(background.w * max(d.r, max(d.g, d.b)), 0.0, 1.0);
  let cold = mix(vec3f(0.02, 0.02, 0.08), vec3f(0.45, 0.1, 0.45), clamp(2.0 * t, 0.0, 1.0));
  return vec4f(mix(cold, vec3f(1.0, 0.85, 0.3), clamp(2.0 * t - 1.0, 0.0, 1.0)), 1.0);
}`;
