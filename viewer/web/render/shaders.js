/** GLSL of the splat renderer. The formulas are those of docs/rasterisation.md. */
import { ALPHA_MAX, ALPHA_MIN, CLAMP, FAR, LOW_PASS, NEAR } from "./constants.js";

export const glsl = (x) => (Number.isInteger(x) ? x.toFixed(1) : String(x));
const HEAD = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2DArray;
precision highp isampler2DArray;
`;

/** Values of SH coefficient `j` of three channels, out of texels that hold four numbers each. */
const coefficient = (j) => [0, 1, 2].map((c) => `t${(3 * j + c) >> 2}.${"xyzw"[(3 * j + c) & 3]}`).join(", ");

/** The basis functions beyond the first, in terms of d = (x, y, z). */
export const BASIS = [
  "-0.4886025119029199 * y", "0.4886025119029199 * z", "-0.4886025119029199 * x",
  "1.0925484305920792 * x * y", "-1.0925484305920792 * y * z", "0.31539156525252005 * (3.0 * z * z - 1.0)",
  "-1.0925484305920792 * x * z", "0.5462742152960396 * (x * x - y * y)",
  "-0.5900435899266435 * y * (3.0 * x * x - y * y)", "2.890611442640554 * x * y * z",
  "-0.4570457994644658 * y * (5.0 * z * z - 1.0)", "0.3731763325901154 * z * (5.0 * z * z - 3.0)",
  "-0.4570457994644658 * x * (5.0 * z * z - 1.0)", "1.445305721320277 * z * (x * x - y * y)",
  "-0.5900435899266435 * x * (x * x - 3.0 * y * y)",
];
export const BANDS = [3, 5, 7];

/** SH of the scene's degree; bands above `degree` are left out. */
function harmonics(degree) {
  if (degree === 0) return "vec3 harmonics(int splat, vec3 d) { return vec3(0.0); }";
  const k = (degree + 1) ** 2 - 1;
  const texels = Math.ceil((3 * k) / 4);
  const lines = [];
  for (let t = 0; t < texels; t++) lines.push(`vec4 t${t} = vec4(texelFetch(sh, at + ivec3(${t}, 0, 0), 0));`);
  let j = 0;
  for (let band = 0; band < degree; band++) {
    const terms = [];
    for (let m = 0; m < BANDS[band]; m++, j++) terms.push(`(${BASIS[j]}) * vec3(${coefficient(j)})`);
    lines.push(`if (degree > ${band}) sum += toRgb((${terms.join("\n      + ")}) * steps[${band}].xyy);`);
  }
  return `
vec3 harmonics(int splat, vec3 d) {
  float x = d.x, y = d.y, z = d.z;
  ivec3 at = ivec3((splat & 255) * ${texels}, (splat >> 8) & 255, splat >> 16);
  vec3 sum = vec3(0.0);
  ${lines.join("\n  ")}
  return sum;
}`;
}

/**
 * From splats to what is drawn, one vertex a splat, captured by transform feedback.
 * @param {{degree: number, integers: boolean, ycocg: boolean}} kind How SH is stored.
 */
export function projectShader({ degree, integers, ycocg }) {
  return `${HEAD}
uniform sampler2DArray geometry;
uniform ${integers ? "isampler2DArray" : "sampler2DArray"} sh;
uniform mat3 rotation;     // view from world
uniform vec3 translation;
uniform vec3 eye;
uniform vec4 lens;         // fx, fy, cx, cy [px]
uniform vec2 size;         // of the picture [px]
uniform vec2 gain;         // added to log scales; factor of opacities
uniform bool antialiased;
uniform int degree;
uniform vec3 low, high;    // box outside of which nothing is drawn
uniform vec2 steps[3];     // of luma and chroma of each SH band

layout(location = 0) in uint index;

out vec4 centreAxis;       // centre, long half axis of the ellipse alpha = ALPHA_MIN [px]
out vec4 axisOpacity;      // short half axis; opacity
out vec4 conic;            // inverse covariance xx, xy, yy
out vec4 colour;

vec3 toRgb(vec3 v) {
  ${ycocg ? "float t = v.x - 0.5 * v.z;\n  return vec3(t + 0.5 * v.y, v.x + 0.5 * v.z, t - 0.5 * v.y);" : "return v;"}
}
${harmonics(degree)}

