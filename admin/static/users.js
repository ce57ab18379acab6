// The list of API users: search, reveal, delete.

import { deleteIfExists, query, request } from "./api.js";
import { openCreate } from "./create.js";
import { confirm } from "./dialogs.js";
import { busy, byId, cell, copy, debounced, el, emailAddress, isolated, row } from "./dom.js";
import { Pages } from "./pages.js";
import { state } from "./state.js";
import { isPast, localTime, time } from "./times.js";
import { addMissingWorkspaces, firstSiteOf, newWorkspace, switchTo } from "./workspaces.js";

const MAX_UNFOLDED_SITES = 3;
// The maximum age of the list. After that, a refresh loads all of it, to show changes that others made.
const LIST_MS = 60_000;
// The start of a pasted key, which its hint contains. The rest must not get into a URL, because proxies log URLs.
const KEY_START = /^slk_\w{4}(?=\w)/;
let pages = null;
let latestLoad = 0;
let loadedAt = 0;
// The number of loads in progress that the user started.
let foregroundLoads = 0;
let shownFingerprints = "";
// Rows, keyed by fingerprint. Unchanged rows are reused, so that open details, revealed keys and the focus survive a
// refresh.
let rows = new Map();
// The latest data of each user shown, keyed by user id.
let users = new Map();

export function setUpUsers() {
  pages = new Pages(byId("users-pages"), loadUsers);
  byId("create").addEventListener("click", () => (state.workspaces.length ? openCreate() : newWorkspace()));
  byId("search").addEventListener("input", debounced(200, loadFirstPage));
  byId("sort").addEventListener("change", loadFirstPage);
}

export function loadFirstPage() {
  pages.reset();
  return loadUsers();
}

// Show a new user first in the list, and clear the search.
export function showCreated(workspace) {
  byId("search").value = "";
  byId("sort").value = "-created";
  switchTo(workspace);
  return loadFirstPage();
}

// Drop all rows, so that revealed keys are not shown to another admin or after switching views.
export function clear() {
  rows.clear();
  byId("users-rows").replaceChildren();
  shownFingerprints = "";
}

export async function loadUsers() {
  foregroundLoads += 1;
  try {
    return await load();
  } finally {
    foregroundLoads -= 1;
  }
}

// Refresh the list in the background, without showing errors: usually only the last activity of the rows in view. A load
// that the user started takes precedence. Returns whether it succeeded.
export async function refreshUsers() {
  if (foregroundLoads) return true;
  if (Date.now() - loadedAt >= LIST_MS) return load({ quiet: true });
  const shown = [...byId("users-rows").children].filter(isInView).map((element) => element.dataset.id);
  if (!shown.length) return true;
  const loadNumber = latestLoad;
  try {
    const { items } = await request("GET", query("activity", { ids: shown.join() }), undefined, { quiet: true });
    if (loadNumber !== latestLoad) return true;
    if (items.length < shown.length) return load({ quiet: true }); // someone deleted a user
    refreshActivity(items);
    return true;
  } catch {
    return false;
  }
}

function isInView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

async function load({ quiet = false } = {}) {
  const loadNumber = ++latestLoad;
  const typed = byId("search").value.trim();
  const search = KEY_START.exec(typed)?.[0] ?? typed;
  try {
    const path = query("users", { workspace: state.workspace, search, sort: byId("sort").value, after: pages.after, limit: 50 });
    const page = await request("GET", path, undefined, { quiet });
    await addMissingWorkspaces(page.items);
    if (loadNumber !== latestLoad) return false;
    byId("users-error").textContent = "";
    loadedAt = Date.now();
    if (!page.items.length && (await pages.leaveEmpty())) return true;
    users = new Map(page.items.map((user) => [user.id, user]));
    const fingerprints = page.items.map(fingerprintOf);
    if (quiet && fingerprints.join() === shownFingerprints) refreshActivity(page.items);
    else {
      const emptyMessage = page.items.length ? [] : await emptyMessageFor(search);
      if (loadNumber !== latestLoad) return false;
      showUsers(page, fingerprints, emptyMessage);
    }
    return true;
  } catch (error) {
    if (loadNumber === latestLoad && !quiet) byId("users-error").textContent = error.message;
    return false;
  }
}

