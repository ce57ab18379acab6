// The dialog “Try a request”: decides on a request without sending it, as `sitelatch explain` does. A pasted key is sent
// only in the body of the request, and forgotten when the dialog closes.

import { request } from "./api.js";
import { busy, byId, el, isolated, show } from "./components.js";

const VERDICTS = { passes: "Passes", refused: "Refused", undecided: "Undecided" };

export function setUpTry() {
  byId("try").addEventListener("click", () => openTry());
  byId("try-as").addEventListener("change", showKeyField);
  byId("try-form").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(byId("try-submit"), decide);
  });
}

// Open the dialog, with the API user that the request is sent by, or null.
export function openTry(user = null) {
  const form = byId("try-form");
  form.reset();
  const keys = [["", "No key"], ["key", "A key that I paste"]];
  if (user) keys.unshift([user.id, `The key of ${user.name || user.keys[0]?.hint || "this API user"}`]);
  byId("try-as").replaceChildren(...keys.map(([value, text]) => el("option", { value }, text)));
  byId("try-error").textContent = "";
  byId("try-result").hidden = true;
  showKeyField();
  show(byId("try-dialog"), () => form.reset());
  byId("try-url").focus();
}

function showKeyField() {
  byId("try-key-field").hidden = byId("try-as").value !== "key";
}

async function decide() {
  const as = byId("try-as").value;
  const key = byId("try-key").value.trim();
  const body = {
    method: byId("try-method").value.trim(),
    url: byId("try-url").value.trim(),
    headers: byId("try-headers").value.split("\n").filter((line) => line.trim()),
    user_id: as && as !== "key" ? as : null,
    api_key: as === "key" && key ? key : null,
  };
  byId("try-error").textContent = "";
  try {
    showVerdict(await request("POST", "explain", body));
  } catch (error) {
    byId("try-result").hidden = true;
    byId("try-error").textContent = error.message;
  }
}

function showVerdict({ outcome, status, code, reason, hints, steps }) {
  const title = byId("try-verdict");
  title.textContent = status ? `${VERDICTS[outcome]}: ${status} ${code}` : VERDICTS[outcome];
  title.dataset.outcome = outcome;
  const sentence = reason[0].toUpperCase() + reason.slice(1);
  byId("try-reasons").replaceChildren(...[sentence, ...hints].map((text) => el("p", {}, isolated(text))));
  byId("try-steps").replaceChildren(...steps.map(({ title: name, lines }) => el("li", {}, el("b", {}, name), ...lines.map((line) => el("div", {}, isolated(line))))));
  byId("try-result").hidden = false;
  title.focus();
}
