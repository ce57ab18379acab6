// Lists in pages, forwards by the API's `next`, backwards by what was remembered.

import { el } from "./dom.js";

export class Pages {
  constructor(place, load) {
    this.place = place;
    this.load = load;
    this.before = [];
    this.after = null;
  }

  reset() {
    this.before = [];
    this.after = null;
  }

  show(next) {
    const previous = el("button", { type: "button", onclick: () => this.turn(this.before.pop()) }, "Previous");
    const following = el("button", { type: "button", onclick: () => { this.before.push(this.after); this.turn(next); } }, "Next");
    previous.disabled = !this.before.length;
    following.disabled = !next;
    const needed = this.before.length || next;
    this.place.replaceChildren(...(needed ? [el("span", { class: "quiet" }, `Page ${this.before.length + 1}`), previous, following] : []));
  }

  async turn(after) {
    this.after = after ?? null;
    await this.load();
    this.place.closest("section").querySelector("h1").focus();
    scrollTo(0, 0);
  }
}
