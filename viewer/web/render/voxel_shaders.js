/** The march through a voxel field, one ray a pixel; the formulas are those of native/voxel_march.cpp. */
import { SHIFT } from "./bricks.js";

export const MOST_LEVELS = 8;
const MOST_STEPS = 8192;
const FARTHEST = "1000.0";

/**
 * @param {{degree: number|null, contracted: boolean}} field degree null: features and a network (deferred shading).
 */
export function marchShader({ degree, contracted }) {
  const textures = degree === null ? 2 : degree === 1 ? 4 : 1;
  const names = Array.from({ length: textures }, (_, i) => `channels${i}`);
  return `#version 300 es
precision highp float;
precision highp int;
precision highp sampler3D;
precision highp usampler2D;
precision highp usampler3D;
${names.map((name) => `uniform sampler3D ${name};`).join("\n")}
uniform usampler3D cells;
uniform usampler2D table;
uniform sampler2D network;
uniform mat3 rotation; // world from camera
uniform vec3 eye, centre, inverseHalf, low, high;
uniform vec4 lens;
uniform float height, extent, stepLength, tau, near, voxel;
uniform ivec3 size;
uniform ivec3 blocks[${MOST_LEVELS}];
uniform int starts[${MOST_LEVELS + 1}];
uniform int levels, topLevel;
uniform ivec3 brickGrid, tileGrid;
uniform vec3 brickScale;
out vec4 picture;

uint entry(int at) {
  return texelFetch(table, ivec2(at & 1023, at >> 10), 0).r;
}

ivec3 placeIn(int i, ivec3 grid) {
  return ivec3(i % grid.x, (i / grid.x) % grid.y, i / (grid.x * grid.y));
}

// The corner of a sample's brick in the textures, in their coordinates; false where the level has none.
bool find(int k, vec3 g, out vec3 at) {
  vec3 level = g * exp2(-float(k));
  ivec3 most = ((size - 1) >> k) - 1;
  ivec3 cell = clamp(ivec3(level), ivec3(0), most);
  ivec3 block = cell >> 3;
  uint brick = entry(starts[k] + (block.z * blocks[k].y + block.y) * blocks[k].x + block.x);
  if (brick == 0u) return false;
  vec3 inside = clamp(level, vec3(0.0), vec3(most + 1)) - vec3(block * 8);
  at = (vec3(placeIn(int(brick) - 1, brickGrid) * 9) + inside + 0.5) * brickScale;
  return true;
}

struct Sample { ${names.map((_, i) => `vec4 v${i};`).join(" ")} };

Sample look(int k, vec3 g) {
  Sample s = Sample(${names.map(() => "vec4(0.0)").join(", ")});
  vec3 at;
  if (find(k, g, at)) {
${names.map((name, i) => `    s.v${i} = textureLod(${name}, at, 0.0);`).join("\n")}
  }
  return s;
}

vec3 logistic(vec3 x) { return 1.0 / (1.0 + exp(-clamp(x, -30.0, 30.0))); }
vec4 logistic(vec4 x) { return 1.0 / (1.0 + exp(-clamp(x, -30.0, 30.0))); }

float stretchAt(vec3 u) {
  ${contracted ? "vec3 a = abs(u); float m = max(a.x, max(a.y, a.z)); return m > 1.0 ? m * m : 1.0;" : "return 1.0;"}
}

${degree === null ? SHADE : ""}
void main() {
  vec2 pixel = vec2(gl_FragCoord.x, height - gl_FragCoord.y);
  vec3 ray = normalize(rotation * vec3((pixel - lens.zw) / lens.xy, 1.0));
  float radius = 0.5 / lens.x;
  vec3 o = (eye - centre) * inverseHalf, d = ray * inverseHalf;
  vec3 scale = vec3(size - 1) / (2.0 * extent);
  float begin = near, end = 1e30;
${
  contracted
    ? ""
    : `  vec3 inverse = 1.0 / vec3(d.x == 0.0 ? 1e-20 : d.x, d.y == 0.0 ? 1e-20 : d.y, d.z == 0.0 ? 1e-20 : d.z);
  vec3 a = (-1.0 - o) * inverse, b = (1.0 - o) * inverse;
  vec3 first = min(a, b), last = max(a, b);
  begin = max(begin, max(first.x, max(first.y, first.z)));
  end = min(end, min(last.x, min(last.y, last.z)));`
}
  float t = begin + 0.5 * stepLength * stretchAt(o + begin * d);
  float transmittance = 1.0;
  vec3 colour = vec3(0.0);
  vec4 features = vec4(0.0);
${degree === 1 ? "  vec4 basis = vec4(0.28209479177387814, -0.4886025119029199 * ray.y, 0.4886025119029199 * ray.z, -0.4886025119029199 * ray.x);" : ""}
  for (int i = 0; i < ${MOST_STEPS} && t < end && transmittance > 1e-3; i++) {
    vec3 u = o + t * d;
    float stretch = 1.0;
${
  contracted
    ? `    vec3 size3 = abs(u);
    float m = max(size3.x, max(size3.y, size3.z));
    if (m > ${FARTHEST}) break;
    if (m > 1.0) {
      u *= (2.0 - 1.0 / m) / m;
      stretch = m * m;
    }`
    : ""
}
    vec3 g = (u + extent) * scale;
    ivec3 cell = clamp(ivec3(g), ivec3(0), size - 2);
    ivec3 block = cell >> 3;
    float dt = stepLength * stretch;
    uint tile = entry(starts[levels] + (block.z * blocks[0].y + block.y) * blocks[0].x + block.x);
    if (tile == 0u) {
      float jump = 1.0;
      if (stretch == 1.0) {
        vec3 rate = d * scale, corner = vec3(block * 8);
        vec3 leave = mix((corner - g) / rate, (corner + 8.0 - g) / rate, greaterThan(rate, vec3(0.0)));
        leave = mix(vec3(1e30), leave, greaterThan(abs(rate), vec3(1e-12)));
        jump = max(1.0, ceil(min(leave.x, min(leave.y, leave.z)) / dt));
      }
      t += dt * jump;
      continue;
    }
    bool closed = texelFetch(cells, placeIn(int(tile) - 1, tileGrid) * 8 + (cell & 7), 0).r == 0u;
    vec3 world = eye + t * ray;
    if (closed || any(lessThan(world, low)) || any(greaterThan(world, high))) {
      t += dt;
      continue;
    }
    float lod = 0.0;
    if (topLevel > 0) {
      float width = 2.0 * radius * t / (voxel * stretch);
      lod = width > 1.0 ? min(log2(width), float(topLevel)) : 0.0;
    }
    int k = int(lod);
    float share = lod - float(k);
    Sample s = look(k, g);
    if (share > 0.0) {
      Sample other = look(k + 1, g);
${names.map((_, i) => `      s.v${i} = mix(s.v${i}, other.v${i}, share);`).join("\n")}
    }
    float x = min(s.v0.x + ${SHIFT.toFixed(4)}, 1e4);
    float density = exp(max(min(x, 0.0), -80.0)) + max(x, 0.0);
    float after = transmittance * exp(max(-density * tau, -69.0));
    float weight = transmittance - after;
${
  degree === 1
    ? `    vec3 raw = s.v0.yzw * basis.x + s.v1.xyz * basis.y + vec3(s.v1.w, s.v2.xy) * basis.z + vec3(s.v2.zw, s.v3.x) * basis.w;
    colour += weight * logistic(raw);`
    : degree === 0
      ? "    colour += weight * logistic(s.v0.yzw * 0.28209479177387814);"
      : `    colour += weight * logistic(s.v0.yzw);
    features += weight * logistic(s.v1);`
}
    transmittance = after;
    t += dt;
  }
  float alpha = 1.0 - transmittance;
${degree === null ? "  colour += alpha * shade(colour, features, ray);" : ""}
  picture = vec4(colour, alpha);
}`;
}

