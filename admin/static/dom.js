// Elements, and small things that every view does with them. Text is only ever set as text.

export const byId = (id) => document.getElementById(id);

export function el(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// What people named: its direction is its own, so that it cannot turn the text around it.
export const named = (text, given = {}) => el("bdi", given, text);

// An address, which breaks where people would break it.
export const mail = (text, given = {}) => el("bdi", given, ...text.split(/(?<=@)|(?=\.)/).flatMap((part, index) => (index ? [el("wbr"), part] : [part])));

export const cell = (label, ...children) => el("td", { role: "cell", "data-label": label }, ...children);

export const row = (...cells) => el("tr", { role: "row" }, ...cells);

export function say(text) {
  byId("said").textContent = "";
  // What is outside of an open window is said by no screen reader.
  (document.querySelector("dialog[open]") ?? document.body).append(byId("said"));
  requestAnimationFrame(() => { byId("said").textContent = text; });
}

// Say it to who looks, too: what was done, or failed, where it has no place of its own.
let told = null;
export function tell(...parts) {
  const shown = byId("told");
  clearTimeout(told);
  shown.replaceChildren(...parts);
  say(shown.textContent);
  shown.showPopover();
  told = setTimeout(() => shown.hidePopover(), Math.max(4000, shown.textContent.length * 80));
}

export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    tell("Copying is not allowed here. Select the text and copy it.");
    return;
  }
  button.dataset.says ??= button.textContent;
  button.textContent = "Copied";
  say("Copied.");
  clearTimeout(button.dataset.timer);
  button.dataset.timer = setTimeout(() => { button.textContent = button.dataset.says; }, 1500);
}

// Run one thing at a time for a button, which says so meanwhile.
export async function busy(button, work) {
  // Not disabled: that would take the focus away.
  if (button.getAttribute("aria-busy")) return;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } finally {
    button.removeAttribute("aria-busy");
  }
}

export function later(milliseconds, work) {
  let timer = null;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}
