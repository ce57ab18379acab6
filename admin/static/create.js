// The window Create API User: its form, and then the key. A wish whose answer was lost is sent again with the same
// Idempotency-Key, so that it makes no second user.

import { ask } from "./api.js";
import { show } from "./dialogs.js";
import { busy, byId, copy, el, named } from "./dom.js";
import { Picker } from "./picker.js";
import { state } from "./state.js";
import { aSiteOf } from "./workspaces.js";

const ERRORS = ["create-error", "create-workspace-error", "create-name-error", "create-sites-error"];
let picker = null;
let done = () => {};
// The workspace of whom this window made.
let made = null;
// The wish that may have been granted, and its key.
let sent = { wish: "", key: "" };

export function setUpCreate(whenDone) {
  done = whenDone;
  picker = new Picker();
  byId("create-all").addEventListener("change", showScope);
  byId("create-workspace").addEventListener("change", () => picker.reset(byId("create-workspace").value));
  byId("create-form").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(event.submitter ?? byId("create-form").querySelector(".primary"), create);
  });
  byId("created-again").addEventListener("click", (event) => busy(event.target, createAgain));
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(byId(button.dataset.copy).value, button));
  }
}

export function openCreate() {
  const select = byId("create-workspace");
  select.replaceChildren(...state.workspaces.map((name) => el("option", { value: name }, name)));
  select.value = state.workspace || state.workspaces[0];
  byId("create-where").hidden = state.workspaces.length < 2;
  for (const id of ERRORS) byId(id).textContent = "";
  sent = { wish: "", key: "" };
  made = null;
  byId("create-name").value = "";
  byId("create-all").checked = false;
  showForm();
  showScope();
  picker.reset(select.value);
  show(byId("create-dialog"), () => {
    byId("created-key").value = byId("created-curl").value = "";
    done(made);
  });
}

function showForm() {
  byId("create-form").hidden = false;
  byId("created").hidden = true;
  byId("create-dialog").setAttribute("aria-labelledby", "create-title");
  delete byId("create-dialog").dataset.stays;
}

function showScope() {
  const all = byId("create-all").checked;
  byId("create-sites").hidden = all;
  byId("create-all-help").textContent = all
    ? "The API user can access all sites of the workspace, those added later too."
    : "The API user can only access the sites selected below.";
}

async function create() {
  for (const id of ERRORS) byId(id).textContent = "";
  const all = byId("create-all").checked;
  const name = byId("create-name").value.trim();
  if (!all && !picker.sites.length) {
    byId("create-sites-error").textContent = "Select at least one site, or authorize for all sites.";
    byId("pick-search").focus();
    return;
  }
  const wish = { workspace: byId("create-workspace").value, ...(all ? { all_sites: true } : { sites: picker.sites }), ...(name ? { name } : {}) };
  if (sent.wish !== JSON.stringify(wish)) sent = { wish: JSON.stringify(wish), key: crypto.randomUUID() };
  try {
    const user = await ask("POST", "users", wish, { headers: { "Idempotency-Key": `"${sent.key}"` } }).catch((error) => {
      // Whom this key made is gone: the next one is another. Any other refusal leaves open what became of a try before.
      if (error.code === "conflict") sent = { wish: "", key: "" };
      throw error;
    });
    // It was made before, and the answer with its key was lost.
    if (!user.api_key && state.session.recoverable_keys) user.api_key = (await ask("POST", `users/${user.id}/reveal`)).keys[0].api_key;
    // A line to try, even where the line to the server is bad: then it has a gap to fill in.
    showCreated(user, user.sites[0] ?? (await aSiteOf(user.workspace).catch(() => null)) ?? "SITE");
  } catch (error) {
    const places = { workspace: "create-workspace-error", name: "create-name-error", sites: "create-sites-error" };
    const shown = Object.entries(places).filter(([field, id]) => {
      const said = error.at?.(field);
      if (said) byId(id).textContent = said;
      return said && !byId(id).closest("[hidden]");
    });
    if (!shown.length) byId("create-error").textContent = error.message;
  }
}

// Take back the user whose key nobody saw, and make another like it.
async function createAgain() {
  byId("created-error").textContent = "";
  try {
    await ask("DELETE", `users/${byId("created-again").dataset.user}`);
  } catch (error) {
    if (error.status !== 404) {
      byId("created-error").textContent = error.message;
      return;
    }
  }
  sent = { wish: "", key: "" };
  showForm();
  byId("create-form").querySelector(".primary").focus();
  await create();
}

function showCreated(user, site) {
  made = user.workspace;
  byId("create-form").hidden = true;
  byId("created").hidden = false;
  byId("create-dialog").setAttribute("aria-labelledby", "created-title");
  // A key that is shown once must not vanish with a stray Escape.
  if (user.api_key && !state.session.recoverable_keys) byId("create-dialog").dataset.stays = "yes";
  byId("created-lost").hidden = Boolean(user.api_key);
  byId("created-whole").hidden = !user.api_key;
  byId("created-error").textContent = "";
  byId("created-again").dataset.user = user.id;
  byId("created-key").value = user.api_key ?? "";
  const scope = user.all_sites ? ["It can access ", el("b", {}, "all sites"), " of ", named(user.workspace), ", those added later too."]
    : user.site_count === 1 ? ["It can access the site ", el("b", {}, named(user.sites[0])), "."]
    : [`It can access ${user.site_count} selected sites.`];
  byId("created-scope").replaceChildren(...scope);
  byId("created-once").textContent = state.session.recoverable_keys
    ? "Keep it like a password. It can be shown again from the list; each time is noted in the audit log."
    : "Copy it now and keep it like a password: it is not shown again.";
  byId("created-curl").value = user.api_key ? curl(user, site) : "";
  byId("created-title").focus();
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// The command that reads a site with this key, at this installation.
function curl(user, site) {
  const { url, headers } = state.session.try_it;
  const fill = (text, encode) => {
    const values = { key: encode(user.api_key), site: encode(site), basic: btoa(`${user.api_key}:`) };
    return text.replace(/\{(key|site|basic)\}/g, (_, mark) => values[mark]);
  };
  const lines = headers.map((header) => ` -H ${quoted(fill(header, (value) => value))}`);
  return `curl${lines.join("")} ${quoted(fill(url, encodeURIComponent))}`;
}
