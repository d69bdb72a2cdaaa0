/** What the page shows: one scene or two, a viewpoint, and when to draw. The panels in ui/ change it. */
import { openScene } from "./load/load.js";
import { Controls } from "./view/controls.js";
import { depthAt, worldAt } from "./view/pick.js";
import { subtract, length, mix } from "./view/math.js";
import { between, Viewpoint } from "./view/viewpoint.js";

/** What a scene consists of, for people. */
export const nounOf = (head) => (head?.voxels ? "voxel" : "splat");

const SLOW_FRAME = 70; // ms: above, the picture gets coarser while it moves
const QUICK_FRAME = 28;
const COARSENESS = [1, 0.75, 0.5, 0.35];
const REST_MS = 180; // without movement, before the picture is drawn in full
const FLIGHT_MS = 700;
const LOOKED_AT = 20000; // splats, when a scene's middle or depth is estimated
const LOADING_SHARE = 4; // while it loads, at rest: no more than a quarter of the GPU's time goes into pictures

export class App extends EventTarget {
  /** @param renderer As render/renderer.js makes it for this canvas. */
  constructor(canvas, renderer) {
    super();
    this.canvas = canvas;
    this.renderer = renderer;
    renderer.onChange = () => this.invalidate();
    this.view = new Viewpoint();
    this.home = null; // where "reset" leads
    this.placed = false; // whether somebody chose a viewpoint
    this.slots = [null, null]; // {name, source, scene, head, layers, decodedMs, firstMs, doneMs, error, psnr, abort}
    this.cameras = []; // of the capture: {name, width, height, fx, fy, cx, cy, world_from_camera, photo}
    this.mode = "first"; // first | second | split | difference
    this.divider = 0.5;
    this.differenceGain = 8;
    this.photoSide = false; // whether a photograph is the right side
    this.coarse = 0; // index into COARSENESS while moving
    this.adaptive = true;
    this.frames = []; // ms of the last ones
    this.drawMs = 0;
    this.gpuMs = 0; // until the last picture drawn during loading was there
    this.drawnAt = -Infinity;
    this.controls = new Controls(canvas, this.view, {
      onMove: () => {
        this.placed = true;
        this.flight = null;
        this.wake();
      },
      onClick: (x, y) => this.emit("pick", { x, y }),
      onFocus: (x, y) => this.focus(x, y),
    });
    new ResizeObserver(() => this.invalidate()).observe(canvas);
  }

  emit(type, detail = {}) {
    this.dispatchEvent(Object.assign(new Event(type), detail));
  }

  // --- scenes

  /**
   * Opens a source in a slot, 0 or 1, in place of what is there.
   * @param {import("./load/source.js").ByteSource} source
   */
  async open(source, slot = 0, { keepView = false } = {}) {
    const began = performance.now();
    const abort = new AbortController();
    this.close(slot);
    const entry = { name: source.name, source, scene: null, head: null, layers: 0, decodedMs: 0, firstMs: null, doneMs: null, error: null, psnr: null, abort };
    this.emit("loading", { slot, entry });
    this.slots[slot] = entry;
    try {
      await openScene(source, {
        signal: abort.signal,
        onHead: (head) => {
          entry.head = head;
          entry.scene = this.renderer.createScene(head);
          if (this.budget) entry.scene.setBudget(this.budget);
          if (this.shDegree !== undefined) entry.scene.degree = Math.min(head.degree, this.shDegree);
          if (head.up && !this.told?.up) this.view.up = head.up;
          if (head.background && !this.told?.background) this.setBackground(head.background);
          if (!keepView && !this.placed && head.cameras?.length && !this.told?.cameras?.length) this.lookThrough(head.cameras[0]);
          this.emit("head", { slot, entry });
        },
        onChunk: async (chunk) => {
          await this.renderer.turn();
          abort.signal.throwIfAborted();
          entry.scene.append(chunk);
          if (!entry.head.cameras?.length && !keepView && !this.placed && !this.home) this.frameScene(entry.scene);
          entry.firstMs ??= performance.now() - began;
          this.invalidate(true);
        },
        onLayer: (layer) => {
          Object.assign(entry, layer);
          entry.scene.gain = layer.gain;
          this.invalidate(true);
        },
        onProgress: ({ decodedMs }) => {
          entry.decodedMs = decodedMs;
          this.emit("progress", { slot, entry });
        },
      });
      if (!keepView && !this.placed && !entry.head.cameras?.length && !this.told?.cameras?.length) this.frameScene(entry.scene);
      entry.doneMs = performance.now() - began;
      this.emit("loaded", { slot, entry });
      this.invalidate(true);
    } catch (error) {
      if (abort.signal.aborted) return; // closed, or another one opened
      entry.error = error;
      if (!entry.scene?.count) this.close(slot);
      this.emit("failed", { slot, entry, error });
    }
  }

