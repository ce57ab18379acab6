// The parts that all views are made of: elements, messages, times, dialogs, the pages of a list, and the site picker.

import { changeAddress, dialogClosed, dialogOpened, query, rememberScroll, request, withoutKeys } from "./api.js";

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

function drawing(attributes, ...paths) {
  const draw = (tag, given) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [attribute, value] of Object.entries(given)) element.setAttribute(attribute, value);
    return element;
  };
  const svg = draw("svg", attributes);
  svg.append(...paths.map((path) => draw("path", path)));
  return svg;
}

// A line drawing in the color of the text. The button around it has a label.
export const icon = (name) => drawing({ viewBox: "0 0 24 24", class: `icon ${name}`, "aria-hidden": "true" }, { d: ICONS[name] });

// A chart with a bar for each of the values, which may have a second value on top of it. `label` describes the chart.
export function bars(values, label, onTop = values.map(() => 0)) {
  const height = 100;
  const scale = height / Math.max(1, ...values.map((value, index) => value + onTop[index]));
  const sizes = (some) => some.map((value) => (value ? Math.max(4, value * scale) : 0)); // so that a single request is visible
  const [lower, upper] = [sizes(values), sizes(onTop)];
  const bar = (size, bottom, index) => (size ? `M${index * 4} ${bottom.toFixed(1)}v-${size.toFixed(1)}h3v${size.toFixed(1)}z` : "");
  return drawing(
    { viewBox: `0 -8 ${values.length * 4 - 1} ${height + 9}`, preserveAspectRatio: "none", class: "bars", role: "img", "aria-label": label },
    { d: `M0 ${height}h${values.length * 4 - 1}v1H0z`, class: "base" },
    { d: lower.map((size, index) => bar(size, height, index)).join("") },
    { d: upper.map((size, index) => bar(size, height - lower[index], index)).join(""), class: "on-top" },
  );
}

const BYTE_UNITS = ["bytes", "KB", "MB", "GB", "TB", "PB"];

