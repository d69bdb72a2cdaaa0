/** Mouse, touch and keyboard to a viewpoint. */
import { length, subtract } from "./math.js";

const TURN = 0.005; // rad a pixel
const WHEEL = 0.0012;
const KEY_TURN = 1.4; // rad a second
const KEY_MOVE = 0.7; // distances to the target a second
const COAST = 0.0025; // ms^-1: how fast a throw comes to rest
const CLICK = 5; // px: less is no drag
const STEPS = {
  KeyW: [0, 0, 1], KeyS: [0, 0, -1], KeyA: [-1, 0, 0], KeyD: [1, 0, 0], KeyQ: [0, 1, 0], KeyE: [0, -1, 0],
};
const TURNS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Controls {
  /**
   * @param {HTMLElement} element
   * @param {import("./viewpoint.js").Viewpoint} view
   * @param {{onMove: () => void, onClick: (x: number, y: number) => void, onFocus: (x: number, y: number) => void}} told
   *   Places in CSS pixels of the element.
   */
  constructor(element, view, told) {
    Object.assign(this, { element, view, ...told });
    this.fly = false;
    this.keys = new Set();
    this.pointers = new Map();
    this.speed = [0, 0]; // of a throw, px / ms
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    element.addEventListener("pointerdown", (e) => this.down(e));
    element.addEventListener("pointermove", (e) => this.drag(e));
    element.addEventListener("pointerup", (e) => this.release(e));
    element.addEventListener("pointercancel", (e) => this.release(e));
    element.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    element.addEventListener("contextmenu", (e) => e.preventDefault());
    element.addEventListener("dblclick", (e) => this.onFocus(...this.place(e)));
    element.addEventListener("keydown", (e) => this.key(e, true));
    element.addEventListener("keyup", (e) => this.key(e, false));
    element.addEventListener("blur", () => this.keys.clear());
  }

  /** Whether something moves by itself. */
  get moving() {
    return this.keys.size > 0 || this.speed[0] !== 0 || this.speed[1] !== 0 || this.pointers.size > 0;
  }

  place(e) {
    const box = this.element.getBoundingClientRect();
    return [e.clientX - box.left, e.clientY - box.top];
  }

  stop() {
    this.speed = [0, 0];
  }

  down(e) {
    this.element.setPointerCapture(e.pointerId);
    this.element.focus({ preventScroll: true });
    this.pointers.set(e.pointerId, { at: [e.clientX, e.clientY], start: [e.clientX, e.clientY], time: e.timeStamp, pans: e.button > 0 || e.shiftKey || e.ctrlKey });
    this.stop();
  }

  drag(e) {
    const pointer = this.pointers.get(e.pointerId);
    if (!pointer) return;
    const [dx, dy] = [e.clientX - pointer.at[0], e.clientY - pointer.at[1]];
    const others = [...this.pointers.values()].filter((p) => p !== pointer);
    if (others.length === 0) {
      if (pointer.pans) this.pan(dx, dy);
      else {
        this.turnBy(dx, dy);
        const dt = Math.max(1, e.timeStamp - pointer.time);
        this.speed = [0.6 * this.speed[0] + (0.4 * dx) / dt, 0.6 * this.speed[1] + (0.4 * dy) / dt];
      }
    } else {
      // Two fingers: their distance zooms, their middle pans.
      const other = others[0].at;
      const before = Math.hypot(pointer.at[0] - other[0], pointer.at[1] - other[1]);
      const after = Math.hypot(e.clientX - other[0], e.clientY - other[1]);
      if (before > 1 && after > 1) this.view.zoom(before / after);
      this.pan(dx / 2, dy / 2);
    }
    pointer.at = [e.clientX, e.clientY];
    pointer.time = e.timeStamp;
    this.onMove();
  }

  release(e) {
    const pointer = this.pointers.get(e.pointerId);
    this.pointers.delete(e.pointerId);
    if (!pointer) return;
    const moved = Math.hypot(e.clientX - pointer.start[0], e.clientY - pointer.start[1]);
    if (moved < CLICK) {
      this.stop();
      if (e.type === "pointerup" && e.button === 0) this.onClick(...this.place(e));
    }
    // A pointer that rested before it was lifted throws nothing.
    if (this.calm.matches || pointer.pans || e.timeStamp - pointer.time > 60) this.stop();
    this.onMove();
  }

  wheel(e) {
    e.preventDefault();
    const pixels = e.deltaY * (e.deltaMode === 1 ? 16 : e.deltaMode === 2 ? 400 : 1);
    this.view.zoom(Math.exp(WHEEL * pixels));
    this.onMove();
  }

  key(e, pressed) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (!(e.code in STEPS || e.code in TURNS || ["Equal", "Minus", "NumpadAdd", "NumpadSubtract"].includes(e.code))) return;
    e.preventDefault();
    if (pressed) this.keys.add(e.code);
    else this.keys.delete(e.code);
    this.fast = e.shiftKey;
    this.onMove();
  }

  turnBy(dx, dy) {
    this.view.orbit(TURN * dx * (this.fly ? -0.5 : 1), TURN * dy * (this.fly ? -0.5 : 1), this.fly);
  }

  /** Moves the scene with the pointer. */
  pan(dx, dy) {
    const perPixel = (2 * this.view.distance * Math.tan(0.5 * this.view.lens.fov)) / this.element.clientHeight;
    this.view.move(-dx * perPixel, -dy * perPixel, 0);
  }

  /** What goes on by itself. @returns {boolean} Whether anything did. */
  advance(milliseconds) {
    const dt = Math.min(milliseconds, 100);
    const before = this.view.position;
    const axes = this.view.axes;
    if (this.pointers.size === 0 && (this.speed[0] || this.speed[1])) {
      this.turnBy(this.speed[0] * dt, this.speed[1] * dt);
      const left = Math.exp(-COAST * dt * 2);
      this.speed = this.speed.map((v) => v * left);
      if (Math.hypot(...this.speed) < 0.01) this.stop();
    }
    const step = (KEY_MOVE * this.view.distance * dt * (this.fast ? 4 : 1)) / 1000;
    for (const code of this.keys) {
      if (code in STEPS) this.view.move(...STEPS[code].map((s) => s * step));
      else if (code in TURNS) {
        const [yaw, pitch] = TURNS[code].map((t) => (t * KEY_TURN * dt) / 1000);
        this.view.orbit(-yaw, -pitch, this.fly);
      } else this.view.zoom(Math.exp(((code === "Equal" || code === "NumpadAdd" ? -1 : 1) * dt) / 700));
    }
    return length(subtract(before, this.view.position)) > 0 || axes !== this.view.axes;
  }
}