  close(slot) {
    const entry = this.slots[slot];
    this.slots[slot] = null;
    if (!entry) return;
    entry.abort.abort();
    entry.source.close?.();
    if (entry.scene) this.renderer.removeScene(entry.scene);
    if (slot === 1) this.setMode("first");
  }

  /** Shows a scene that is complete and sorted in the first slot: a training has a newer one. */
  replace(scene, { name, bytes }) {
    const before = this.slots[0];
    const done = { firstMs: 0, doneMs: 0, layers: 1, decodedMs: 0, error: null, psnr: null };
    const source = { received: bytes, close() {} };
    this.slots[0] = { name, source, scene, head: { ...scene.head, bytes }, abort: new AbortController(), ...done };
    if (before?.scene) this.renderer.removeScene(before.scene);
    scene.box = before?.scene?.box ?? null;
    if (this.shDegree !== undefined) scene.degree = Math.min(scene.head.degree, this.shDegree);
    if (!this.home && !this.placed) this.frameScene(scene);
    this.emit("loaded", { slot: 0, entry: this.slots[0] });
    this.invalidate(true);
  }

  /** Whether splats of a scene are still to come. */
  get loading() {
    return this.slots.some((entry) => entry?.scene && entry.doneMs === null && !entry.error);
  }

  /** The scenes that are drawn. */
  get scenes() {
    return this.slots.filter((entry) => entry?.scene).map((entry) => entry.scene);
  }

  setMode(mode) {
    this.mode = this.slots[1]?.scene || mode === "first" ? mode : "first";
    this.emit("mode");
    this.invalidate();
  }

  setBackground(rgb) {
    this.renderer.background = rgb;
    this.emit("background");
    this.invalidate();
  }

  setBudget(most) {
    this.budget = most;
    this.scenes.forEach((scene) => scene.setBudget(most));
    this.invalidate(true);
  }

  setDegree(degree) {
    this.shDegree = degree;
    this.scenes.forEach((scene) => (scene.degree = Math.min(scene.head.degree, degree)));
    this.invalidate();
  }

  // --- viewpoint

  /** Pixels of the picture for one of the page; it changes when the window goes to another screen. */
  get dpr() {
    return Math.min(devicePixelRatio || 1, 2);
  }

  /** Size of the canvas in pixels when nothing moves. */
  size() {
    const box = this.canvas.getBoundingClientRect();
    return [Math.max(1, Math.round(box.width * this.dpr)), Math.max(1, Math.round(box.height * this.dpr))];
  }

  /** The camera of the canvas as it would be drawn in full. */
  camera() {
    return this.view.camera(...this.size());
  }

  /** Takes over a camera of the capture, by flight unless motion is unwanted. */
  lookThrough(camera, flight = false) {
    const goal = this.view.copy();
    goal.useCamera(camera, this.distanceFrom(camera));
    this.go(goal, flight);
    this.home ??= goal.copy();
  }

  /** How far what a camera looks at may be: the median depth of what it sees. */
  distanceFrom(camera) {
    const rows = camera.world_from_camera;
    const [position, forward] = [rows.slice(0, 3).map((r) => r[3]), rows.slice(0, 3).map((r) => r[2])];
    const depths = [];
    const step = Math.ceil(this.scenes.reduce((sum, scene) => sum + scene.count, 0) / LOOKED_AT) || 1;
    for (const scene of this.scenes) {
      for (const { means, count } of scene.chunks) {
        for (let i = 0; i < count; i += step) {
          const v = [0, 1, 2].map((a) => means[3 * i + a] - position[a]);
          const z = v[0] * forward[0] + v[1] * forward[1] + v[2] * forward[2];
          if (z > 0.01 && length(subtract(v, forward.map((f) => f * z))) < 0.4 * z) depths.push(z);
        }
      }
    }
    depths.sort((a, b) => a - b);
    return depths.length ? depths[depths.length >> 1] : this.view.distance;
  }

