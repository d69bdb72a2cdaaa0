/** Elements in few words. */

/**
 * @param {string} tag
 * @param {object} attributes `on…` are listeners; `text` is the content; the others are attributes, false leaves one out.
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "text") made.textContent = value;
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const get = (id) => document.getElementById(id);

const ICONS = {
  open: "M3 7h6l2 2h10v10H3z",
  views: "M4 7h3l2-2h6l2 2h3v12H4z M12 9a4 4 0 1 0 0 8a4 4 0 1 0 0-8",
  compare: "M12 3v18 M8 7l-5 5 5 5 M16 7l5 5-5 5",
  path: "M5 19c6 0 3-14 9-14 3 0 4 3 4 5 M18 10l-2-3 M18 10l3-2",
  measure: "M3 17L17 3l4 4L7 21z M8 12l2 2 M11 9l2 2 M14 6l2 2",
  settings: "M4 7h10 M18 7h2 M4 17h2 M10 17h10 M14 5v4 M6 15v4",
  shot: "M4 4h5 M4 4v5 M20 4h-5 M20 4v5 M4 20h5 M4 20v-5 M20 20h-5 M20 20v-5",
  help: "M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2 M12 18v.01",
  close: "M6 6l12 12 M18 6L6 18",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A labelled control in a panel. */
export function row(label, control, output = null) {
  control.id ||= `c${Math.random().toString(36).slice(2)}`;
  return el("div", { class: "row" }, el("label", { for: control.id, text: label }), control, output);
}

/** Lets the user save bytes. */
export function download(name, blob) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export function bytesText(bytes) {
  if (bytes === null || bytes === undefined) return "?";
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toPrecision(3)} kB`;
  return `${(bytes / 1e6).toPrecision(3)} MB`;
}

/** Tells the user something; errors stay until they are closed. */
export function tell(text, { hint = "", bad = false } = {}) {
  const message = el("div", { class: bad ? "message bad" : "message", role: bad ? "alert" : false }, el("p", { text }));
  if (hint) message.append(el("p", { class: "hint", text: hint }));
  message.append(el("button", { "aria-label": "Close the message", onclick: () => message.remove() }, icon("close")));
  get("messages").append(message);
  if (!bad) setTimeout(() => message.remove(), 6000);
}

export function tellError(error) {
  console.warn(error);
  const text = error.expected ? error.message.replace(/ \([^)]*\)$/, "") : error.message;
  tell(text, { hint: error.hint ?? "", bad: true });
}
