// Pagination of a list: forward with the API's `next` cursor, backward with the cursors of the previous pages.

import { busy, el } from "./dom.js";

export class Pages {
  // `load` loads the page after the cursor `after` and returns whether it succeeded.
  constructor(container, load) {
    this.container = container;
    this.load = load;
    this.before = [];
    this.after = null;
  }

  reset() {
    this.before = [];
    this.after = null;
  }

  show(next) {
    const previous = el("button", { type: "button", onclick: () => busy(this.container, () => this.turn(...this.back())) }, "Previous");
    const following = el("button", { type: "button", onclick: () => busy(this.container, () => this.turn([...this.before, this.after], next)) }, "Next");
    previous.disabled = !this.before.length;
    following.disabled = !next;
    const needed = this.before.length || next;
    this.container.replaceChildren(...(needed ? [el("span", { class: "quiet" }, `Page ${this.before.length + 1}`), previous, following] : []));
  }

  back() {
    return [this.before.slice(0, -1), this.before.at(-1)];
  }

  // After the last item of a page was deleted, show the previous page. Returns whether there is one.
  async leaveEmpty() {
    if (!this.before.length) return false;
    [this.before, this.after] = this.back();
    await this.load();
    return true;
  }

  async turn(before, after) {
    const current = [this.before, this.after];
    [this.before, this.after] = [before, after];
    if (!(await this.load())) {
      // The page did not change, unless the list was reset in the meantime.
      if (this.before === before) [this.before, this.after] = current;
      return;
    }
    this.container.closest("section").querySelector("h1").focus();
    scrollTo(0, 0);
  }
}
