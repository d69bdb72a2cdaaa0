/** Numbers about what is shown; they can be copied as JSON. */
import { bytesText, el, get, tell } from "./dom.js";

export function setUpStats(app, open) {
  const summary = el("summary", { text: "no scene" });
  const list = el("dl");
  const copy = el("button", {
    type: "button", text: "Copy as JSON",
    onclick: async () => {
      try {
        await navigator.clipboard.writeText(JSON.stringify(app.stats(), null, 1));
        tell("The statistics are in the clipboard.");
      } catch {
        tell("The browser does not let this page write to the clipboard.", { hint: "window.scenerep.stats() in its console has them" });
      }
    },
  });
  const details = el("details", { open }, summary, list, copy);
  get("stats").append(details);
  let last = -Infinity;
  const show = (always = false) => {
    const now = performance.now();
    if (!always && now - last < 250) return;
    last = now;
    const stats = app.stats();
    const [first] = stats.scenes;
    const fps = stats.fps ? ` · ${stats.fps.toFixed(0)} fps` : "";
    const coarse = stats.fineness < 1 ? ` · ${Math.round(100 * stats.fineness)} % size while moving` : "";
    summary.textContent = first ? `${first.splats.toLocaleString("en")} ${first.noun}s · ${bytesText(first.bytes)}${fps}${coarse}` : "no scene";
    if (!details.open) return;
    const rows = [["frame", stats.frameMs ? `${stats.frameMs.toFixed(1)} ms` : "–"], ["draw calls", `${stats.drawMs.toFixed(1)} ms`], ["picture", `${stats.size[0]} × ${stats.size[1]}`], ["blending", stats.blending]];
    for (const scene of stats.scenes) {
      rows.push(
        ["scene", scene.name], [`${scene.noun}s`, `${scene.drawn.toLocaleString("en")} of ${scene.splats.toLocaleString("en")}`],
        ["received", `${bytesText(scene.received)} of ${bytesText(scene.bytes)}`], [`bits a ${scene.noun}`, scene.bitsPerSplat?.toFixed(1) ?? "–"],
        ["layers", scene.layerCount ? `${scene.layers} of ${scene.layerCount}` : "–"], ["decoding", `${scene.decodeMs.toFixed(0)} ms`],
        ["first picture", scene.firstMs === null ? "–" : `${scene.firstMs.toFixed(0)} ms`], ["sort", scene.sortMs === null ? "–" : `${scene.sortMs.toFixed(1)} ms`], ["GPU memory", bytesText(scene.gpuBytes)],
      );
    }
    list.replaceChildren(...rows.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })]));
  };
  details.addEventListener("toggle", () => show(true));
  app.addEventListener("drawn", () => show());
  ["loaded", "progress", "rest"].forEach((type) => app.addEventListener(type, () => show(true)));
}