const fingerprintOf = (user) => JSON.stringify([{ ...user, last_activity: null }, user.keys.map(isExpired), state.workspaces.length > 1]);

const isExpired = (key) => key.expires_at !== null && isPast(key.expires_at);

function showUsers(page, fingerprints, emptyMessage) {
  shownFingerprints = fingerprints.join();
  const focused = document.activeElement;
  rows = new Map(page.items.map((user, index) => [fingerprints[index], rows.get(fingerprints[index]) ?? userRow(user)]));
  byId("users-rows").replaceChildren(...rows.values());
  refreshActivity(page.items);
  if (focused?.isConnected && focused !== document.activeElement) focused.focus();
  pages.show(page.next);
  const empty = !page.items.length;
  byId("users-empty").hidden = !empty;
  byId("users-empty").previousElementSibling.hidden = empty;
  byId("users-empty").replaceChildren(...emptyMessage);
}

async function emptyMessageFor(search) {
  if (search) {
    return [
      el("p", {}, "No API user matches “", isolated(search), "”."),
      el("button", { type: "button", onclick: () => { byId("search").value = ""; byId("search").focus(); loadFirstPage(); } }, "Show all API users"),
    ];
  }
  if (!state.workspaces.length) {
    return [
      el("h2", {}, "Start with a workspace"),
      el("p", { class: "quiet" }, "A workspace owns sites and API users. Create one, add sites, and then create API users for them."),
      el("button", { type: "button", onclick: newWorkspace }, "New workspace"),
    ];
  }
  const someSite = await firstSiteOf(state.workspace).catch(() => "unknown");
  return [
    el("h2", {}, "No API users yet"),
    el("p", { class: "quiet" }, "An API user lets an external system or integration access the data of all sites, or of the sites that you select. ",
      "Click Create API User to create the first one and get its key."),
    someSite ? null : el("p", { class: "quiet" }, "There are no sites yet, either. ", el("a", { href: "#sites" }, "Add sites"), " to select from."),
  ].filter(Boolean);
}

function userRow(user) {
  const element = row(
    cell("API Key", el("div", {}, user.name ? isolated(user.name, { class: "name" }) : null, disabledSince(user), ...user.keys.map((key) => keyLine(user, key)))),
    cell("Authorized By", el("div", {}, isolated(user.authorized_by.name), emailAddress(user.authorized_by.email, { class: "quiet" }))),
    cell("Authorized Sites", el("div", {}, sitesOf(user), state.workspaces.length > 1 ? el("div", { class: "quiet" }, "in ", isolated(user.workspace)) : null)),
    cell("Last Activity", el("div", { class: "activity" }, time(user.last_activity))),
    cell("Created", el("div", {}, time(user.created_at))),
    el("td", { role: "cell", class: "actions" }, el("button", { type: "button", class: "remove small", "aria-label": `Delete User ${titleOf(user)}`, onclick: () => remove(users.get(user.id)) }, "Delete User")),
  );
  element.dataset.id = user.id;
  return element;
}

// Every request of a disabled user is refused. Only SQL can disable a user.
function disabledSince(user) {
  if (!user.disabled_at) return null;
  return el("div", {}, el("span", { class: "badge off" }, "Disabled"), " ", el("span", { class: "quiet" }, time(user.disabled_at)));
}

function expiryOf(key) {
  if (key.expires_at === null) return null;
  if (isExpired(key)) return el("span", {}, el("span", { class: "badge off" }, "Expired"), " ", el("span", { class: "quiet" }, time(key.expires_at)));
  return el("span", { class: "quiet" }, `expires ${localTime(key.expires_at)}`);
}

