/** Pictures of any size. */
import { download, el, row, tellError } from "./dom.js";

export function setUpShot(app, panel) {
  const build = () => {
    const [w, h] = app.size();
    const width = el("input", { type: "number", min: 1, max: 16384, value: w });
    const height = el("input", { type: "number", min: 1, max: 16384, value: h });
    const factor = (times) => () => {
      width.value = w * times;
      height.value = h * times;
    };
    const save = el("button", { class: "primary", type: "button", text: "Save PNG", onclick: async () => {
      save.disabled = true;
      try {
        const size = { width: Math.round(Number(width.value)), height: Math.round(Number(height.value)) };
        const pixels = await app.capture({ ...size, slot: app.mode === "second" ? 1 : 0 });
        const canvas = new OffscreenCanvas(size.width, size.height);
        canvas.getContext("2d").putImageData(new ImageData(pixels, size.width, size.height), 0, 0);
        download(`${(app.slots[0]?.name ?? "scene").replace(/\.[^.]*$/, "")}.png`, await canvas.convertToBlob({ type: "image/png" }));
      } catch (error) {
        tellError(error);
      } finally {
        save.disabled = false;
      }
    } });
    return [
      row("Width", width), row("Height", height),
      el("div", { class: "buttons" }, el("button", { type: "button", text: "× 1", onclick: factor(1) }), el("button", { type: "button", text: "× 2", onclick: factor(2) }), el("button", { type: "button", text: "× 4", onclick: factor(4) }), save),
      el("p", { text: "Drawn anew in that size, blended in floats. The address of this page holds the pose." }),
    ];
  };
  return { name: "shot", label: "Picture", key: "x", panel: true, run: (button) => panel.toggle("shot", "Save a picture", button, build) };
}