// A number of bytes with three digits, such as “1.23 MB”.
export function byteSize(bytes) {
  const unit = Math.min(BYTE_UNITS.length - 1, bytes < 1000 ? 0 : Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** unit).toLocaleString("en", { maximumSignificantDigits: unit ? 3 : 15 })} ${BYTE_UNITS[unit]}`;
}

// An email address with line break opportunities after the @ and before each dot.
export const emailAddress = (text, attributes = {}) => el("bdi", attributes, ...text.split(/(?<=@)|(?=\.)/).flatMap((part, index) => (index ? [el("wbr"), part] : [part])));

export const cell = (label, ...children) => el("td", { role: "cell", "data-label": label }, ...children);

export const row = (...cells) => el("tr", { role: "row" }, ...cells);

// Return a number and its unit, such as “2,003 sites”.
export const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

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
  const later = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

// === Filters ===
// On phones, the filters of a list are behind a button, which says how many are set.

export function setUpFilters(container) {
  const button = container.previousElementSibling;
  button.addEventListener("click", () => {
    const open = container.classList.toggle("open");
    button.setAttribute("aria-expanded", open);
  });
}

export function showFilterCount(container, count) {
  container.previousElementSibling.querySelector("span").textContent = count ? ` (${count})` : "";
}

// === Truncated text ===
// A tooltip shows all of a truncated text while the pointer is on it or it has the focus. It is hidden from screen
// readers, which read all of the text anyway.

const tooltip = el("p", { id: "tooltip", class: "tooltip", dir: "auto", popover: "manual", "aria-hidden": "true" });
const isCut = (element) => element.scrollWidth > element.clientWidth;
// Tab stops at a text only while it does not fit.
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (isCut(target)) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
    if (target === cutElement && !target.isConnected) hideTooltip();
  }
});

// Let the text of an element end with an ellipsis if it does not fit. Text that a user entered needs dir="auto" on this
// element, so that it ends at the left if it is written from right to left.
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
  const element = target.closest?.(".cut") ?? [...(target.closest?.("label, button") ?? target).querySelectorAll?.(".cut") ?? []].find(isCut);
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

// A length of time in the largest unit that divides it.
export function duration(seconds) {
  const [size, unit] = [[86_400, "day"], [3_600, "hour"], [60, "minute"], [1, "second"]].find(([each]) => seconds % each === 0);
  return `${(seconds / size).toLocaleString("en")} ${unit}${seconds === size ? "" : "s"}`;
}

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
// element still exists; otherwise `next` returns the element to focus. `user` is the id of the user that it shows.
export function show(dialog, closed = () => {}, { next = () => null, user = null } = {}) {
  const before = document.activeElement;
  closeCallbacks.set(dialog, closed);
  const onClose = () => {
    if (dialog.open) return; // reopened before the previous `close` event
    dialog.removeEventListener("close", onClose);
    dialogClosed(dialog);
    closed();
    if (before?.isConnected && before !== document.body) return;
    const heading = document.querySelector("main > section:not([hidden]) h1");
    if (!document.querySelector("dialog[open]")) (next() ?? heading)?.focus({ preventScroll: true });
  };
  dialog.addEventListener("close", onClose);
  dialog.showModal();
  dialogOpened(dialog, user);
}

// Ask before something that cannot be undone. `text` explains the consequences. `work` returns the parts of the toast.
// `next` returns the element to focus afterwards.
export function confirm(title, text, verb, work, next) {
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
  show(dialog, undefined, { next });
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
  // `load` loads the page after the cursor `after` and returns whether it succeeded. A page has `size` items.
  constructor(container, size, load) {
    this.container = container;
    this.size = size;
    this.load = load;
    this.before = [];
    this.after = null;
    this.number = 1;
  }

  // Continue at the page that the address names.
  read(parameters) {
    const number = Number(parameters.get("page"));
    this.after = parameters.get("after");
    if (!this.after || !Number.isSafeInteger(number) || number < 2) {
      this.reset();
      return;
    }
    this.number = number;
    // Only the history knows the cursors of the previous pages, so a bookmarked page leads back to the first one.
    const before = history.state?.before;
    this.before = Array.isArray(before) && before.length && before.length < number ? before : [null];
  }

  reset() {
    this.before = [];
    this.after = null;
    this.number = 1;
  }

  // Start again at the first page if the address does not lead to one. Returns whether there is something to load.
  recover(error) {
    if (this.after === null || !error.faults?.some((fault) => fault.parameter === "after")) return false;
    this.reset();
    this.write();
    return true;
  }

  write(push = false) {
    changeAddress({ page: this.number > 1 ? this.number : null, after: this.after }, { push, before: this.before });
  }

  // Show the range of this page, with the number of all items if it is known: {count, more}.
  show(next, shown, total = null) {
    const first = (this.number - 1) * this.size + 1;
    const all = total ?? (next || !shown ? null : { count: first + shown - 1, more: false });
    const number = (value) => value.toLocaleString("en");
    const range = shown ? `${number(first)}–${number(first + shown - 1)}` : "";
    const text = all && shown ? `${range} of ${number(Math.max(all.count, first + shown - 1))}${all.more ? "+" : ""}` : range;
    const isFar = this.number > 2 && this.before.length === 1;
    const previous = el("button", { type: "button", onclick: () => busy(this.container, () => this.turn(...this.back())) }, isFar ? "First page" : "Previous");
    const following = el("button", { type: "button", onclick: () => busy(this.container, () => this.turn([...this.before, this.after], next, this.number + 1)) }, "Next");
    previous.disabled = this.number === 1;
    following.disabled = !next;
    const needed = this.number > 1 || next;
    this.container.replaceChildren(...(needed ? [el("span", { class: "quiet" }, text), previous, following] : []));
  }

  back() {
    return [this.before.slice(0, -1), this.before.at(-1), this.before.length === 1 ? 1 : this.number - 1];
  }

  // After the last item of a page was deleted, show the previous page. Returns whether there is one.
  async leaveEmpty() {
    if (this.number === 1) return false;
    [this.before, this.after, this.number] = this.back();
    this.write();
    await this.load();
    return true;
  }

  async turn(before, after, number) {
    rememberScroll();
    const current = [this.before, this.after, this.number];
    [this.before, this.after, this.number] = [before, after, number];
    if (!(await this.load())) {
      // The page did not change, unless the list was reset in the meantime.
      if (this.before === before) [this.before, this.after, this.number] = current;
      return;
    }
    this.write(true);
    this.container.closest("section").querySelector("h1").focus();
    scrollTo(0, 0);
  }
}

// === Site picker ===
// A search box, the first matches as checkboxes, a field for a pasted list, and chips for the selected sites. It loads
// only the matches that it shows. The page has one picker, which moves to the dialog that opens.

const SHOWN = 50;
const CHIPS = 100;
// The limit of the server for one API user, and for one lookup of ids.
const MAX_SITES = 10_000;
// A site id contains none of these, not even in full width. It may contain spaces.
const SEPARATORS = /[\n\r\t,;\u2028\u2029，、；]+/;
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}]/gu;

// Return each text of a list with the ids that it may mean: as it is, without quotes, or each of its words.
function readList(text) {
  const texts = text.split(SEPARATORS).map((part) => part.replace(INVISIBLE, "").trim()).filter(Boolean);
  return texts.map((whole) => ({ whole: spellings(whole), words: whole.split(/\s+/).map(spellings) }));
}

const spellings = (text) => [...new Set([text, text.replace(/^["'“”‘’«»]+|["'“”‘’«»]+$/g, "")])].filter(Boolean);

export class Picker {
  constructor() {
    this.selected = new Set();
    this.workspace = null;
    this.running = null;
    this.timer = null;
    byId("picker-search").addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.search(), 120);
      this.openList(false);
    });
    byId("picker-search").addEventListener("keydown", async (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      clearTimeout(this.timer);
      // The list may still show the matches of an earlier search.
      if (!byId("picker-search").value.trim() || !(await this.search())) return;
      byId("picker").querySelector("input:not(:checked)")?.click();
    });
    for (const field of ["picker-search", "pasted-ids"]) byId(field).addEventListener("paste", (event) => this.paste(event));
    byId("paste-list").addEventListener("click", () => this.openList(byId("pasted").hidden));
    byId("pasted-add").addEventListener("click", () => busy(byId("pasted-add"), async () => {
      if (await this.addPasted()) byId("picker-search").focus();
    }));
    byId("select-all").addEventListener("click", () => busy(byId("select-all"), () => this.addMatches()));
    byId("clear-sites").addEventListener("click", () => {
      this.select([], true);
      byId("picker-search").focus();
      announce("No sites selected.");
    });
  }

  // Move to an element, and show the sites of a workspace with none selected.
  moveTo(element, workspace) {
    element.append(byId("site-picker"));
    return this.reset(workspace);
  }

  reset(workspace) {
    this.workspace = workspace;
    this.select([], true);
    byId("picker-search").value = byId("pasted-ids").value = byId("pasted-error").textContent = byId("site-picker-error").textContent = "";
    this.openList(false);
    byId("picker").replaceChildren();
    this.note("");
    return this.search();
  }

  // Show the matches. Returns false if a later search has replaced this one, or on an error.
  async search() {
    this.running?.abort();
    this.running = new AbortController();
    const filter = { workspace: this.workspace, search: withoutKeys(byId("picker-search").value) };
    const get = (path) => request("GET", path, undefined, { signal: this.running.signal });
    byId("select-all").hidden = true;
    try {
      const page = await get(query("sites", { ...filter, limit: SHOWN }));
      this.show(page, filter.search);
      if (page.next) this.offer(filter, await get(query("site-count", filter)));
      else if (page.items.length > 1) this.offer(filter, { count: page.items.length, more: false });
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
    if (!page.items.length) note = search ? `No site matches “${search}”.` : "This workspace has no sites yet. Add them on the Sites page.";
    this.note(note);
  }

  // Offer to select all matches, unless there are more than an API user may have.
  offer(filter, { count, more }) {
    byId("select-all").hidden = more;
    byId("select-all").textContent = `Select all ${count.toLocaleString("en")} ${filter.search ? "matching" : "sites"}`;
    this.filter = filter;
    if (more) this.note(`Showing the first ${SHOWN} of more than ${count.toLocaleString("en")}. Type to find others, or authorize for all sites.`);
    else if (count > SHOWN) this.note(`Showing the first ${SHOWN}. Type to find others.`);
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
    box.addEventListener("change", () => (box.checked ? this.add([site.id]) : this.remove(site.id)));
    const name = site.display_name === site.id ? null : isolated(site.display_name, { class: "quiet cut" });
    return el("li", {}, el("label", {}, box, isolated(site.id, { class: "cut" }), name));
  }

  // Select all matches of the search whose number the button shows.
  async addMatches() {
    const found = [];
    try {
      let after = null;
      do {
        const page = await request("GET", query("sites", { ...this.filter, after, limit: 1000 }));
        found.push(...page.items.map((site) => site.id));
        after = page.next;
      } while (after);
    } catch (error) {
      this.note(error.message, "error");
      return;
    }
    this.add(found);
  }

  // Text with separators is a list. It is not inserted first, because browsers take seconds to insert thousands of lines.
  paste(event) {
    const text = event.clipboardData.getData("text/plain");
    if (readList(text).length < 2) return;
    event.preventDefault();
    this.openList(true);
    busy(byId("pasted-add"), () => this.addPasted(`${byId("pasted-ids").value}\n${text}`));
  }

  openList(open) {
    byId("pasted").hidden = !open;
    byId("choices").hidden = open;
    byId("paste-list").setAttribute("aria-expanded", open);
    if (open) byId("pasted-ids").focus();
  }

  // Select the sites in the pasted list, and keep the ids in it that are not sites. Returns whether all ids are sites.
  async addPasted(text = byId("pasted-ids").value) {
    byId("pasted-error").textContent = "";
    const entries = readList(text);
    let lookup;
    try {
      lookup = await this.lookUp([...new Set(entries.flatMap(({ whole, words }) => [...whole, ...words.flat()]))]);
    } catch (error) {
      byId("pasted-ids").value = text.trim();
      byId("pasted-error").textContent = error.message;
      return false;
    }
    const siteIn = (ids) => ids.find((id) => lookup.found.has(id));
    const sites = [];
    const unknown = new Map();
    for (const { whole, words } of entries) {
      for (const ids of siteIn(whole) ? [whole] : words) {
        if (siteIn(ids)) sites.push(siteIn(ids));
        else unknown.set(ids[0], ids.map((id) => lookup.similar.get(id)).find(Boolean));
      }
    }
    if (!this.add([...new Set(sites)])) {
      byId("pasted-ids").value = text.trim();
      return false;
    }
    byId("pasted-ids").value = [...unknown.keys()].join("\n");
    byId("pasted-error").textContent = this.sentence(unknown);
    this.openList(unknown.size > 0);
    return !unknown.size;
  }

  async lookUp(ids) {
    const [found, similar] = [new Set(), new Map()];
    for (let start = 0; start < ids.length; start += MAX_SITES) {
      const result = await request("POST", "site-lookup", { workspace: this.workspace, ids: ids.slice(start, start + MAX_SITES) });
      for (const id of result.found) found.add(id);
      for (const { id, similar: other } of result.missing) if (other) similar.set(id, other);
    }
    return { found, similar };
  }

  sentence(unknown) {
    if (!unknown.size) return "";
    const named = [...unknown].slice(0, 10).map(([id, similar]) => (similar ? `${id} (did you mean ${similar}?)` : id)).join(", ");
    const more = unknown.size > 10 ? ` and ${unknown.size - 10} more` : "";
    return `${unknown.size === 1 ? "This id is not a site" : `These ${unknown.size} ids are not sites`} of ${this.workspace}: ${named}${more}. Correct or remove ${unknown.size === 1 ? "it" : "them"}.`;
  }

  // Select more sites. Returns false, with an error, if there would be too many.
  add(ids) {
    const added = ids.filter((id) => !this.selected.has(id));
    if (this.selected.size + added.length > MAX_SITES) {
      byId("site-picker-error").textContent = `At most ${MAX_SITES.toLocaleString("en")} sites can be selected. Authorize for all sites instead.`;
      return false;
    }
    this.select([...this.selected, ...added], true);
    byId("site-picker-error").textContent = "";
    if (added.length) announce(`${added.length === 1 ? added[0] : counted(added.length, "site")} selected. ${this.selected.size.toLocaleString("en")} in total.`);
    return true;
  }

  remove(id) {
    this.select([...this.selected].filter((other) => other !== id));
    announce(`${id} removed. ${this.selected.size.toLocaleString("en")} in total.`);
  }

  // Show the selection in the count, the checkboxes, and the last chips, which are the ones just added.
  select(ids, scrollToEnd = false) {
    this.selected = new Set(ids);
    const hidden = Math.max(0, ids.length - CHIPS);
    byId("selected-count").textContent = ids.length ? `${ids.length.toLocaleString("en")} selected` : "";
    byId("clear-sites").hidden = ids.length < 2;
    for (const box of byId("picker").querySelectorAll("input")) box.checked = this.selected.has(box.value);
    const earlier = hidden ? [el("li", { class: "quiet" }, `${hidden.toLocaleString("en")} earlier …`)] : [];
    byId("chips").replaceChildren(...earlier, ...ids.slice(hidden).map((id) => el("li", {}, this.chip(id))));
    if (scrollToEnd) byId("chips").scrollLeft = byId("chips").scrollWidth;
  }

  chip(id) {
    return el("button", { type: "button", class: "chip", "aria-label": `Remove ${id}`, onclick: () => {
      const chips = [...byId("chips").querySelectorAll("button")];
      const place = chips.findIndex((chip) => chip.value === id);
      this.remove(id);
      const left = byId("chips").querySelectorAll("button");
      (left[Math.min(place, left.length - 1)] ?? byId("picker-search")).focus();
    }, value: id }, isolated(id, { class: "cut" }), el("span", { "aria-hidden": "true" }, "×"));
  }

  get sites() {
    return [...this.selected];
  }
}
