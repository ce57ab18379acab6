// Choosing sites: a search, its first matches as checkboxes, chips for what is chosen. Only what is shown is loaded.

import { ask, query } from "./api.js";
import { busy, byId, el, named, say } from "./dom.js";

const SHOWN = 50;

export class Picker {
  constructor() {
    this.chosen = new Map();
    this.workspace = null;
    this.running = null;
    this.timer = null;
    byId("pick-search").addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.search(), 120);
    });
    byId("pick-search").addEventListener("keydown", async (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      clearTimeout(this.timer);
      // What is shown may still be what was searched for before.
      if (!byId("pick-search").value.trim() || !(await this.search())) return;
      byId("pick").querySelector("input:not(:checked)")?.click();
    });
  }

  reset(workspace) {
    this.workspace = workspace;
    this.chosen.clear();
    byId("pick-search").value = "";
    byId("chips").replaceChildren();
    this.count();
    byId("pick").replaceChildren();
    this.note("");
    return this.search();
  }

  // Show the matches; say whether they are still wanted.
  async search() {
    this.running?.abort();
    this.running = new AbortController();
    const wanted = byId("pick-search").value.trim();
    try {
      const page = await ask("GET", query("sites", { workspace: this.workspace, search: wanted, limit: SHOWN }), undefined, { signal: this.running.signal });
      this.show(page, wanted);
      return true;
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
      return false;
    }
  }

  show(page, wanted) {
    byId("pick").replaceChildren(...page.items.map((site) => this.choice(site)));
    byId("pick").scrollTop = 0;
    let said = "";
    if (!page.items.length) said = wanted ? `No site begins with “${wanted}”.` : "This workspace has no sites yet. Add them on the page Sites.";
    else if (page.next) said = `The first ${SHOWN} are shown: type to find others.`;
    this.note(said);
  }

  // Nothing is left to choose from that was not searched for.
  fail(error) {
    const again = el("button", { type: "button", class: "small", onclick: () => busy(again, async () => {
      await this.search();
      (byId("pick").querySelector(".again button") ?? byId("pick-search")).focus();
    }) }, "Try again");
    byId("pick").replaceChildren(el("li", { class: "again" }, again));
    this.note(error.message, "error");
  }

  note(text, looks = "quiet") {
    byId("pick-said").className = looks;
    byId("pick-said").textContent = text;
  }

  choice(site) {
    const box = el("input", { type: "checkbox", value: site.id });
    box.checked = this.chosen.has(site.id);
    box.addEventListener("change", () => (box.checked ? this.add(site.id) : this.remove(site.id)));
    const name = site.display_name === site.id ? null : named(site.display_name, { class: "quiet" });
    return el("li", {}, el("label", {}, box, named(site.id), name));
  }

  add(id) {
    const chip = el("button", { type: "button", "aria-label": `Remove ${id}`, onclick: () => {
      const next = chip.parentElement.nextElementSibling ?? chip.parentElement.previousElementSibling;
      this.remove(id);
      (next?.firstElementChild ?? byId("pick-search")).focus();
    } }, named(id), el("span", { "aria-hidden": "true" }, "×"));
    const item = el("li", {}, chip);
    this.chosen.set(id, item);
    byId("chips").append(item);
    byId("create-sites-error").textContent = "";
    this.count();
    byId("chips").scrollTop = byId("chips").scrollHeight;
    say(`${id} selected. ${this.chosen.size} in all.`);
  }

  remove(id) {
    this.chosen.get(id)?.remove();
    this.chosen.delete(id);
    this.count();
    for (const box of byId("pick").querySelectorAll("input")) if (box.value === id) box.checked = false;
    say(`${id} removed. ${this.chosen.size} in all.`);
  }

  count() {
    byId("chosen-count").textContent = this.chosen.size ? `${this.chosen.size} selected` : "";
  }

  get sites() {
    return [...this.chosen.keys()];
  }
}
