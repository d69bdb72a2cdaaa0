/** Keyframes on a timeline. */
import { CameraPath } from "../view/path.js";
import { download, el, get, tell, tellError } from "./dom.js";

export function setUpPath(app) {
  const bar = get("timeline");
  let path = new CameraPath();
  let time = 0;
  let recorder = null;

  const go = (t) => {
    time = t;
    const view = path.at(t);
    if (view) {
      app.view.assign(view);
      app.placed = true;
      app.wake();
    }
    scrub.value = t;
  };
  const stop = () => {
    app.playing = false;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
    recorder?.stop();
    recorder = null;
  };
  app.addEventListener("tick", ({ passed }) => {
    if (!app.playing) return;
    const next = time + Math.min(passed, 200) / 1000;
    if (next >= path.duration && !(path.loops && !recorder)) {
      go(path.duration);
      stop();
    } else go(next % Math.max(path.duration, 1e-6));
  });
  app.controls.element.addEventListener("pointerdown", () => app.playing && stop());

  const scrub = el("input", { type: "range", min: 0, max: 0, step: "any", value: 0, "aria-label": "Time in seconds", oninput: () => go(Number(scrub.value)) });
  const keys = el("div", { class: "keys" });
  const play = el("button", { type: "button", text: "Play", "aria-pressed": "false", onclick: () => {
    if (app.playing) return stop();
    if (path.segments === 0) return tell("A path needs two keyframes: move, then add one.");
    if (time >= path.duration) time = 0;
    app.playing = true;
    play.textContent = "Stop";
    play.setAttribute("aria-pressed", "true");
    return app.invalidate();
  } });
  const seconds = el("input", { type: "number", min: 0.1, max: 60, step: 0.1, value: path.seconds, onchange: () => {
    path.seconds = Math.max(0.1, Number(seconds.value) || 2);
    show();
  } });
  const loops = el("input", { type: "checkbox", onchange: () => {
    path.loops = loops.checked;
    show();
  } });
  const file = el("input", { type: "file", accept: ".json,application/json", hidden: true, onchange: async () => {
    const [chosen] = file.files;
    file.value = "";
    if (!chosen) return;
    try {
      path = CameraPath.fromJson(await chosen.text());
      seconds.value = path.seconds;
      loops.checked = path.loops;
      go(0);
      show();
    } catch (error) {
      tellError(Object.assign(error, { hint: "a path saved here, or by nerfstudio's viewer" }));
    }
  } });

  const show = () => {
    scrub.max = path.duration;
    const step = path.segments ? 100 / path.segments : 0;
    keys.replaceChildren(...path.keys.map((_, i) => {
      const key = el("button", { type: "button", text: String(i + 1), title: `Keyframe ${i + 1}: click to go there, Delete to remove it`, onclick: () => go(Math.min(i * path.seconds, path.duration)), onkeydown: (e) => {
        if (e.key !== "Delete" && e.key !== "Backspace") return;
        e.stopPropagation();
        path.keys.splice(i, 1);
        show();
      } });
      key.style.left = `${Math.min(100, i * step)}%`;
      return key;
    }));
  };

  const record = async () => {
    if (path.segments === 0) return tell("A path needs two keyframes: move, then add one.");
    const type = ["video/webm;codecs=vp9", "video/webm"].find((t) => globalThis.MediaRecorder?.isTypeSupported(t));
    if (!type) return tell("This browser records no WebM.", { hint: "save the path and use `scenerep render --path`" });
    const pieces = [];
    recorder = new MediaRecorder(app.canvas.captureStream(path.fps), { mimeType: type, videoBitsPerSecond: 16e6 });
    recorder.ondataavailable = (e) => pieces.push(e.data);
    recorder.onstop = () => download("path.webm", new Blob(pieces, { type: "video/webm" }));
    recorder.start();
    go(0);
    play.click();
    return undefined;
  };

  bar.append(
    keys, scrub,
    el("div", { class: "buttons" }, play,
      el("button", { type: "button", class: "primary", text: "Add keyframe", onclick: () => {
        path.keys.push(app.view.copy());
        show();
        time = path.duration;
        scrub.value = time;
      } }),
      el("label", {}, "s each", seconds), el("label", {}, loops, "loop"),
      el("button", { type: "button", text: "Save", title: "camera_path.json, for `scenerep render --path`", onclick: () => {
        if (path.keys.length === 0) return tell("There are no keyframes yet.");
        const [w, h] = app.size();
        const even = (x) => 2 * Math.round(x / 2); // video codecs want even sides
        return download("camera_path.json", new Blob([`${JSON.stringify(path.toJson(even(w), even(h)), null, 1)}\n`], { type: "application/json" }));
      } }),
      el("button", { type: "button", text: "Load", onclick: () => file.click() }), file,
      el("button", { type: "button", text: "WebM", title: "Record what is shown; `scenerep render --path` makes better videos", onclick: record }),
    ),
  );
  return { name: "path", label: "Path", key: "p", run: (button) => {
    bar.hidden = !bar.hidden;
    button.setAttribute("aria-pressed", String(!bar.hidden));
    if (bar.hidden && app.playing) stop();
  } };
}
