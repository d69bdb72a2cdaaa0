/**
 * A camera path: keyframes with a smooth way between them; to and from the JSON that nerfstudio's viewer writes and
 * `scenerep render --path` reads. Matrices there are camera to world in OpenGL axes (y up, looking along -z), by rows.
 */
import { clamp, matrixOf, quaternionOf } from "./math.js";
import { Viewpoint } from "./viewpoint.js";

export class CameraPath {
  constructor() {
    this.keys = []; // viewpoints
    this.seconds = 2; // from one to the next
    this.loops = false;
    this.fps = 30;
  }

  get segments() {
    return Math.max(0, this.keys.length - (this.loops && this.keys.length > 1 ? 0 : 1));
  }

  get duration() {
    return this.segments * this.seconds;
  }

  /** The viewpoint at a time [s]: Catmull-Rom in place and in orientation. */
  at(time) {
    const n = this.keys.length;
    if (n === 0) return null;
    if (this.segments === 0) return this.keys[0].copy();
    const place = clamp(time / this.seconds, 0, this.segments);
    const segment = Math.min(Math.floor(place), this.segments - 1);
    const t = place - segment;
    const key = (i) => this.keys[this.loops ? ((i % n) + n) % n : clamp(i, 0, n - 1)];
    const four = [-1, 0, 1, 2].map((i) => key(segment + i));
    const view = four[1].copy();
    view.position = [0, 1, 2].map((a) => spline(four.map((k) => k.position[a]), t));
    // Quaternions of one hemisphere, then as numbers: with keys less than half a turn apart that is smooth.
    const turns = [];
    for (const k of four) {
      const q = quaternionOf(k.axes);
      const last = turns.at(-1);
      turns.push(last && q.reduce((sum, x, i) => sum + x * last[i], 0) < 0 ? q.map((x) => -x) : q);
    }
    const mixed = [0, 1, 2, 3].map((i) => spline(turns.map((q) => q[i]), t));
    const norm = Math.hypot(...mixed);
    view.axes = matrixOf(mixed.map((x) => x / norm));
    view.distance = Math.exp(spline(four.map((k) => Math.log(k.distance)), t));
    view.lens = { ...view.lens, fov: clamp(spline(four.map((k) => k.lens.fov), t), 0.02, 3) };
    return view;
  }

  /** nerfstudio's layout, for pictures of a size. */
  toJson(width, height) {
    const degrees = (view) => {
      const camera = view.camera(width, height);
      return (2 * Math.atan((0.5 * height) / camera.fy) * 180) / Math.PI;
    };
    const frames = Math.max(1, Math.round(this.duration * this.fps));
    return {
      camera_type: "perspective",
      render_width: width,
      render_height: height,
      fps: this.fps,
      seconds: Math.max(this.duration, 1 / this.fps),
      is_cycle: this.loops,
      smoothness_value: 0,
      default_fov: this.keys.length ? degrees(this.keys[0]) : 50,
      default_transition_sec: this.seconds,
      keyframes: this.keys.map((view) => ({
        matrix: JSON.stringify(opengl(view)),
        fov: degrees(view),
        aspect: width / height,
        override_transition_enabled: false,
        override_transition_sec: null,
      })),
      camera_path: Array.from({ length: frames }, (_, i) => {
        const view = this.at((this.duration * i) / Math.max(1, this.loops ? frames : frames - 1));
        return { camera_to_world: opengl(view), fov: degrees(view), aspect: width / height };
      }),
    };
  }

  /** @throws {Error} The text is no camera path. */
  static fromJson(text) {
    let content;
    try {
      content = JSON.parse(text);
    } catch (error) {
      throw new Error(`the camera path is no JSON: ${error.message}`);
    }
    const path = new CameraPath();
    const given = Array.isArray(content?.keyframes) && content.keyframes.length ? content.keyframes : content?.camera_path;
    if (!Array.isArray(given) || given.length === 0) throw new Error("the file has neither `keyframes` nor a `camera_path`");
    path.keys = given.map((entry, i) => {
      let matrix = entry?.matrix ?? entry?.camera_to_world;
      if (typeof matrix === "string") matrix = JSON.parse(matrix);
      const numbers = Array.isArray(matrix) ? matrix.flat().map(Number) : [];
      const fov = Number(entry?.fov ?? content.default_fov);
      if ((numbers.length !== 16 && numbers.length !== 12) || !numbers.every(Number.isFinite) || !(fov > 0 && fov < 180)) throw new Error(`camera ${i + 1} of the path has no matrix of 16 numbers or no field of view`);
      const view = new Viewpoint();
      view.position = [numbers[3], numbers[7], numbers[11]];
      view.axes = [0, 4, 8].flatMap((r) => [numbers[r], -numbers[r + 1], -numbers[r + 2]]);
      const aspect = Number(entry.aspect) || content.render_width / content.render_height || null;
      view.lens = { fov: (fov * Math.PI) / 180, aspect, ratio: 1, offset: [0, 0] };
      return view;
    });
    path.fps = Number(content.fps) > 0 ? Number(content.fps) : 30;
    path.loops = content.is_cycle === true;
    const whole = Number(content.seconds);
    path.seconds = Number(content.default_transition_sec) > 0 && content.keyframes ? Number(content.default_transition_sec) : whole > 0 ? whole / Math.max(1, path.segments) : path.seconds;
    return path;
  }
}

/** 16 numbers by rows: the camera's axes with y and z turned, and its place. */
function opengl(view) {
  const m = view.axes;
  return [0, 3, 6].flatMap((r, i) => [m[r], -m[r + 1], -m[r + 2], view.position[i]]).concat([0, 0, 0, 1]);
}

/** Catmull-Rom through the second and third of four numbers. */
function spline([a, b, c, d], t) {
  return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}
