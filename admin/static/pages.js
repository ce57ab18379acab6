// Lists in pages, forwards by the API's `next`, backwards by what was remembered. Loading says whether it did.

import { busy, el } from "./dom.js";

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
    const previous = el("button", { type: "button", onclick: () => busy(this.place, () => this.turn(...this.back())) }, "Previous");
    const following = el("button", { type: "button", onclick: () => busy(this.place, () => this.turn([...this.before, this.after], next)) }, "Next");
    previous.disabled = !this.before.length;
    following.disabled = !next;
    const needed = this.before.length || next;
    this.place.replaceChildren(...(needed ? [el("span", { class: "quiet" }, `Page ${this.before.length + 1}`), previous, following] : []));
  }

  back() {
    return [this.before.slice(0, -1), this.before.at(-1)];
  }

  // Where the last of a page went, so does the page. Returns whether there is one before it, which is then shown.
  async leaveEmpty() {
    if (!this.before.length) return false;
    [this.before, this.after] = this.back();
    await this.load();
    return true;
  }

  async turn(before, after) {
    const was = [this.before, this.after];
    [this.before, this.after] = [before, after];
    if (!(await this.load())) {
      // Unless the list was begun anew meanwhile, the page that is shown is still the one before.
      if (this.before === before) [this.before, this.after] = was;
      return;
    }
    this.place.closest("section").querySelector("h1").focus();
    scrollTo(0, 0);
  }
}
