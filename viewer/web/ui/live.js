/** A training on the page: its panel, and its scene in the first slot. */
import { watchTraining } from "../live.js";
import { el, get, tellError } from "./dom.js";

export function setUpLive(app) {
  const container = el("div", { id: "training" });
  document.body.append(container);
  watchTraining({
    container,
    url: "live",
    renderer: app.renderer,
    camera: () => app.camera(),
    swap: (scene, note) => app.replace(scene, { name: `step ${note.step.toLocaleString("en")}`, bytes: note.bytes }),
    onError: tellError,
  });
  get("landing").hidden = true;
}
