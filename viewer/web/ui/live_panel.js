/** What a page shows of a training: numbers, the loss as a curve, a button that holds it. */

const MOST_POINTS = 2000;
const CURVE = { width: 240, height: 64 };
const STYLE = new URL("../live.css", import.meta.url);

export class LivePanel {
  /**
   * @param {HTMLElement} container
   * @param {{onPause: (value: boolean) => void}} listeners
   */
  constructor(container, { onPause }) {
    const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: STYLE.href });
    document.head.append(style);
    this.root = element("section", { className: "live-panel" });
    this.root.setAttribute("aria-label", "Training");
    this.title = element("h2", { textContent: "Training" });
    this.bar = element("progress", { max: 1, value: 0 });
    this.bar.setAttribute("aria-label", "Share of the training that is done");
    this.curve = element("canvas", { ...CURVE });
    this.curve.setAttribute("role", "img");
    this.numbers = element("dl");
    this.button = element("button", { type: "button", textContent: "Pause" });
    this.button.setAttribute("aria-pressed", "false");
    this.note = element("p", { className: "live-note" });
    // Read aloud when it changes; the numbers change too often for that.
    this.note.setAttribute("role", "status");
    this.root.append(this.title, this.bar, this.curve, this.numbers, this.button, this.note);
    container.append(this.root);
    this.state = null;
    this.connected = false;
    this.scene = null;
    this.points = [];
    this.button.addEventListener("click", () => onPause(!this.state?.paused));
    this.show();
  }

  /** @param {import("../live.js").TrainingState} state */
  setState(state) {
    this.state = state;
    if (state.step !== null && state.step > (this.points.at(-1)?.[0] ?? -1)) {
      this.points.push([state.step, state.loss]);
      if (this.points.length > MOST_POINTS) {
        this.points = this.points.filter((_, i) => i % 2 === 0);
      }
    }
    this.show();
  }

  /** @param {[number, number][]} points */
  setLosses(points) {
    this.points = points;
    this.show();
  }

  setConnected(connected) {
    this.connected = connected;
    this.show();
  }

  /** @param {import("../live.js").SceneNote} note The scene that is drawn now. */
  setScene(note) {
    this.scene = note;
    this.show();
  }

  remove() {
    this.root.remove();
  }

  show() {
    const { state, scene } = this;
    const rows = [];
    if (state?.step != null) {
      rows.push(["Step", state.step.toLocaleString("en")]);
      rows.push(["Loss", state.loss.toFixed(4)]);
      rows.push(["Splats", state.count.toLocaleString("en")]);
      if (state.psnr !== null) rows.push(["PSNR", `${state.psnr.toFixed(2)} dB`]);
      rows.push(["Time left", state.finished ? "done" : duration(state.seconds_left)]);
    }
    if (scene) {
      const [count, total] = [scene.count, scene.total].map((n) => n.toLocaleString("en"));
      const part = scene.count < scene.total ? `, ${count} of ${total} splats` : "";
      rows.push(["Shown", `step ${scene.step.toLocaleString("en")}${part}`]);
    }
    this.numbers.replaceChildren(
      ...rows.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]),
    );
    this.bar.value = state?.finished ? 1 : (state?.progress ?? 0);
    const paused = Boolean(state?.paused);
    this.button.textContent = paused ? "Go on" : "Pause";
    this.button.setAttribute("aria-pressed", String(paused));
    this.button.disabled = !this.connected || !state || state.finished;
    const said = state?.finished
      ? "The training is over; this is its last scene."
      : !this.connected
        ? "No connection to the training; trying again."
        : paused
          ? "Paused."
          : state?.step == null
            ? "Waiting for the first steps."
            : "";
    if (this.note.textContent !== said) this.note.textContent = said;
    this.draw();
  }

  /** The loss over the steps, on a logarithmic scale. */
  draw() {
    const { curve, points } = this;
    const shown = points.filter(([, loss]) => loss > 0);
    const last = shown.at(-1);
    curve.setAttribute(
      "aria-label",
      last ? `Loss, ${shown[0][1].toFixed(3)} at first, ${last[1].toFixed(4)} now` : "Loss",
    );
    const ratio = globalThis.devicePixelRatio || 1;
    curve.width = Math.round(CURVE.width * ratio);
    curve.height = Math.round(CURVE.height * ratio);
    if (shown.length < 2) return;
    const context = curve.getContext("2d");
    context.scale(ratio, ratio);
    const logs = shown.map(([, loss]) => Math.log(loss));
    const low = Math.min(...logs);
    const range = Math.max(...logs) - low || 1;
    const first = shown[0][0];
    const steps = last[0] - first || 1;
    context.beginPath();
    shown.forEach(([step], i) => {
      const x = 1 + ((step - first) / steps) * (CURVE.width - 2);
      const y = CURVE.height - 2 - ((logs[i] - low) / range) * (CURVE.height - 4);
      context[i ? "lineTo" : "moveTo"](x, y);
    });
    context.strokeStyle = getComputedStyle(curve).color;
    context.lineWidth = 1.5;
    context.stroke();
  }
}

/** 83 -> `1:23` */
function duration(seconds) {
  if (!Number.isFinite(seconds)) return "unknown";
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, i) => (i ? String(part).padStart(2, "0") : String(part))).join(":");
}

function element(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}