  /** Puts the whole of a scene into the picture. */
  frameScene(scene) {
    let axes = [[], [], []];
    const step = Math.ceil(scene.count / LOOKED_AT) || 1;
    for (const { means, opacities, count } of scene.chunks) {
      for (let i = 0; i < count; i += step) if (opacities[i] > 0.2) axes.forEach((axis, a) => axis.push(means[3 * i + a]));
    }
    if (axes[0].length === 0) return;
    // The middle 90 %: a few always lie far out.
    axes = axes.map((axis) => Float64Array.from(axis).sort());
    const [low, high] = [0.05, 0.95].map((share) => axes.map((axis) => axis[Math.floor(share * (axis.length - 1))]));
    const middle = mix(low, high, 0.5);
    const radius = Math.max(0.5 * length(subtract(high, low)), 1e-3);
    const goal = this.view.copy();
    goal.lens = new Viewpoint().lens;
    goal.face([0, 0, 1]);
    goal.orbit(0.5, 0.35);
    goal.lookAt(subtract(middle, goal.forward.map((x) => (x * radius) / Math.tan(0.5 * goal.lens.fov))), middle);
    this.go(goal, false);
    this.home = goal.copy();
  }

  go(goal, flight = true) {
    this.controls.stop();
    if (flight && !this.controls.calm.matches) this.flight = { from: this.view.copy(), to: goal, began: performance.now() };
    else {
      this.flight = null;
      this.view.assign(goal);
    }
    this.wake();
  }

  reset() {
    if (this.home) this.go(this.home.copy());
  }

  setUp(up) {
    this.view.up = up;
    this.view.face(this.view.forward);
    this.invalidate();
  }

  /** The point of the first scene under a place of the page, or null. */
  pick(x, y) {
    const camera = this.camera();
    const entry = this.slots[this.mode === "second" ? 1 : 0] ?? this.slots[0];
    if (!entry?.scene) return null;
    const [u, v] = [x * this.dpr, y * this.dpr];
    const z = depthAt(entry.scene.chunks, camera, u, v);
    return z === null ? null : worldAt(camera, u, v, z);
  }

  focus(x, y) {
    const point = this.pick(x, y);
    if (!point) return;
    const goal = this.view.copy();
    goal.lookAt(goal.position, point);
    goal.zoom(0.75);
    this.go(goal);
  }

  // --- drawing

  /** Something moves: draw now and go on while it does. */
  wake() {
    this.movedAt = performance.now();
    this.invalidate(true);
  }

  /** Draw once. `sort`: the order may have changed. */
  invalidate(sort = false) {
    this.needsSort ||= sort;
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    this.asked = false;
    const passed = now - (this.lastTick ?? now);
    this.lastTick = now;
    if (this.flight) {
      const t = Math.min(1, (now - this.flight.began) / FLIGHT_MS);
      this.view.assign(between(this.flight.from, this.flight.to, t * t * (3 - 2 * t)));
      if (t === 1) {
        this.view.assign(this.flight.to);
        this.flight = null;
      }
      this.movedAt = now;
      this.needsSort = true;
    } else if (this.controls.advance(this.wasMoving ? passed : 16)) {
      this.movedAt = now;
      this.needsSort = true;
      this.placed = true;
    }
    this.emit("tick", { now, passed });
    const moving = now - (this.movedAt ?? -Infinity) < REST_MS;
    if (this.wasMoving && moving && passed < 1000) this.notice(passed);
    if (this.loading && !moving && now - this.drawnAt < LOADING_SHARE * this.gpuMs) {
      this.invalidate();
      return;
    }
    this.drawnAt = now;
    this.draw(moving);
    if (this.loading) this.renderer.turn().then(() => (this.gpuMs = performance.now() - now));
    if (this.wasMoving && !moving) this.emit("rest");
    this.wasMoving = moving;
    if (moving || this.playing) this.invalidate();
  }

