/** The one panel at the side; tools take turns in it. */
import { el, get, icon } from "./dom.js";

export class Panel {
  constructor(app) {
    this.app = app;
    this.element = get("panel");
    this.owner = null;
  }

  /** Shows `build()` under a title, or closes it if it is open. @returns {boolean} Whether it is open now. */
  toggle(owner, title, button, build, onClose = () => {}) {
    if (this.owner === owner) {
      this.close();
      return false;
    }
    this.close();
    Object.assign(this, { owner, button, onClose });
    this.element.replaceChildren(
      el("h2", {}, title, el("button", { class: "close", type: "button", "aria-label": "Close", onclick: () => this.close() }, icon("close"))),
      ...[build()].flat(),
    );
    this.element.setAttribute("aria-label", title);
    this.element.hidden = false;
    button?.setAttribute("aria-expanded", "true");
    return true;
  }

  /** Builds the content of `owner` anew, if it is the one that is open. */
  refresh(owner, build) {
    if (this.owner !== owner) return;
    [...this.element.children].slice(1).forEach((child) => child.remove());
    this.element.append(...[build()].flat());
  }

  close() {
    if (!this.owner) return;
    this.button?.setAttribute("aria-expanded", "false");
    this.element.hidden = true;
    const { onClose } = this;
    this.owner = null;
    onClose();
    get("view").focus({ preventScroll: true });
  }
}