/** The network of scenerep/voxels/shading.py: a row of the texture is what one input gives to the units of a layer. */
const SHADE = `
vec4 hidden[4];
vec4 before[4];
int row;

void take(float input_) {
  for (int j = 0; j < 4; j++) hidden[j] += input_ * texelFetch(network, ivec2(j, row), 0);
  row++;
}

void start() {
  for (int j = 0; j < 4; j++) hidden[j] = vec4(0.0);
}

void finish() {
  take(1.0);
  for (int j = 0; j < 4; j++) before[j] = max(hidden[j], 0.0);
  start();
}

vec3 shade(vec3 colour, vec4 features, vec3 ray) {
  row = 0;
  start();
  for (int c = 0; c < 3; c++) take(colour[c]);
  for (int c = 0; c < 4; c++) take(features[c]);
  for (int c = 0; c < 3; c++) take(ray[c]);
  for (int k = 0; k < 4; k++) {
    vec3 angle = exp2(float(k)) * ray, s = sin(angle), c = cos(angle);
    for (int i = 0; i < 3; i++) take(s[i]);
    for (int i = 0; i < 3; i++) take(c[i]);
  }
  finish();
  for (int j = 0; j < 16; j++) take(before[j >> 2][j & 3]);
  finish();
  for (int j = 0; j < 16; j++) take(before[j >> 2][j & 3]);
  take(1.0);
  return logistic(hidden[0].xyz);
}
`;

/** Weights of the network as rows of 16: w1, b1, w2, b2, w3, b3, the last two filled up. float32 [34 + 1 + 16 + 1 + 16 + 1][16]. */
export function networkRows(network) {
  const wide = (34 + 1 + 16 + 1) * 16;
  const out = new Float32Array(wide + 17 * 16);
  out.set(network.subarray(0, wide));
  for (let r = 0; r < 17; r++) for (let c = 0; c < 3; c++) out[wide + 16 * r + c] = network[wide + 3 * r + c];
  return out;
}