  /** Adapts the fineness while moving to how long frames take. */
  notice(milliseconds) {
    this.frames.push(milliseconds);
    if (this.frames.length > 60) this.frames.shift();
    if (!this.adaptive) return;
    if (milliseconds > SLOW_FRAME) this.slow = (this.slow ?? 0) + 1;
    else this.slow = 0;
    if (milliseconds < QUICK_FRAME) this.quick = (this.quick ?? 0) + 1;
    else this.quick = 0;
    if (this.slow >= 3 && this.coarse < COARSENESS.length - 1) [this.coarse, this.slow] = [this.coarse + 1, 0];
    if (this.quick >= 40 && this.coarse > 0) [this.coarse, this.quick] = [this.coarse - 1, 0];
  }

  /** Share of the full resolution that is drawn now. */
  get fineness() {
    return this.wasMoving && this.adaptive ? COARSENESS[this.coarse] : 1;
  }

  draw(moving) {
    const share = moving && this.adaptive ? COARSENESS[this.coarse] : 1;
    const [width, height] = this.size().map((x) => Math.max(1, Math.round(x * share)));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const camera = this.view.camera(width, height);
    if (this.needsSort) this.scenes.forEach((scene) => this.renderer.sort(scene, camera));
    this.needsSort = false;
    const began = performance.now();
    const [first, second] = this.slots.map((entry) => entry?.scene ?? null);
    if (this.mode === "difference" && first && second) this.renderer.difference(first, second, camera, this.differenceGain);
    else this.renderer.frame(this.parts(first, second), camera);
    this.drawMs = performance.now() - began;
    this.drawnCamera = camera;
    this.emit("drawn", { camera });
  }

  parts(first, second) {
    if (this.mode === "second" && second) return [{ scene: second }];
    if (this.mode === "split" && first && second) return [{ scene: first, to: this.divider }, { scene: second, from: this.divider }];
    return first ? [{ scene: first }] : second ? [{ scene: second }] : [];
  }

  // --- what tests and embedding pages use

  /**
   * Pixels of a scene: RGBA, the top row first.
   * @param {{width?: number, height?: number, camera?: object|null, mode?: "exact"|"fast", slot?: number}} options
   *   camera: as Viewpoint.camera gives it; null: the present one, fitted to width and height.
   */
  capture({ width, height, camera = null, slot = 0, ...options } = {}) {
    const entry = this.slots[slot];
    if (!entry?.scene) return Promise.reject(new Error("no scene is open"));
    const [w, h] = this.size();
    const chosen = camera ?? this.view.camera(width ?? w, height ?? h);
    return this.renderer.capture(entry.scene, { camera: { ...chosen, width: width ?? chosen.width, height: height ?? chosen.height }, ...options });
  }

  stats() {
    const sorted = [...this.frames].sort((a, b) => a - b);
    const frame = sorted.length ? sorted[sorted.length >> 1] : null;
    return {
      fps: frame ? Math.round(10000 / frame) / 10 : null,
      frameMs: frame,
      drawMs: this.drawMs,
      renderer: this.renderer.name,
      blending: this.renderer.blending,
      fineness: this.fineness,
      size: [this.canvas.width, this.canvas.height],
      mode: this.mode,
      scenes: this.slots.filter(Boolean).map((entry) => ({
        name: entry.name,
        format: entry.head?.format ?? null,
        shDegree: entry.head?.degree ?? null,
        noun: nounOf(entry.head),
        splats: entry.head?.count ?? 0,
        loaded: entry.scene?.count ?? 0,
        drawn: entry.scene?.drawn ?? 0,
        bytes: entry.head?.bytes ?? null,
        received: entry.source.received,
        bitsPerSplat: entry.head?.count ? (8 * entry.head.bytes) / entry.head.count : null,
        layers: entry.layers,
        layerCount: entry.head?.layers ?? null,
        decodeMs: entry.decodedMs,
        firstMs: entry.firstMs,
        loadMs: entry.doneMs,
        sortMs: entry.scene?.sortMs ?? null,
        gpuBytes: entry.scene?.bytes ?? 0,
        complete: entry.doneMs !== null,
      })),
    };
  }
}
