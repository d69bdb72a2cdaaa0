/** Two scenes and one camera: a divider, flicker, a map of differences. */
import { nounOf } from "../app.js";
import { fileSource } from "../load/source.js";
import { bytesText, el, get, row, tellError } from "./dom.js";

const STEP = 0.02; // of the width, by an arrow key

export function setUpCompare(app, panel) {
  const divider = get("divider");
  const labels = get("labels");
  let before = null; // the mode while Space shows one of them

  const place = (share) => {
    app.divider = Math.min(1, Math.max(0, share));
    divider.style.left = `${100 * app.divider}%`;
    divider.setAttribute("aria-valuenow", Math.round(100 * app.divider));
    app.invalidate();
  };
  divider.addEventListener("pointerdown", (e) => {
    divider.setPointerCapture(e.pointerId);
    e.preventDefault();
    divider.focus();
  });
  divider.addEventListener("pointermove", (e) => {
    if (!divider.hasPointerCapture(e.pointerId)) return;
    const box = app.canvas.getBoundingClientRect();
    place((e.clientX - box.left) / box.width);
  });
  divider.addEventListener("keydown", (e) => {
    const moves = { ArrowLeft: app.divider - STEP, ArrowRight: app.divider + STEP, Home: 0, End: 1, PageUp: app.divider + 5 * STEP, PageDown: app.divider - 5 * STEP };
    if (!(e.key in moves)) return;
    e.preventDefault();
    place(moves[e.key]);
  });

  // Space shows the other side while it is held.
  addEventListener("keydown", (e) => {
    if (e.code !== "Space" || e.repeat || !app.slots[1]?.scene || e.target.matches("button, input, select, textarea, summary")) return;
    e.preventDefault();
    before ??= app.mode;
    app.setMode(before === "second" ? "first" : "second");
  });
  addEventListener("keyup", (e) => {
    if (e.code !== "Space" || before === null) return;
    app.setMode(before);
    before = null;
  });

  const label = (slot, side) => {
    const entry = app.slots[slot];
    if (!entry?.head) return null;
    const { head } = entry;
    const bits = head.count && head.bytes ? ` · ${((8 * head.bytes) / head.count).toFixed(1)} bits a ${nounOf(head)}` : "";
    const psnr = entry.psnr ? ` · ${entry.psnr.db.toFixed(2)} dB at ${entry.psnr.camera}` : "";
    return el("div", { class: `label ${side}` }, el("b", { text: entry.name }), `${bytesText(head.bytes)} · ${head.count.toLocaleString("en")} ${nounOf(head)}s${bits}${psnr}`);
  };
  const show = () => {
    divider.hidden = app.mode !== "split" && !app.photoSide;
    place(app.divider);
    const both = app.slots[1]?.head;
    const shown = app.photoSide
      ? [label(0, "left"), el("div", { class: "label right" }, el("b", { text: "photograph" }))]
      : !both
        ? [app.slots[0]?.psnr ? label(0, "left") : null]
        : app.mode === "split"
          ? [label(0, "left"), label(1, "right")]
          : app.mode === "difference"
            ? [el("div", { class: "label left" }, el("b", { text: "difference" }), `× ${app.differenceGain}: black is equal, yellow is ${(255 / app.differenceGain).toFixed(0)} of 255 or more`)]
            : [label(app.mode === "second" ? 1 : 0, "left")];
    labels.replaceChildren(...shown.filter(Boolean));
  };
  ["mode", "head", "loaded"].forEach((type) => app.addEventListener(type, show));

  const build = () => {
    const choose = el("input", { type: "file", accept: ".srz,.ply,.splat,.spz,.sog", "aria-label": "Second scene file", onchange: async (e) => {
      const [file] = e.target.files;
      if (!file) return;
      await app.open(fileSource(file), 1, { keepView: true }).catch(tellError);
      app.setMode("split");
      panel.refresh("compare", build);
    } });
    if (!app.slots[1]) return [el("p", { text: "Choose a second file to see beside this one, from the same camera. Two files dropped together are compared at once." }), choose];
    const modes = [["split", "divider"], ["first", app.slots[0]?.name ?? "first"], ["second", app.slots[1].name], ["difference", "difference"]];
    const gain = el("input", { type: "range", min: 0, max: 6, step: 1, value: Math.log2(app.differenceGain), oninput: (e) => {
      app.differenceGain = 2 ** Number(e.target.value);
      app.setMode("difference");
    } });
    return [
      el("div", { class: "buttons" }, ...modes.map(([mode, text]) => el("button", { type: "button", text, "aria-pressed": String(app.mode === mode), onclick: () => {
        app.setMode(mode);
        panel.refresh("compare", build);
      } }))),
      row("Amplify difference", gain),
      el("p", { text: "Hold Space to flicker between the two. Arrow keys move the divider when it has the focus." }),
      el("div", { class: "buttons" }, el("button", { type: "button", text: "Swap sides", onclick: () => {
        app.slots.reverse();
        app.setMode(app.mode);
        panel.refresh("compare", build);
      } }), el("button", { type: "button", text: "Close the second", onclick: () => {
        app.close(1);
        panel.refresh("compare", build);
      } })),
    ];
  };
  app.addEventListener("head", () => panel.refresh("compare", build));
  return { name: "compare", label: "Compare", key: "c", panel: true, run: (button) => panel.toggle("compare", "Compare", button, build) };
}
