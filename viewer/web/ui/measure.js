/** Distances between two points, and a box to crop by. */
import { pixelOf } from "../view/pick.js";
import { length, subtract } from "../view/math.js";
import { download, el, get, row, tell } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const EDGES = [[0, 1], [0, 2], [0, 4], [1, 3], [1, 5], [2, 3], [2, 6], [3, 7], [4, 5], [4, 6], [5, 7], [6, 7]];

export function setUpMeasure(app, panel) {
  const drawing = get("drawing");
  let points = []; // of the distance that is measured
  let unit = { factor: 1, name: "" }; // world units to the user's
  let box = null; // [x, y, z, X, Y, Z]
  const open = () => panel.owner === "measure";

  const draw = () => {
    drawing.replaceChildren();
    const camera = app.camera();
    const place = (point) => pixelOf(camera, point)?.map((v) => v / app.dpr) ?? null;
    const add = (tag, attributes, text) => {
      const made = document.createElementNS(SVG, tag);
      Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
      if (text) made.textContent = text;
      drawing.append(made);
    };
    if (box && open()) {
      const corners = [...Array(8).keys()].map((i) => place([0, 1, 2].map((a) => box[i & (1 << a) ? a + 3 : a])));
      for (const [i, j] of EDGES) {
        const [p, q] = [corners[i], corners[j]];
        if (p && q) add("line", { class: "box", x1: p[0], y1: p[1], x2: q[0], y2: q[1] });
      }
    }
    const at = points.map(place);
    if (at.length === 2 && at[0] && at[1]) {
      add("line", { x1: at[0][0], y1: at[0][1], x2: at[1][0], y2: at[1][1] });
      add("text", { x: (at[0][0] + at[1][0]) / 2 + 8, y: (at[0][1] + at[1][1]) / 2 - 8 }, distanceText());
    }
    at.filter(Boolean).forEach(([cx, cy]) => add("circle", { cx, cy, r: 5 }));
  };
  const distance = () => (points.length === 2 ? length(subtract(points[0], points[1])) : null);
  const distanceText = () => (distance() === null ? "–" : `${(distance() * unit.factor).toPrecision(4)} ${unit.name}`.trim());

  app.addEventListener("pick", ({ x, y }) => {
    if (!open()) return;
    const point = app.pick(x, y);
    if (!point) {
      tell("There is nothing at that place.");
      return;
    }
    points = points.length >= 2 ? [point] : [...points, point];
    panel.refresh("measure", build);
    draw();
  });
  app.addEventListener("drawn", () => (points.length || box ? draw() : drawing.firstChild && drawing.replaceChildren()));

  const crop = (next) => {
    box = next;
    app.scenes.forEach((scene) => (scene.box = box));
    app.invalidate();
  };
  const bounds = () => {
    const scene = app.slots[0]?.scene;
    if (!scene) return null;
    const axes = [[], [], []];
    for (const { means, count } of scene.chunks) for (let i = 0; i < count; i += 7) axes.forEach((axis, a) => axis.push(means[3 * i + a]));
    if (axes[0].length === 0) return null;
    return [0.02, 0.98].flatMap((share) => axes.map((axis) => axis.sort((a, b) => a - b)[Math.floor(share * (axis.length - 1))]));
  };

  const build = () => {
    const known = el("input", { type: "number", min: 0, step: "any", placeholder: "known length" });
    const name = el("input", { type: "text", value: unit.name, placeholder: "unit, such as m" });
    const set = el("button", { type: "button", text: "This is that long", disabled: distance() === null, onclick: () => {
      if (!(Number(known.value) > 0) || !distance()) return;
      unit = { factor: Number(known.value) / distance(), name: name.value.trim() };
      panel.refresh("measure", build);
      draw();
    } });
    const content = [
      el("p", { text: points.length < 2 ? "Click on two points of the scene." : "" }),
      row("Distance", el("output", { text: distanceText() })), row("Known length", known), row("Unit", name),
      el("div", { class: "buttons" }, set, el("button", { type: "button", text: "Clear", onclick: () => {
        points = [];
        panel.refresh("measure", build);
        draw();
      } })),
      el("h3", { text: "Crop" }),
    ];
    if (!box) {
      content.push(el("div", { class: "buttons" }, el("button", { type: "button", text: "Crop by a box", disabled: !bounds(), onclick: () => {
        crop(bounds());
        panel.refresh("measure", build);
      } })));
      return content;
    }
    const whole = bounds();
    for (let a = 0; a < 3; a++) {
      const margin = 0.5 * (whole[a + 3] - whole[a]) + 1e-6;
      for (const side of [a, a + 3]) {
        content.push(row(`${"xyz"[a]} ${side < 3 ? "from" : "to"}`, el("input", { type: "range", step: "any", min: whole[a] - margin, max: whole[a + 3] + margin, value: box[side], oninput: (e) => {
          const next = [...box];
          next[side] = Number(e.target.value);
          if (next[a] <= next[a + 3]) crop(next);
        } })));
      }
    }
    content.push(el("div", { class: "buttons" },
      el("button", { class: "primary", type: "button", text: "Save crop.json", onclick: () => download("crop.json", new Blob([`${JSON.stringify({ crop_box: box }, null, 1)}\n`], { type: "application/json" })) }),
      el("button", { type: "button", text: "No crop", onclick: () => {
        crop(null);
        panel.refresh("measure", build);
      } }),
    ), el("p", { text: "`scenerep export SCENE out.ply --crop crop.json` cuts the file." }));
    return content;
  };
  app.addEventListener("head", () => box && crop(box));
  return {
    name: "measure", label: "Measure", key: "m", panel: true,
    run: (button) => {
      const now = panel.toggle("measure", "Measure and crop", button, build, () => {
        app.canvas.classList.remove("pointing");
        app.invalidate();
      });
      app.canvas.classList.toggle("pointing", now);
      app.invalidate();
    },
  };
}
