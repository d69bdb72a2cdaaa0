/** Keys and gestures. */
import { el } from "./dom.js";

const MOUSE = [
  ["Drag, one finger", "turn around"],
  ["Right drag, Shift + drag, two fingers", "move"],
  ["Wheel, pinch", "nearer and farther"],
  ["Double-click", "go to what is there"],
];
const KEYS = [
  ["Arrows", "turn"], ["W A S D", "move"], ["Q E", "down, up"], ["+ −", "nearer, farther"], ["Shift", "faster"],
  ["R", "back to the start"], ["F", "whole scene"], ["1 … 9", "camera of the capture"], ["Space", "compare: flicker while held"],
  ["O", "open"], ["V", "cameras"], ["C", "compare"], ["P", "camera path"], ["M", "measure and crop"], ["X", "picture"], ["G", "settings"], ["?", "this help"],
];

export function setUpHelp(app, panel) {
  const list = (pairs) => el("dl", {}, ...pairs.flatMap(([key, what]) => [el("dt", {}, el("kbd", { text: key })), el("dd", { text: what })]));
  const build = () => [
    el("h3", { text: "Mouse and touch" }), list(MOUSE),
    el("h3", { text: "Keys" }), list(KEYS),
    el("p", { text: "Files that you open stay on this machine." }),
  ];
  return { name: "help", label: "Help", key: "?", panel: true, run: (button) => panel.toggle("help", "Help", button, build) };
}
