/** What lies under a place of the picture. */

const RADIUS = 8; // px around the place
const FAINT = 0.05;

/**
 * Camera z at a pixel: of the splats whose centres lie close by, nearest first, that which takes the transmittance below
 * one half. Null where there is nothing.
 */
export function depthAt(chunks, camera, x, y) {
  const m = camera.viewFromWorld;
  const hits = [];
  for (const { means, logScales, opacities, count } of chunks) {
    for (let i = 0; i < count; i++) {
      if (opacities[i] < FAINT) continue;
      const [a, b, c] = [means[3 * i], means[3 * i + 1], means[3 * i + 2]];
      const z = m[8] * a + m[9] * b + m[10] * c + m[11];
      if (!(z > 0.01)) continue;
      const u = (camera.fx * (m[0] * a + m[1] * b + m[2] * c + m[3])) / z + camera.cx - x;
      if (u > 400 || u < -400) continue;
      const v = (camera.fy * (m[4] * a + m[5] * b + m[6] * c + m[7])) / z + camera.cy - y;
      if (v > 400 || v < -400) continue;
      const size = Math.exp(Math.max(logScales[3 * i], logScales[3 * i + 1], logScales[3 * i + 2]));
      const sigma = Math.min(RADIUS + (0.5 * camera.fx * size) / z, 100);
      const weight = opacities[i] * Math.exp((-0.5 * (u * u + v * v)) / (sigma * sigma));
      if (weight > 0.02) hits.push([z, weight]);
    }
  }
  hits.sort((p, q) => p[0] - q[0]);
  let transmittance = 1;
  for (const [z, weight] of hits) {
    transmittance *= 1 - weight;
    if (transmittance < 0.5) return z;
  }
  return hits.length ? hits[Math.floor(hits.length / 2)][0] : null;
}

/** The point of the world at a pixel and camera z. */
export function worldAt(camera, x, y, z) {
  const m = camera.viewFromWorld;
  const p = [((x - camera.cx) / camera.fx) * z - m[3], ((y - camera.cy) / camera.fy) * z - m[7], z - m[11]];
  return [0, 1, 2].map((a) => m[a] * p[0] + m[4 + a] * p[1] + m[8 + a] * p[2]);
}

/** Pixel of a point of the world; null behind the camera. */
export function pixelOf(camera, point) {
  const m = camera.viewFromWorld;
  const [x, y, z] = [0, 4, 8].map((r) => m[r] * point[0] + m[r + 1] * point[1] + m[r + 2] * point[2] + m[r + 3]);
  return z > 0.01 ? [(camera.fx * x) / z + camera.cx, (camera.fy * y) / z + camera.cy] : null;
}
