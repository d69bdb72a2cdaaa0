/** Starts the page: what the address and the server ask for, drag and drop, keys, the toolbar. */
import { App } from "./app.js";
import { fileSource, urlSource } from "./load/source.js";
import { createRenderer } from "./render/renderer.js";
import { setUpCompare } from "./ui/compare.js";
import { el, get, icon, tell, tellError } from "./ui/dom.js";
import { setUpHelp } from "./ui/help.js";
import { setUpLive } from "./ui/live.js";
import { setUpMeasure } from "./ui/measure.js";
import { offerApi } from "./ui/embed.js";
import { Panel } from "./ui/panel.js";
import { setUpPath } from "./ui/path.js";
import { setUpSettings } from "./ui/settings.js";
import { setUpShot } from "./ui/shot.js";
import { setUpStats } from "./ui/stats.js";
import { setUpViews } from "./ui/views.js";

const FORMATS = ".srz, .ply, .spz, .sog or .splat";
const asked = new URLSearchParams(location.search);

async function start() {
  let app;
  const told = await describe();
  const voxels = told?.scenes?.some((scene) => scene.voxels); // which only WebGL 2 draws
  try {
    app = new App(get("view"), await createRenderer(get("view"), asked.get("renderer") ?? (voxels ? "webgl2" : null)));
  } catch (error) {
    get("landing").hidden = false;
    get("landing").append(el("div", {}, el("h2", { text: "This browser cannot draw the scene" }), el("p", { text: error.message })));
    return;
  }
  document.body.classList.toggle("bare", asked.get("ui") === "0");
  const panel = new Panel(app);
  const tools = [
    { name: "open", label: "Open", key: "o", run: () => get("file").click() },
    setUpViews(app, panel),
    setUpCompare(app, panel),
    setUpPath(app),
    setUpMeasure(app, panel),
    setUpShot(app, panel),
    setUpSettings(app, panel),
    setUpHelp(app, panel),
  ];
  setUpStats(app, asked.get("stats") === "1");
  setUpToolbar(tools);
  setUpKeys(app, tools, panel);
  setUpFiles(app);
  setUpProgress(app);
  setUpAddress(app);
  offerApi(app, asked);
  app.addEventListener("failed", ({ error, slot }) => {
    tellError(error);
    if (slot === 0 && !app.slots[0]) showLanding(app);
  });
  const numbers = (key) => asked.get(key)?.split(",").map(Number);
  if (asked.has("budget")) app.setBudget(Math.max(1, Number(asked.get("budget")) || Infinity));
  if (numbers("bg")?.length === 3) app.setBackground(numbers("bg"));
  if (app.view.fromHash(location.hash)) {
    app.placed = true;
    app.home = app.view.copy();
  }
  await openWhatIsAsked(app, told);
}

/** `?scene=` and `?compare=`, else what scenes.json beside the page names, else an invitation. */
async function openWhatIsAsked(app, told) {
  const urls = ["scene", "compare"].map((key) => asked.get(key)).filter(Boolean);
  if (told) {
    app.told = told;
    get("title").textContent = told.title || "scenerep";
    document.title = told.title ? `${told.title} – scenerep` : "scenerep";
    if (told.up) app.view.up = told.up;
    if (told.background && !asked.has("bg")) app.setBackground(told.background);
    if (told.budget && !asked.has("budget")) app.setBudget(told.budget);
    app.cameras = told.cameras ?? [];
    const first = app.cameras[told.start];
    if (first && !app.placed) app.lookThrough(first);
    app.emit("cameras");
    if (told.live) setUpLive(app);
  }
  const scenes = urls.length ? urls.map((url) => ({ url: told?.scenes?.find((scene) => scene.id === url)?.url ?? url })) : (told?.scenes ?? []);
  if (scenes.length === 0) {
    if (!told?.live) showLanding(app);
    return;
  }
  await Promise.all(scenes.slice(0, 2).map((scene, slot) => openUrl(app, scene, slot)));
  // The middle of what the first camera sees was not known before.
  const first = app.cameras[told?.start];
  if (first && !location.hash) app.view.distance = app.distanceFrom(first);
}

