// The dialog Create API User: the form, and then the key. If a response was lost, the request is sent again with the same
// Idempotency-Key, so that it does not create a second user.

import { request } from "./api.js";
import { show } from "./dialogs.js";
import { busy, byId, copy, el, isolated } from "./dom.js";
import { Picker } from "./picker.js";
import { state } from "./state.js";
import { firstSiteOf } from "./workspaces.js";

const ERRORS = ["create-error", "create-workspace-error", "create-name-error", "create-sites-error"];
let picker = null;
let onClosed = () => {};
// The workspace of the user that this dialog created, or null.
let createdIn = null;
// The body of the last request, which may have succeeded, and its Idempotency-Key.
let sent = { body: "", key: "" };

export function setUpCreate(whenClosed) {
  onClosed = whenClosed;
  picker = new Picker();
  byId("create-all").addEventListener("change", showScope);
  byId("create-workspace").addEventListener("change", () => picker.reset(byId("create-workspace").value));
  byId("create-form").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(event.submitter ?? byId("create-form").querySelector(".primary"), create);
  });
  byId("created-retry").addEventListener("click", (event) => busy(event.target, recreate));
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
  sent = { body: "", key: "" };
  createdIn = null;
  byId("create-name").value = "";
  byId("create-all").checked = false;
  showForm();
  showScope();
  picker.reset(select.value);
  show(byId("create-dialog"), () => {
    byId("created-key").value = byId("created-curl").value = "";
    onClosed(createdIn);
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
    ? "The API user can access all sites of the workspace, including sites added later."
    : "The API user can only access the sites selected below.";
}

async function create() {
  for (const id of ERRORS) byId(id).textContent = "";
  const all = byId("create-all").checked;
  const name = byId("create-name").value.trim();
  if (!all && !picker.sites.length) {
    byId("create-sites-error").textContent = "Select at least one site, or authorize for all sites.";
    byId("picker-search").focus();
    return;
  }
  const body = { workspace: byId("create-workspace").value, ...(all ? { all_sites: true } : { sites: picker.sites }), ...(name ? { name } : {}) };
  if (sent.body !== JSON.stringify(body)) sent = { body: JSON.stringify(body), key: crypto.randomUUID() };
  try {
    const user = await request("POST", "users", body, { headers: { "Idempotency-Key": `"${sent.key}"` } }).catch((error) => {
      // The user that this key created was deleted, so use a new key. After other errors, an earlier attempt may have succeeded.
      if (error.code === "conflict") sent = { body: "", key: "" };
      throw error;
    });
    // An earlier attempt created the user, and the response with its key was lost.
    if (!user.api_key && state.session.recoverable_keys) user.api_key = (await request("POST", `users/${user.id}/reveal`)).keys[0].api_key;
    // Show an example command even if no site can be loaded; it then has a placeholder.
    showCreated(user, user.sites[0] ?? (await firstSiteOf(user.workspace).catch(() => null)) ?? "SITE");
  } catch (error) {
    const targets = { workspace: "create-workspace-error", name: "create-name-error", sites: "create-sites-error" };
    const shown = Object.entries(targets).filter(([field, id]) => {
      const text = error.at?.(field);
      if (text) byId(id).textContent = text;
      return text && !byId(id).closest("[hidden]");
    });
    if (!shown.length) byId("create-error").textContent = error.message;
  }
}

// Delete the user whose key was lost, and create it again.
async function recreate() {
  byId("created-error").textContent = "";
  try {
    await request("DELETE", `users/${byId("created-retry").dataset.user}`);
  } catch (error) {
    if (error.status !== 404) {
      byId("created-error").textContent = error.message;
      return;
    }
  }
  sent = { body: "", key: "" };
  showForm();
  byId("create-form").querySelector(".primary").focus();
  await create();
}

function showCreated(user, site) {
  createdIn = user.workspace;
  byId("create-form").hidden = true;
  byId("created").hidden = false;
  byId("create-dialog").setAttribute("aria-labelledby", "created-title");
  // A key that is shown only once must not vanish because of an accidental Escape.
  if (user.api_key && !state.session.recoverable_keys) byId("create-dialog").dataset.stays = "yes";
  byId("created-lost").hidden = Boolean(user.api_key);
  byId("created-key-section").hidden = !user.api_key;
  byId("created-error").textContent = "";
  byId("created-retry").dataset.user = user.id;
  byId("created-key").value = user.api_key ?? "";
  const scope = user.all_sites ? ["It can access ", el("b", {}, "all sites"), " of ", isolated(user.workspace), ", including sites added later."]
    : user.site_count === 1 ? ["It can access the site ", el("b", {}, isolated(user.sites[0])), "."]
    : [`It can access ${user.site_count} selected sites.`];
  byId("created-scope").replaceChildren(...scope);
  byId("created-once").textContent = state.session.recoverable_keys
    ? "Keep it secret, like a password. You can reveal it again in the list; the audit log records every reveal."
    : "Copy it now and keep it secret, like a password. It will not be shown again.";
  byId("created-curl").value = user.api_key ? curl(user, site) : "";
  byId("created-title").focus();
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// Return a curl command that reads a site with this key from this installation.
function curl(user, site) {
  const { url, headers } = state.session.try_it;
  const fill = (text, encode) => {
    const values = { key: encode(user.api_key), site: encode(site), basic: btoa(`${user.api_key}:`) };
    return text.replace(/\{(key|site|basic)\}/g, (_, placeholder) => values[placeholder]);
  };
  const lines = headers.map((header) => ` -H ${quoted(fill(header, (value) => value))}`);
  return `curl${lines.join("")} ${quoted(fill(url, encodeURIComponent))}`;
}
