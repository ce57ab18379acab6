// The parts that all views are made of: elements, messages, times, dialogs, the pages of a list, and the site picker.

import { query, request } from "./api.js";

// === Elements and messages ===
// Text is only ever inserted as text, never as HTML.

export const byId = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Text that a user entered, isolated so that its direction (right to left) does not affect the text around it.
export const isolated = (text, attributes = {}) => el("bdi", attributes, text);

const ICONS = {
  show: "M2 12s3.6-6.5 10-6.5S22 12 22 12s-3.6 6.5-10 6.5S2 12 2 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  hide: "M2 12s3.6-6.5 10-6.5S22 12 22 12s-3.6 6.5-10 6.5S2 12 2 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM4 4l16 16",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  done: "M5 12.5l4.5 4.5L19 7",
};

// A line drawing in the color of the text. The button around it has a label.
export function icon(name) {
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  for (const [attribute, value] of Object.entries({ viewBox: "0 0 24 24", class: `icon ${name}`, "aria-hidden": "true" })) svg.setAttribute(attribute, value);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

// An email address with line break opportunities after the @ and before each dot.
export const emailAddress = (text, attributes = {}) => el("bdi", attributes, ...text.split(/(?<=@)|(?=\.)/).flatMap((part, index) => (index ? [el("wbr"), part] : [part])));

export const cell = (label, ...children) => el("td", { role: "cell", "data-label": label }, ...children);

export const row = (...cells) => el("tr", { role: "row" }, ...cells);

// Announce text to screen readers.
export function announce(text) {
  byId("announcement").textContent = "";
  // Screen readers ignore everything outside an open modal dialog.
  (document.querySelector("dialog[open]") ?? document.body).append(byId("announcement"));
  requestAnimationFrame(() => { byId("announcement").textContent = text; });
}

// Show a message for a few seconds, and announce it.
let toastTimer = null;
export function showToast(...parts) {
  const toast = byId("toast");
  clearTimeout(toastTimer);
  toast.replaceChildren(...parts);
  announce(toast.textContent);
  toast.showPopover();
  toastTimer = setTimeout(() => toast.hidePopover(), Math.max(4000, toast.textContent.length * 80));
}

export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    showToast("The browser does not allow copying here. Select the text and copy it.");
    return;
  }
  const label = button.querySelector(".label") ?? button;
  button.dataset.label ??= label.textContent;
  const show = (copied) => {
    label.textContent = copied ? "Copied" : button.dataset.label;
    button.classList.toggle("on", copied);
  };
  show(true);
  announce("Copied.");
  clearTimeout(button.dataset.timer);
  button.dataset.timer = setTimeout(show, 1500, false);
}

// Show an error below the heading of a view, or clear it. The banner shows outages.
export function showError(id, error = null) {
  byId(id).textContent = error && !error.isOutage ? error.message : "";
}

// Run `work` with the element marked as busy. Calls while it is busy are ignored.
export async function busy(element, work) {
  // Not disabled, because that would remove the focus.
  if (element.getAttribute("aria-busy")) return;
  element.setAttribute("aria-busy", "true");
  try {
    await work();
  } finally {
    element.removeAttribute("aria-busy");
  }
}

export function debounced(milliseconds, work) {
  let timer = null;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}

// === Truncated text ===
// A tooltip shows all of a truncated text while the pointer is on it or it has the focus. It is hidden from screen
// readers, which read all of the text anyway.

const tooltip = el("p", { id: "tooltip", class: "tooltip", popover: "manual", "aria-hidden": "true" });
const isCut = (element) => element.scrollWidth > element.clientWidth;
// Tab stops at a text only while it does not fit.
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) isCut(target) ? target.setAttribute("tabindex", "0") : target.removeAttribute("tabindex");
});

// Let the text of an element end with an ellipsis if it does not fit.
export function cut(element) {
  element.classList.add("cut");
  sizes.observe(element);
  return element;
}

let cutElement = null;

function hideTooltip() {
  cutElement = null;
  if (tooltip.matches(":popover-open")) tooltip.hidePopover();
}

function showTooltip({ target }) {
  const element = target.closest?.(".cut");
  if (!element || !isCut(element)) return;
  hideTooltip(); // so that it is above a dialog that was opened later
  cutElement = element;
  tooltip.textContent = element.textContent;
  if (!tooltip.isConnected) document.body.append(tooltip);
  tooltip.showPopover();
  placeTooltip();
}

function placeTooltip() {
  if (!cutElement) return;
  tooltip.style.left = tooltip.style.top = "0"; // its width depends on the room beside it
  placeBeside(cutElement, tooltip, tooltip.offsetWidth, tooltip.offsetHeight);
}

