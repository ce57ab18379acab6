// The site picker: a search box, the first matches as checkboxes, and chips for the selected sites. It loads only the
// matches that it shows.

import { query, request } from "./api.js";
import { announce, busy, byId, el, isolated } from "./dom.js";

const SHOWN = 50;

export class Picker {
  constructor() {
    this.selected = new Map();
    this.workspace = null;
    this.running = null;
    this.timer = null;
    byId("picker-search").addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.search(), 120);
    });
    byId("picker-search").addEventListener("keydown", async (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      clearTimeout(this.timer);
      // The list may still show the matches of an earlier search.
      if (!byId("picker-search").value.trim() || !(await this.search())) return;
      byId("picker").querySelector("input:not(:checked)")?.click();
    });
  }

  reset(workspace) {
    this.workspace = workspace;
    this.selected.clear();
    byId("picker-search").value = "";
    byId("chips").replaceChildren();
    this.count();
    byId("picker").replaceChildren();
    this.note("");
    return this.search();
  }

  // Show the matches. Returns false if a later search has replaced this one, or on an error.
  async search() {
    this.running?.abort();
    this.running = new AbortController();
    const search = byId("picker-search").value.trim();
    try {
      const page = await request("GET", query("sites", { workspace: this.workspace, search, limit: SHOWN }), undefined, { signal: this.running.signal });
      this.show(page, search);
      return true;
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
      return false;
    }
  }

  show(page, search) {
    byId("picker").replaceChildren(...page.items.map((site) => this.choice(site)));
    byId("picker").scrollTop = 0;
    let note = "";
    if (!page.items.length) note = search ? `No site begins with “${search}”.` : "This workspace has no sites yet. Add them on the Sites page.";
    else if (page.next) note = `Showing the first ${SHOWN}. Type to find others.`;
    this.note(note);
  }

  // Clear the list, because it no longer matches the search.
  fail(error) {
    const retry = el("button", { type: "button", class: "small", onclick: () => busy(retry, async () => {
      await this.search();
      (byId("picker").querySelector(".retry button") ?? byId("picker-search")).focus();
    }) }, "Try again");
    byId("picker").replaceChildren(el("li", { class: "retry" }, retry));
    this.note(error.message, "error");
  }

  note(text, className = "quiet") {
    byId("picker-note").className = className;
    byId("picker-note").textContent = text;
  }

  choice(site) {
    const box = el("input", { type: "checkbox", value: site.id });
    box.checked = this.selected.has(site.id);
    box.addEventListener("change", () => (box.checked ? this.add(site.id) : this.remove(site.id)));
    const name = site.display_name === site.id ? null : isolated(site.display_name, { class: "quiet" });
    return el("li", {}, el("label", {}, box, isolated(site.id), name));
  }

  add(id) {
    const chip = el("button", { type: "button", "aria-label": `Remove ${id}`, onclick: () => {
      const next = chip.parentElement.nextElementSibling ?? chip.parentElement.previousElementSibling;
      this.remove(id);
      (next?.firstElementChild ?? byId("picker-search")).focus();
    } }, isolated(id), el("span", { "aria-hidden": "true" }, "×"));
    const item = el("li", {}, chip);
    this.selected.set(id, item);
    byId("chips").append(item);
    byId("create-sites-error").textContent = "";
    this.count();
    byId("chips").scrollTop = byId("chips").scrollHeight;
    announce(`${id} selected. ${this.selected.size} in total.`);
  }

  remove(id) {
    this.selected.get(id)?.remove();
    this.selected.delete(id);
    this.count();
    for (const box of byId("picker").querySelectorAll("input")) if (box.value === id) box.checked = false;
    announce(`${id} removed. ${this.selected.size} in total.`);
  }

  count() {
    byId("selected-count").textContent = this.selected.size ? `${this.selected.size} selected` : "";
  }

  get sites() {
    return [...this.selected.keys()];
  }
}
