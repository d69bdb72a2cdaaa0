/** How the scene is drawn. */
import { el, row } from "./dom.js";

const AXES = { "−y (photographs, COLMAP)": [0, -1, 0], y: [0, 1, 0], z: [0, 0, 1], "−z": [0, 0, -1], x: [1, 0, 0], "−x": [-1, 0, 0] };
const hex = (rgb) => `#${rgb.map((v) => Math.round(255 * v).toString(16).padStart(2, "0")).join("")}`;

export function setUpSettings(app, panel) {
  const build = () => {
    const heads = app.slots.filter((entry) => entry?.head && !entry.head.voxels).map((entry) => entry.head);
    const count = Math.max(1, ...heads.map((head) => head.count));
    const degree = Math.max(0, ...heads.map((head) => head.degree));
    const budget = el("input", { type: "range", min: 0, max: 100, step: 1, value: app.budget && app.budget < count ? Math.round(100 * Math.sqrt(app.budget / count)) : 100 });
    const shown = el("output", { text: "" });
    const tellBudget = () => (shown.textContent = Number(budget.value) === 100 ? `all ${count.toLocaleString("en")} splats` : `${Math.round(count * (budget.value / 100) ** 2).toLocaleString("en")} of ${count.toLocaleString("en")}`);
    budget.addEventListener("input", () => {
      tellBudget();
      app.setBudget(Number(budget.value) === 100 ? Infinity : Math.max(1, Math.round(count * (budget.value / 100) ** 2)));
    });
    tellBudget();
    const select = (options, chosen, set) => {
      const made = el("select", { onchange: (e) => set(e.target.value) }, ...options.map(([value, text]) => el("option", { value, text, selected: String(value) === String(chosen) })));
      return made;
    };
    const check = (value, set) => el("input", { type: "checkbox", checked: value, onchange: (e) => set(e.target.checked) });
    const upName = Object.keys(AXES).find((name) => AXES[name].every((v, i) => Math.abs(v - app.view.up[i]) < 1e-3));
    const axes = [...(upName ? [] : [["", "from the cameras"]]), ...Object.keys(AXES).map((name) => [name, name])];
    const theme = document.documentElement.dataset.theme ?? "";
    return [
      ...(heads.length ? [row("Splats", budget, shown)] : []),
      row("Colour by direction", select([...Array(degree + 1).keys()].map((d) => [d, d === 0 ? "off" : `degree ${d}`]), Math.min(app.shDegree ?? degree, degree), (d) => app.setDegree(Number(d)))),
      row("Field of view", el("input", { type: "range", min: 15, max: 110, value: Math.round((app.view.lens.fov * 180) / Math.PI), "aria-label": "Field of view in degrees", oninput: (e) => {
        app.view.lens = { ...app.view.lens, fov: (Number(e.target.value) * Math.PI) / 180 };
        app.wake();
      } })),
      row("Background", el("input", { type: "color", value: hex(app.renderer.background), oninput: (e) => app.setBackground([1, 3, 5].map((i) => parseInt(e.target.value.slice(i, i + 2), 16) / 255)) })),
      row("Up", select(axes, upName ?? "", (name) => AXES[name] && app.setUp(AXES[name]))),
      row("Mouse", select([["orbit", "turns around the scene"], ["fly", "turns the head"]], app.controls.fly ? "fly" : "orbit", (v) => (app.controls.fly = v === "fly"))),
      row("Exact blending", check(app.renderer.wantsExact, (on) => {
        app.renderer.wantsExact = on;
        app.invalidate();
      })),
      row("Coarser in motion", check(app.adaptive, (on) => (app.adaptive = on))),
      row("Theme", select([["", "of the system"], ["dark", "dark"], ["light", "light"]], theme, (value) => {
        if (value) document.documentElement.dataset.theme = value;
        else delete document.documentElement.dataset.theme;
      })),
      el("div", { class: "buttons" }, el("button", { type: "button", text: "Whole scene (F)", onclick: () => app.slots[0]?.scene && app.frameScene(app.slots[0].scene) }), el("button", { type: "button", text: "Start (R)", onclick: () => app.reset() })),
      el("p", { text: app.renderer.blending === "8 bits" ? "This GPU cannot blend floats: rounded to 8 bits after every splat." : `Blended in ${app.renderer.blending}, rounded to 8 bits once. Half floats are faster on some GPUs.` }),
    ];
  };
  ["head", "background"].forEach((type) => app.addEventListener(type, () => type === "head" && panel.refresh("settings", build)));
  return { name: "settings", label: "Settings", key: "g", panel: true, run: (button) => panel.toggle("settings", "Settings", button, build) };
}
