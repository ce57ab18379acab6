// The windows: a confirmation, a small form. Focus goes back to where it was when they close.

import { busy, byId, el, tell } from "./dom.js";

for (const dialog of document.querySelectorAll("dialog")) {
  // What is under way is waited for; what is marked so goes only by its own button.
  const underWay = () => dialog.querySelector("[aria-busy]") !== null;
  const stay = (event) => { if (underWay() || dialog.dataset.stays) event.preventDefault(); };
  dialog.addEventListener("cancel", stay);
  // Browsers ask by a cancel event only once: the second Escape would close.
  dialog.addEventListener("keydown", (event) => { if (event.key === "Escape") stay(event); });
  // Nor does the whole page go without a question, with a key that is shown once.
  addEventListener("beforeunload", (event) => { if (dialog.open) stay(event); });
  for (const button of dialog.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => { if (!underWay()) dialog.close(); });
  }
}

// A form that was open when its person's session ended.
let aside = null;
const whenClosed = new WeakMap();

// Close all windows, as a session ends: by itself that of `whose`, or (null) as its person wants it.
export function closeAll(whose) {
  aside = null;
  for (const dialog of document.querySelectorAll("dialog[open]")) {
    if (whose && dialog.querySelector("form:not([hidden])")) aside = { dialog, whose };
    dialog.close();
  }
}

// Open the form again, with what was typed, for the person who typed it.
export function reopen(who) {
  if (aside?.whose === who) {
    for (const error of aside.dialog.querySelectorAll(".error")) error.textContent = "";
    show(aside.dialog, whenClosed.get(aside.dialog));
  }
  aside = null;
}

// Open a dialog; `closed` is called when it closes. The browser returns the focus if its place is still there.
export function show(dialog, closed = () => {}) {
  const before = document.activeElement;
  whenClosed.set(dialog, closed);
  const whenItCloses = () => {
    if (dialog.open) return; // opened again before this was heard of its last closing
    dialog.removeEventListener("close", whenItCloses);
    closed();
    if (!before?.isConnected) document.querySelector("main > section:not([hidden]) h1")?.focus();
  };
  dialog.addEventListener("close", whenItCloses);
  dialog.showModal();
}

// Ask before something that cannot be undone. `text` are the elements that say what will happen, `work` returns what was done, in parts.
export function confirm(title, text, yes, work) {
  const dialog = byId("confirm");
  byId("confirm-title").replaceChildren(...title);
  byId("confirm-text").replaceChildren(...text);
  byId("confirm-error").textContent = "";
  const button = byId("confirm-yes");
  button.textContent = yes;
  button.onclick = () => busy(button, async () => {
    byId("confirm-error").textContent = "";
    try {
      const done = await work();
      dialog.close();
      tell(...done);
    } catch (error) {
      byId("confirm-error").textContent = error.message;
    }
  });
  show(dialog);
  dialog.querySelector("[data-close]").focus();
}

// Ask for a few texts: `fields` are {name, label, value, help, element}, `work` returns what was done, in parts.
export function prompt(title, fields, yes, work) {
  const dialog = byId("ask");
  byId("ask-title").textContent = title;
  byId("ask-error").textContent = "";
  byId("ask-yes").textContent = yes;
  const inputs = {};
  const shown = fields.flatMap(({ name, label, value = "", help, element }) => {
    const input = element ?? el("input", { autocomplete: "off" });
    input.id = `ask-${name}`;
    if (!element) input.value = value;
    if (help) input.setAttribute("aria-describedby", `ask-${name}-help`);
    inputs[name] = input;
    return [
      el("label", { for: input.id }, label), input,
      help ? el("p", { class: "quiet", id: `ask-${name}-help` }, help) : null,
    ].filter(Boolean);
  });
  byId("ask-fields").replaceChildren(...shown);
  byId("ask-form").onsubmit = (event) => {
    event.preventDefault();
    busy(byId("ask-yes"), async () => {
      byId("ask-error").textContent = "";
      try {
        const done = await work(inputs);
        dialog.close();
        tell(...done);
      } catch (error) {
        byId("ask-error").textContent = error.message;
      }
    });
  };
  show(dialog);
  Object.values(inputs)[0].focus();
}