// Place an element of the top layer below another element, or above it if there is more room.
export function placeBeside(anchor, element, width, height) {
  const { left, top, bottom } = anchor.getBoundingClientRect();
  const above = bottom + height > innerHeight && top > innerHeight - bottom;
  element.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - width - 8))}px`;
  element.style.top = above ? "auto" : `${bottom}px`;
  element.style.bottom = above ? `${innerHeight - top}px` : "auto";
}

// After Escape, the pointer is over what the tooltip covered. That must not open the next tooltip.
let dismissed = false;
addEventListener("pointermove", () => { dismissed = false; }, { passive: true });
addEventListener("pointerover", (event) => {
  if (dismissed || tooltip.contains(event.target)) return;
  if (!tooltip.contains(event.relatedTarget) || !event.target.closest(".cut")) hideTooltip();
  if (event.pointerType === "mouse") showTooltip(event);
});
addEventListener("focusin", showTooltip);
addEventListener("focusout", hideTooltip);
addEventListener("scroll", placeTooltip, { capture: true, passive: true });
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !cutElement) return;
  hideTooltip();
  dismissed = true;
  event.preventDefault(); // keep the dialog below it open
}, { capture: true });

// === Times ===
// Relative times, with the exact time as a tooltip.

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const long = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "long" });
const short = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

export function ago(text) {
  const seconds = (Date.now() - new Date(text)) / 1000;
  for (const [unit, size] of UNITS) {
    if (seconds >= size) return relative.format(-Math.floor(seconds / size), unit);
  }
  return "just now";
}

export const localTime = (text) => short.format(new Date(text));

export const isPast = (text) => new Date(text) <= new Date();

export function time(text) {
  if (!text) return el("span", { class: "quiet" }, "never");
  return el("time", { datetime: text, title: long.format(new Date(text)) }, ago(text));
}

export function refreshTimes() {
  for (const element of document.querySelectorAll("time[datetime]")) {
    const text = ago(element.dateTime);
    if (element.textContent !== text) element.textContent = text;
  }
}

// === Dialogs ===
// Opening and closing, a confirmation, and a small form. Closing one restores the focus.

for (const dialog of document.querySelectorAll("dialog")) {
  // A dialog stays open while a request is in progress. One with data-stays closes only with its own button.
  const isBusy = () => dialog.querySelector("[aria-busy]") !== null;
  const preventClosing = (event) => { if (isBusy() || dialog.dataset.stays) event.preventDefault(); };
  dialog.addEventListener("cancel", preventClosing);
  // Browsers fire a cancelable event only for the first Escape; the second one would close the dialog.
  dialog.addEventListener("keydown", (event) => { if (event.key === "Escape") preventClosing(event); });
  // Also ask before the page is closed or reloaded: the dialog may show a key that is shown only once.
  addEventListener("beforeunload", (event) => { if (dialog.open) preventClosing(event); });
  for (const button of dialog.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => { if (!isBusy()) dialog.close(); });
  }
}

// The form that was open when the session ended, and the email of the person who was signed in.
let interrupted = null;
const closeCallbacks = new WeakMap();

// Close all dialogs at the end of a session. If it timed out, `email` is that of the person who was signed in, and an
// open form is remembered.
export function closeAll(email) {
  interrupted = null;
  for (const dialog of document.querySelectorAll("dialog[open]")) {
    if (email && dialog.querySelector("form:not([hidden])")) interrupted = { dialog, email };
    dialog.close();
  }
}

// Reopen the interrupted form with its input, for the same person only.
export function reopen(email) {
  if (interrupted?.email === email) {
    for (const error of interrupted.dialog.querySelectorAll(".error")) error.textContent = "";
    show(interrupted.dialog, closeCallbacks.get(interrupted.dialog));
  }
  interrupted = null;
}

// Open a dialog, and call `closed` when it closes. The browser restores focus to the element that had it, if that
// element still exists.
export function show(dialog, closed = () => {}) {
  const before = document.activeElement;
  closeCallbacks.set(dialog, closed);
  const onClose = () => {
    if (dialog.open) return; // reopened before the previous `close` event
    dialog.removeEventListener("close", onClose);
    closed();
    if (!before?.isConnected) document.querySelector("main > section:not([hidden]) h1")?.focus();
  };
  dialog.addEventListener("close", onClose);
  dialog.showModal();
}

// Ask before something that cannot be undone. `text` explains the consequences. `work` returns the parts of the toast.
export function confirm(title, text, verb, work) {
  const dialog = byId("confirm");
  byId("confirm-title").replaceChildren(...title);
  byId("confirm-text").replaceChildren(...text);
  byId("confirm-error").textContent = "";
  const button = byId("confirm-submit");
  button.textContent = verb;
  button.onclick = () => busy(button, async () => {
    byId("confirm-error").textContent = "";
    try {
      const message = await work();
      dialog.close();
      showToast(...message);
    } catch (error) {
      byId("confirm-error").textContent = error.message;
    }
  });
  show(dialog);
  dialog.querySelector("[data-close]").focus();
}

// Show a form. `fields` are {name, label, value, help, element}. `work` gets the inputs by name and returns the parts of the toast.
export function prompt(title, fields, verb, work) {
  const dialog = byId("prompt");
  byId("prompt-title").textContent = title;
  byId("prompt-error").textContent = "";
  byId("prompt-submit").textContent = verb;
  const inputs = {};
  const elements = fields.flatMap(({ name, label, value = "", help, element }) => {
    const input = element ?? el("input", { autocomplete: "off" });
    input.id = `prompt-${name}`;
    if (!element) input.value = value;
    if (help) input.setAttribute("aria-describedby", `prompt-${name}-help`);
    inputs[name] = input;
    return [
      el("label", { for: input.id }, label), input,
      help ? el("p", { class: "quiet", id: `prompt-${name}-help` }, help) : null,
    ].filter(Boolean);
  });
  byId("prompt-fields").replaceChildren(...elements);
  byId("prompt-form").onsubmit = (event) => {
    event.preventDefault();
    busy(byId("prompt-submit"), async () => {
      byId("prompt-error").textContent = "";
      try {
        const message = await work(inputs);
        dialog.close();
        showToast(...message);
      } catch (error) {
        byId("prompt-error").textContent = error.message;
      }
    });
  };
  show(dialog);
  Object.values(inputs)[0].focus();
}

// === Pages of a list ===
// Forward with the API's `next` cursor, backward with the cursors of the previous pages.

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

// === Site picker ===
// A search box, the first matches as checkboxes, and chips for the selected sites. It loads only the
// matches that it shows.

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