async function openUrl(app, { url, name }, slot) {
  try {
    const given = new URL(url, location.href);
    if (!["http:", "https:", "blob:"].includes(given.protocol)) throw new Error(`${url} is no address of a scene`);
    const source = await urlSource(given, name ? { name } : {});
    await app.open(source, slot);
    if (slot === 1) app.setMode("split");
  } catch (error) {
    tellError(error);
    if (slot === 0) showLanding(app);
  }
}

async function describe() {
  try {
    const answer = await fetch("scenes.json", { headers: { Accept: "application/json" } });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null; // a static host without one
  }
}

function showLanding(app) {
  if (app.slots[0]) return;
  const landing = get("landing");
  landing.replaceChildren(
    el(
      "div",
      {},
      el("h2", { text: "Open a 3D scene" }),
      el("p", { text: `Drop a ${FORMATS} file anywhere on this page, or choose one. It stays on your machine: nothing is uploaded.` }),
      el("button", { class: "primary", onclick: () => get("file").click() }, icon("open"), "Choose a file"),
    ),
  );
  landing.hidden = false;
}

function setUpToolbar(tools) {
  for (const tool of tools) {
    tool.button = el(
      "button",
      { type: "button", title: `${tool.label} (${tool.key.toUpperCase()})`, "aria-label": tool.label, "aria-keyshortcuts": tool.key, onclick: () => tool.run(tool.button) },
      icon(tool.icon ?? tool.name),
      el("span", { text: tool.label }),
    );
    if (tool.panel) tool.button.setAttribute("aria-expanded", "false");
    get("tools").append(tool.button);
  }
}

function setUpKeys(app, tools, panel) {
  addEventListener("keydown", (e) => {
    if (e.repeat || e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input, select, textarea")) return;
    const key = e.key.toLowerCase();
    const tool = tools.find((t) => t.key === key);
    if (tool) tool.run(tool.button);
    else if (key === "r") app.reset();
    else if (key === "f" && app.slots[0]?.scene) app.frameScene(app.slots[0].scene);
    else if (key === "escape") panel.close();
    else if (key >= "1" && key <= "9" && app.cameras.length) app.lookThrough(app.cameras[Math.min(app.cameras.length - 1, Number(key) - 1)], true);
    else return;
    e.preventDefault();
  });
}

function setUpFiles(app) {
  const open = async (files) => {
    if (files.length === 0) return;
    get("landing").hidden = true;
    app.placed = false;
    app.home = null;
    app.cameras = [];
    app.told = null;
    app.emit("cameras");
    if (files.length > 2) tell("Two files at most are shown side by side; the first two were taken.");
    get("title").textContent = [...files].slice(0, 2).map((file) => file.name).join(" | ");
    if (files.length === 1) app.close(1);
    await Promise.all([...files].slice(0, 2).map((file, slot) => app.open(fileSource(file), slot)));
    if (files.length > 1) app.setMode("split");
    get("view").focus();
  };
  get("file").addEventListener("change", (e) => {
    open([...e.target.files]);
    e.target.value = "";
  });
  let depth = 0; // of nested elements that are dragged over
  addEventListener("dragenter", (e) => {
    e.preventDefault();
    depth++;
    get("drop").hidden = false;
  });
  addEventListener("dragover", (e) => e.preventDefault());
  addEventListener("dragleave", () => {
    if (--depth <= 0) get("drop").hidden = true;
  });
  addEventListener("drop", (e) => {
    e.preventDefault();
    depth = 0;
    get("drop").hidden = true;
    open([...e.dataTransfer.files]);
  });
}

function setUpProgress(app) {
  const bar = get("progress");
  const show = () => {
    const open = app.slots.filter((entry) => entry?.head && entry.doneMs === null && !entry.error);
    bar.hidden = open.length === 0;
    const share = open.reduce((sum, entry) => sum + entry.scene.count / Math.max(1, entry.head.count), 0) / Math.max(1, open.length);
    bar.setAttribute("aria-valuenow", Math.round(100 * share));
    bar.firstElementChild.style.width = `${100 * share}%`;
  };
  ["head", "progress", "loaded", "failed"].forEach((type) => app.addEventListener(type, show));
  app.addEventListener("loading", () => (get("landing").hidden = true));
}

/** The pose in the address, once the picture rests. */
function setUpAddress(app) {
  app.addEventListener("rest", () => app.placed && history.replaceState(null, "", `#${app.view.toHash()}`));
  addEventListener("hashchange", () => {
    if (app.view.fromHash(location.hash)) app.wake();
  });
}

start();