mat3 rotationOf(vec4 q) {
  float norm = length(q);
  q = norm > 0.0 ? q / norm : vec4(1.0, 0.0, 0.0, 0.0);
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

void main() {
  gl_Position = vec4(0.0);
  centreAxis = axisOpacity = conic = colour = vec4(0.0);
  int splat = int(index);
  ivec3 at = ivec3((splat & 255) * 4, (splat >> 8) & 255, splat >> 16);
  vec4 place = texelFetch(geometry, at, 0);
  if (any(lessThan(place.xyz, low)) || any(greaterThan(place.xyz, high))) return;
  vec3 p = rotation * place.xyz + translation;
  if (!(p.z >= ${glsl(NEAR)} && p.z <= ${FAR.toExponential(1)})) return;
  vec4 quaternion = texelFetch(geometry, at + ivec3(1, 0, 0), 0);
  vec3 scale = exp(texelFetch(geometry, at + ivec3(2, 0, 0), 0).xyz + gain.x);

  vec2 middle = lens.xy * p.xy / p.z + lens.zw;
  vec2 margin = ${glsl(CLAMP)} * 0.5 * size / lens.xy;
  vec2 slope = clamp(p.xy / p.z, -(lens.zw / lens.xy + margin), (size - lens.zw) / lens.xy + margin);
  mat3 q = rotationOf(quaternion);
  vec3 a = ((vec3(lens.x / p.z, 0.0, -lens.x * slope.x / p.z) * rotation) * q) * scale;
  vec3 b = ((vec3(0.0, lens.y / p.z, -lens.y * slope.y / p.z) * rotation) * q) * scale;
  vec3 area = cross(a, b);
  float sharp = dot(area, area);
  float xx = dot(a, a), yy = dot(b, b), xy = dot(a, b);
  float det = sharp + ${glsl(LOW_PASS)} * (xx + yy) + ${glsl(LOW_PASS * LOW_PASS)};
  xx += ${glsl(LOW_PASS)};
  yy += ${glsl(LOW_PASS)};
  float opacity = place.w;
  if (gain.y != 1.0) opacity = clamp(opacity * gain.y, 1.0 / 1024.0, 1.0 - 1.0 / 1024.0);
  if (antialiased) opacity *= sqrt(sharp / det);
  if (!(opacity >= ${ALPHA_MIN} && det > 0.0 && det < 3e38)) return;

  float reach = sqrt(2.0 * log(opacity / ${ALPHA_MIN}));
  float mean = 0.5 * (xx + yy);
  float spread = length(vec2(0.5 * (xx - yy), xy));
  float longest = mean + spread;
  // Of the two rows of S - lambda I the longer one, turned: the other may be nearly 0.
  vec2 one = vec2(xy, longest - xx), other = vec2(longest - yy, xy);
  vec2 direction = dot(one, one) > dot(other, other) ? one : other;
  float norm = length(direction);
  direction = norm > 0.0 ? direction / norm : vec2(1.0, 0.0);
  centreAxis = vec4(middle, reach * sqrt(longest) * direction);
  axisOpacity = vec4(reach * sqrt(det / longest) * vec2(-direction.y, direction.x), opacity, 0.0);
  conic = vec4(yy / det, -xy / det, xx / det, 0.0);
  vec3 base = texelFetch(geometry, at + ivec3(3, 0, 0), 0).xyz;
  colour = vec4(max(base + harmonics(splat, normalize(place.xyz - eye)), 0.0), 1.0);
}`;
}
export const PROJECT_OUTPUTS = ["centreAxis", "axisOpacity", "conic", "colour"];
export const NOTHING_SHADER = `${HEAD}out vec4 nothing; void main() { nothing = vec4(0.0); }`;

/** A quad around each ellipse. */
export const DRAW_SHADER = `${HEAD}
uniform vec2 size;
layout(location = 0) in vec4 centreAxis;
layout(location = 1) in vec4 axisOpacity;
layout(location = 2) in vec4 conicIn;
layout(location = 3) in vec4 colourIn;
flat out vec2 centre;
flat out vec4 conic;       // xx, xy, yy, opacity
flat out vec3 colour;
void main() {
  centre = centreAxis.xy;
  conic = vec4(conicIn.xyz, axisOpacity.z);
  colour = colourIn.rgb;
  // A little more than the ellipse, for rounding; alpha decides in the end.
  vec2 corner = 1.01 * (2.0 * vec2(gl_VertexID & 1, gl_VertexID >> 1) - 1.0);
  vec2 at = centre + corner.x * centreAxis.zw + corner.y * axisOpacity.xy;
  gl_Position = axisOpacity.z > 0.0 ? vec4(2.0 * at.x / size.x - 1.0, 1.0 - 2.0 * at.y / size.y, 0.0, 1.0) : vec4(2.0, 2.0, 0.0, 1.0);
}`;
export const BLEND_SHADER = `${HEAD}
uniform vec2 size;
flat in vec2 centre;
flat in vec4 conic;
flat in vec3 colour;
out vec4 blended;
void main() {
  vec2 d = vec2(gl_FragCoord.x, size.y - gl_FragCoord.y) - centre;
  float sigma = 0.5 * (conic.x * d.x * d.x + conic.z * d.y * d.y) + conic.y * d.x * d.y;
  float alpha = min(${ALPHA_MAX}, conic.w * exp(-sigma));
  if (sigma < 0.0 || alpha < ${ALPHA_MIN}) discard;
  blended = vec4(colour * alpha, alpha);
}`;

/** A triangle over everything. */
export const COVER_SHADER = `${HEAD}
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0); }`;
/** A float picture over the background. */
export const RESOLVE_SHADER = `${HEAD}
uniform highp sampler2D picture;
uniform vec3 background;
out vec4 shown;
void main() {
  vec4 c = texelFetch(picture, ivec2(gl_FragCoord.xy), 0);
  shown = vec4(clamp(c.rgb + (1.0 - c.a) * background, 0.0, 1.0), 1.0);
}`;
/** How far two pictures are apart, in colours that keep their order in grey. */
export const DIFFERENCE_SHADER = `${HEAD}
uniform highp sampler2D first;
uniform highp sampler2D second;
uniform vec3 background;
uniform float gain;
out vec4 shown;
vec3 over(vec4 c) { return clamp(c.rgb + (1.0 - c.a) * background, 0.0, 1.0); }
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  vec3 d = abs(over(texelFetch(first, at, 0)) - over(texelFetch(second, at, 0)));
  float t = clamp(gain * max(d.r, max(d.g, d.b)), 0.0, 1.0);
  vec3 cold = mix(vec3(0.02, 0.02, 0.08), vec3(0.45, 0.1, 0.45), clamp(2.0 * t, 0.0, 1.0));
  shown = vec4(mix(cold, vec3(1.0, 0.85, 0.3), clamp(2.0 * t - 1.0, 0.0, 1.0)), 1.0);
}`;
