// DOM helpers that every view uses. Text is only ever inserted as text, never as HTML.

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
  button.dataset.label ??= button.textContent;
  button.textContent = "Copied";
  announce("Copied.");
  clearTimeout(button.dataset.timer);
  button.dataset.timer = setTimeout(() => { button.textContent = button.dataset.label; }, 1500);
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
