/** The cameras of the capture: jump to one, lay its photograph over the scene, measure PSNR against it. */
import { el, get, row, tellError } from "./dom.js";

const THUMBNAIL = 160; // px

export function setUpViews(app, panel) {
  const photo = get("photo");
  let chosen = null; // the camera whose photograph is shown
  let opacity = 0.5;
  const place = () => {
    if (photo.hidden || !chosen) return;
    const box = app.canvas.getBoundingClientRect();
    const [x, y, w, h] = app.view.frame(box.width, box.height);
    Object.assign(photo.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px`, opacity: app.photoSide ? 1 : opacity });
    const clip = app.photoSide ? Math.max(0, Math.min(100, (100 * (app.divider * box.width - x)) / w)) : 0;
    photo.style.clipPath = app.photoSide ? `inset(0 0 0 ${clip}%)` : "none";
  };
  const hide = () => {
    photo.hidden = true;
    chosen = null;
    app.photoSide = false;
    app.emit("mode");
  };
  const show = (camera) => {
    app.lookThrough(camera, true);
    if (!camera.photo) return;
    photo.src = `${camera.photo}?w=${Math.min(camera.width, app.size()[0])}`;
    photo.hidden = false;
    chosen = camera;
    place();
    measure(app, camera).catch(tellError);
  };
  app.addEventListener("drawn", place);
  // As soon as somebody moves, the photograph no longer fits.
  app.addEventListener("tick", () => {
    if (chosen && !app.flight && app.controls.moving) hide();
  });

  const build = () => {
    if (app.cameras.length === 0) {
      return [el("p", { text: "The file comes without the capture's cameras. `scenerep view RUN` or `--data CAPTURE` brings them, with the photographs." })];
    }
    const slider = el("input", { type: "range", min: 0, max: 100, value: 100 * opacity, oninput: (e) => {
      opacity = Number(e.target.value) / 100;
      place();
    } });
    const side = el("input", { type: "checkbox", checked: app.photoSide, onchange: (e) => {
      app.photoSide = e.target.checked && !photo.hidden;
      e.target.checked = app.photoSide;
      app.emit("mode");
      place();
    } });
    const buttons = app.cameras.map((camera) =>
      el("button", { type: "button", title: camera.name, onclick: () => show(camera) }, camera.photo ? el("img", { src: `${camera.photo}?w=${THUMBNAIL}`, alt: "", loading: "lazy" }) : null, el("span", { text: camera.split === "test" ? `${camera.name} (held out)` : camera.name })),
    );
    return [
      row("Photograph over it", slider), row("Photograph as a side", side),
      el("div", { class: "buttons" }, el("button", { type: "button", text: "Hide the photograph", onclick: hide })),
      el("div", { class: "cameras" }, ...buttons),
    ];
  };
  app.addEventListener("cameras", () => panel.refresh("views", build));
  return { name: "views", label: "Cameras", key: "v", panel: true, run: (button) => panel.toggle("views", "Cameras", button, build) };
}

/** PSNR of each open scene against the photograph, at its own size: without ?w= it comes lossless. */
async function measure(app, camera) {
  const answer = await fetch(new URL(camera.photo, location.href));
  if (!answer.ok) return;
  const picture = await createImageBitmap(await answer.blob(), { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const truth = context.getImageData(0, 0, picture.width, picture.height).data;
  const view = app.view.copy();
  view.useCamera(camera);
  const [w, h] = [picture.width, picture.height];
  for (const [slot, entry] of app.slots.entries()) {
    if (!entry?.scene) continue;
    const found = await app.capture({ slot, camera: { ...view.camera(w, h), width: w, height: h } });
    let sum = 0;
    for (let i = 0; i < found.length; i += 4) for (let c = 0; c < 3; c++) sum += (found[i + c] - truth[i + c]) ** 2;
    entry.psnr = { camera: camera.name, db: 10 * Math.log10((255 * 255 * 3 * w * h) / Math.max(sum, 1e-9)) };
  }
  app.emit("mode");
}