function keyLine(user, key) {
  const shown = el("code", {}, key.hint);
  const line = el("div", { class: "keyline" }, shown, expiryOf(key));
  if (!key.recoverable || !state.session.recoverable_keys) return line;
  const error = el("span", { class: "error", role: "alert" });
  const reveal = async () => {
    const { keys } = await request("POST", `users/${user.id}/reveal`);
    const found = keys.find((one) => one.hint === key.hint)?.api_key;
    if (!found) throw new Error("This key cannot be revealed: it is no longer stored, or was encrypted with a different secret.");
    return found;
  };
  const runWithErrors = (button, work) => busy(button, async () => {
    error.textContent = "";
    try { await work(); } catch (problem) { error.textContent = problem.message; }
  });
  const toggle = el("button", { type: "button", class: "small", "aria-label": `Show key ${key.hint}` }, "Show");
  toggle.addEventListener("click", () => runWithErrors(toggle, async () => {
    const hidden = shown.textContent === key.hint;
    shown.textContent = hidden ? await reveal() : key.hint;
    toggle.textContent = hidden ? "Hide" : "Show";
    toggle.setAttribute("aria-label", `${toggle.textContent} key ${key.hint}`);
  }));
  const copyButton = el("button", { type: "button", class: "small", "aria-label": `Copy key ${key.hint}` }, "Copy");
  copyButton.addEventListener("click", () => runWithErrors(copyButton, async () => copy(shown.textContent === key.hint ? await reveal() : shown.textContent, copyButton)));
  shown.after(el("div", { class: "buttons" }, toggle, copyButton));
  line.append(error);
  return line;
}

function sitesOf(user) {
  if (user.all_sites) return el("span", { class: "badge" }, "All sites");
  if (!user.site_count) return el("span", { class: "quiet" }, "None (its sites were removed)");
  if (user.site_count <= MAX_UNFOLDED_SITES) return el("span", {}, ...listed(user.sites));
  const list = el("ul", {}, ...user.sites.map((site) => el("li", {}, isolated(site))));
  const details = el("details", {}, el("summary", {}, ...listed(user.sites.slice(0, 2)), ` and ${user.site_count - 2} more`), list);
  const error = el("p", { class: "error", role: "alert" });
  details.append(error);
  details.addEventListener("toggle", async () => {
    if (!details.open || list.childElementCount === user.site_count) return;
    try {
      const complete = await request("GET", `users/${user.id}`);
      list.replaceChildren(...complete.sites.map((site) => el("li", {}, isolated(site))));
      error.textContent = "";
    } catch (problem) {
      error.textContent = problem.message;
    }
  });
  return details;
}

const listed = (sites) => sites.flatMap((site, index) => (index ? [", ", isolated(site)] : [isolated(site)]));

const titleOf = (user) => user.name ?? user.keys[0]?.hint ?? user.id;

function refreshActivity(items) {
  const shown = new Map([...byId("users-rows").children].map((element) => [element.dataset.id, element]));
  for (const { id, last_activity: lastActivity } of items) {
    users.get(id).last_activity = lastActivity;
    const activity = shown.get(id).querySelector(".activity");
    if (activity.firstChild.dateTime !== (lastActivity ?? undefined)) activity.replaceChildren(time(lastActivity));
  }
}

function remove(user) {
  const scope = user.all_sites ? ["all sites of ", isolated(user.workspace)]
    : user.site_count ? [...listed(user.sites.slice(0, 5)), user.site_count > 5 ? ` and ${user.site_count - 5} more sites` : ""]
    : ["no sites"];
  confirm(
    user.name ? ["Delete the API user “", isolated(user.name), "”?"] : ["Delete the API user ", titleOf(user), "?"],
    [
      el("p", {}, "The key ", el("code", {}, user.keys.map((key) => key.hint).join(", ")),
        user.disabled_at || user.keys.every(isExpired) ? " is already refused. It had access to " : " stops working immediately. It loses access to ", ...scope, "."),
      el("p", {}, user.last_activity ? "It was last used " : "It was never used.", user.last_activity ? time(user.last_activity) : null, user.last_activity ? "." : null),
      el("p", {}, el("b", {}, "The user is permanently deleted. This action cannot be undone.")),
    ],
    "Delete",
    async () => {
      await deleteIfExists(`users/${user.id}`);
      await loadUsers();
      return ["Deleted the API user ", isolated(titleOf(user)), "."];
    },
  );
}
