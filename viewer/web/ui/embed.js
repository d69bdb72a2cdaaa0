/** `window.scenerep`, and the same by messages for pages that embed this one. */
import { urlSource } from "../load/source.js";

/**
 * Messages: {scenerep: name, id?, argument?}, where `name` is that of a function below and a list as `argument` holds all of
 * its arguments; answers: {scenerep: "answer", id, result} or {.., error}. Only the page's own origin is heard, and the one
 * that `?parent=` names.
 */
export function offerApi(app, asked) {
  const api = {
    stats: () => app.stats(),
    capture: (options) => app.capture(options),
    camera: () => app.camera(),
    pose: () => app.view.toHash(),
    setPose: (hash) => {
      const known = app.view.fromHash(hash);
      if (known) {
        app.placed = true;
        app.wake();
      }
      return known;
    },
    lookThrough: (camera) => app.lookThrough(camera),
    open: async (url, slot = 0) => app.open(await urlSource(new URL(url, location.href)), slot),
    setMode: (mode) => app.setMode(mode),
    setDivider: (share) => {
      app.divider = share;
      app.emit("mode");
    },
    ready: () => app.slots.some(Boolean) && app.slots.filter(Boolean).every((entry) => entry.doneMs !== null && entry.scene.ready),
  };
  window.scenerep = Object.freeze(api);
  const parent = asked.get("parent");
  addEventListener("message", async (event) => {
    const { scenerep: name, id = null, argument } = event.data ?? {};
    if (typeof name !== "string" || name === "answer" || !Object.hasOwn(api, name)) return;
    if (event.origin !== location.origin && event.origin !== parent) return;
    let answer;
    try {
      answer = { result: await api[name](...(Array.isArray(argument) ? argument : [argument])) };
    } catch (error) {
      answer = { error: error.message };
    }
    event.source?.postMessage({ scenerep: "answer", id, ...answer }, event.origin);
  });
}
