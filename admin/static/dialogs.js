// Dialogs: opening and closing, a confirmation, and a small form. Closing one restores the focus.

import { busy, byId, el, showToast } from "./dom.js";

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
