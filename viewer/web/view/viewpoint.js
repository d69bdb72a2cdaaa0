/**
 * Where one looks from: a place, an orientation, and a lens.
 *
 * The orientation is a matrix whose columns are the camera's axes in the world (x right, y down, z forward; OpenCV). What
 * a mouse does is relative to `up`; roll, which photographs have, goes away while one moves.
 */
import { add, clamp, cross, dot, length, matrixOf, mix, perpendicular, quaternionOf, scale, slerp, subtract, turn, unit } from "./math.js";

const STEEPEST = 0.9995; // of forward . up: straight up has no right side
const DEFAULT_FOV = (50 * Math.PI) / 180;

export class Viewpoint {
  constructor() {
    this.position = [0, 0, -3];
    this.axes = [1, 0, 0, 0, 1, 0, 0, 0, 1];
    this.distance = 3; // to what one turns around
    this.up = [0, -1, 0];
    this.lens = { fov: DEFAULT_FOV, aspect: null, ratio: 1, offset: [0, 0] };
  }

  get right() {
    return [this.axes[0], this.axes[3], this.axes[6]];
  }

  get down() {
    return [this.axes[1], this.axes[4], this.axes[7]];
  }

  get forward() {
    return [this.axes[2], this.axes[5], this.axes[8]];
  }

  get target() {
    return add(this.position, scale(this.forward, this.distance));
  }

  copy() {
    return Object.assign(new Viewpoint(), structuredClone({ ...this }));
  }

  assign(other) {
    Object.assign(this, structuredClone({ position: other.position, axes: other.axes, distance: other.distance, lens: other.lens }));
  }

  /** Looks along `forward`, level but for `roll` [rad]. */
  face(forward, roll = 0) {
    const f = unit(forward);
    const across = cross(f, this.up);
    let right = length(across) > 1e-6 ? unit(across) : perpendicular(f);
    right = turn(right, f, roll);
    const down = cross(f, right);
    this.axes = [right[0], down[0], f[0], right[1], down[1], f[1], right[2], down[2], f[2]];
  }

  /** How far the horizon is tilted [rad]. */
  get roll() {
    const level = this.copy();
    level.face(this.forward);
    return Math.atan2(dot(this.right, level.down), dot(this.right, level.right));
  }

  lookAt(position, target) {
    this.position = position;
    this.distance = Math.max(length(subtract(target, position)), 1e-6);
    this.face(subtract(target, position));
  }

  /** Turns around the target (or, with `inPlace`, the head) by angles [rad]; half of any roll goes. */
  orbit(yaw, pitch, inPlace = false) {
    const target = this.target;
    const roll = this.roll;
    let forward = turn(this.forward, this.up, -yaw);
    const right = unit(cross(forward, this.up), this.right);
    const pitched = turn(forward, right, -pitch);
    if (Math.abs(dot(pitched, this.up)) < STEEPEST) forward = pitched;
    this.face(forward, Math.abs(roll) < 1e-4 ? 0 : 0.8 * roll);
    if (!inPlace) this.position = subtract(target, scale(this.forward, this.distance));
  }

  /** Moves along its own axes, in world units. */
  move(right, down, forward) {
    this.position = add(this.position, add(add(scale(this.right, right), scale(this.down, down)), scale(this.forward, forward)));
  }

  /** Comes nearer to the target by a factor below 1. */
  zoom(factor) {
    const target = this.target;
    this.distance = clamp(this.distance * factor, 1e-4, 1e7);
    this.position = subtract(target, scale(this.forward, this.distance));
  }

  /** Takes over a photograph's camera: {width, height, fx, fy, cx, cy, world_from_camera [3 or 4 rows of 4]}. */
  useCamera(camera, distance = this.distance) {
    const rows = camera.world_from_camera;
    this.position = rows.slice(0, 3).map((row) => row[3]);
    this.axes = rows.slice(0, 3).flatMap((row) => row.slice(0, 3));
    this.distance = distance;
    this.lens = {
      fov: 2 * Math.atan((0.5 * camera.height) / camera.fy),
      aspect: camera.width / camera.height,
      ratio: camera.fx / camera.fy,
      offset: [camera.cx / camera.width - 0.5, camera.cy / camera.height - 0.5],
    };
  }

  /** The rectangle of the canvas that a photograph with this lens fills: [x, y, width, height] in pixels. */
  frame(width, height) {
    const aspect = this.lens.aspect ?? Math.min(1, width / height);
    const h = this.lens.aspect ? Math.min(height, width / aspect) : Math.min(height, width);
    const w = this.lens.aspect ? h * aspect : width;
    return [(width - w) / 2, (height - h) / 2, w, h];
  }

  /** @returns {import("../render/webgl2.js").Camera} For a canvas of so many pixels. */
  camera(width, height) {
    const [x, y, w, h] = this.frame(width, height);
    const fy = (0.5 * h) / Math.tan(0.5 * this.lens.fov);
    const [r, d, f] = [this.right, this.down, this.forward];
    const t = [r, d, f].map((axis) => -dot(axis, this.position));
    return {
      width,
      height,
      fx: fy * this.lens.ratio,
      fy,
      cx: x + w * (0.5 + this.lens.offset[0]),
      cy: y + h * (0.5 + this.lens.offset[1]),
      viewFromWorld: [...r, t[0], ...d, t[1], ...f, t[2], 0, 0, 0, 1],
    };
  }

  /** For the address: position, quaternion, distance, field of view, and what else a photograph's lens has. */
  toHash() {
    const text = (numbers) => numbers.map((x) => Number(x.toPrecision(8))).join(",");
    const { fov, aspect, ratio, offset } = this.lens;
    const lens = aspect ? `&l=${text([aspect, ratio, ...offset])}` : "";
    return `p=${text(this.position)}&q=${text(quaternionOf(this.axes))}&d=${text([this.distance])}&f=${text([(fov * 180) / Math.PI])}${lens}`;
  }

  /** @returns {boolean} Whether the text was a pose; else nothing changes. */
  fromHash(hash) {
    const given = new URLSearchParams(hash.replace(/^#/, ""));
    const numbers = (key, count) => {
      const found = (given.get(key) ?? "").split(",").map(Number);
      return found.length === count && found.every(Number.isFinite) && given.get(key) !== "" ? found : null;
    };
    const [p, q, d, f, l] = [numbers("p", 3), numbers("q", 4), numbers("d", 1), numbers("f", 1), numbers("l", 4)];
    if (!p || !q || Math.hypot(...q) < 1e-6) return false;
    this.position = p;
    this.axes = matrixOf(q.map((x) => x / Math.hypot(...q)));
    if (d && d[0] > 0) this.distance = d[0];
    const [aspect, ratio, ...offset] = l && l[0] > 0 && l[1] > 0 ? l : [null, 1, 0, 0];
    this.lens = { fov: f ? (clamp(f[0], 1, 170) * Math.PI) / 180 : DEFAULT_FOV, aspect, ratio, offset };
    return true;
  }
}

/** Between two viewpoints, t from 0 to 1. */
export function between(a, b, t) {
  const view = b.copy();
  view.position = mix(a.position, b.position, t);
  view.axes = matrixOf(slerp(quaternionOf(a.axes), quaternionOf(b.axes), t));
  view.distance = a.distance * (b.distance / a.distance) ** t;
  view.lens = { ...b.lens, fov: a.lens.fov + (b.lens.fov - a.lens.fov) * t };
  return view;
}
