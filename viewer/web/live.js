/**
 * A training that is watched: the connection to it, its scene, and what the page shows of it.
 * docs/viewer.md has the messages.
 *
 * @typedef {{step: number|null, loss: number|null, count: number|null, progress: number|null, seconds: number|null,
 *   seconds_left: number|null, psnr: number|null, ssim: number|null, paused: boolean, finished: boolean}} TrainingState
 * @typedef {{step: number, count: number, total: number, bytes: number}} SceneNote `count` of `total` splats were sent.
 */
import { openScene } from "./load/load.js";
import { bufferSource } from "./load/source.js";
import { LivePanel } from "./ui/live_panel.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10000;

/** The websocket of a training; it connects again when it breaks, until the training is over. */
export class TrainingFeed {
  /**
   * @param {string|URL} url ws: or http: address of /live
   * @param {{onState?: (state: TrainingState) => void, onLosses?: (points: [number, number][]) => void,
   *   onScene?: (note: SceneNote, data: ArrayBuffer) => Promise<void>|void, onConnection?: (connected: boolean) => void}} listeners
   *   The next scene is asked for when what `onScene` returned is settled.
   */
  constructor(url, listeners) {
    this.url = new URL(url, globalThis.location?.href);
    this.url.protocol = this.url.protocol.replace("http", "ws");
    this.listeners = listeners;
    this.closed = false;
    this.finished = false;
    this.failures = 0;
    this.connect();
  }

  connect() {
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    let note = null;
    socket.onopen = () => {
      this.failures = 0;
      this.listeners.onConnection?.(true);
      this.send({ type: "ready" });
    };
    socket.onmessage = async ({ data }) => {
      if (typeof data !== "string") {
        const of = note;
        note = null;
        try {
          if (of) await this.listeners.onScene?.(of, data);
        } finally {
          // A socket that broke in between has another one after it, which asks for itself.
          if (this.socket === socket) this.send({ type: "ready" });
        }
        return;
      }
      const message = JSON.parse(data);
      if (message.type === "losses") this.listeners.onLosses?.(message.points);
      if (message.type === "scene") note = message;
      if (message.type === "state") {
        this.finished = message.finished;
        this.listeners.onState?.(message);
      }
    };
    socket.onclose = () => {
      if (this.closed) return;
      this.listeners.onConnection?.(false);
      if (this.finished) return;
      const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.failures++);
      this.timer = setTimeout(() => this.connect(), pause);
    };
  }

  /** @param {boolean} value */
  pause(value) {
    this.send({ type: "pause", value });
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket.close();
  }
}

/**
 * A scene that is complete, and sorted for `camera`, before anything of it is drawn: what it replaces stays until then, so
 * no frame shows parts of two.
 * @param {import("./render/webgl2.js").Renderer} renderer
 * @param {import("./load/source.js").ByteSource} source
 * @param {() => import("./render/webgl2.js").Camera} camera
 */
export async function buildScene(renderer, source, camera) {
  let scene = null;
  try {
    await openScene(source, {
      onHead: (head) => (scene = renderer.createScene(head)),
      onChunk: async (chunk) => {
        await renderer.turn();
        scene.append(chunk);
      },
    });
    await renderer.prepare(scene, camera());
    return scene;
  } catch (error) {
    if (scene) renderer.removeScene(scene);
    throw error;
  }
}

/**
 * Puts the panel of a training onto the page and keeps the scene up to date.
 * @param {{container: HTMLElement, url: string|URL, renderer: import("./render/webgl2.js").Renderer,
 *   camera: () => import("./render/webgl2.js").Camera, swap: (scene: object, note: SceneNote) => void,
 *   onError?: (error: Error) => void}} options
 *   `swap` draws the scene from now on and removes the one before.
 * @returns {{feed: TrainingFeed, panel: LivePanel, close: () => void}}
 */
export function watchTraining({ container, url, renderer, camera, swap, onError = () => {} }) {
  const panel = new LivePanel(container, { onPause: (value) => feed.pause(value) });
  const feed = new TrainingFeed(url, {
    onState: (state) => panel.setState(state),
    onLosses: (points) => panel.setLosses(points),
    onConnection: (connected) => panel.setConnected(connected),
    async onScene(note, data) {
      try {
        swap(await buildScene(renderer, bufferSource(`step ${note.step}`, data), camera), note);
        panel.setScene(note);
      } catch (error) {
        onError(error);
      }
    },
  });
  return {
    feed,
    panel,
    close() {
      feed.close();
      panel.remove();
    },
  };
}
