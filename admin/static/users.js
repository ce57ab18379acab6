// The list of API users.

import { ask, gone, query } from "./api.js";
import { openCreate } from "./create.js";
import { confirm } from "./dialogs.js";
import { busy, byId, cell, copy, el, later, mail, named, row } from "./dom.js";
import { Pages } from "./pages.js";
import { state } from "./state.js";
import { exactly, isPast, time } from "./times.js";
import { aSiteOf, lookInto, meet, newWorkspace } from "./workspaces.js";

const FOLDED = 3;
// Of a key that is pasted, only the start is in its hint; the rest must be in no URL, which proxies log.
const KEY = /^slk_\w{4}(?=\w)/;
let pages = null;
let latest = 0;
// The list is being loaded because somebody asked for it.
let wanted = 0;
let shownLooks = "";
// Rows that need not be made anew: what is open, shown or focused in them stays so.
let made = new Map();
// What was last heard of each user that is shown.
let known = new Map();

export function setUpUsers() {
  pages = new Pages(byId("users-pages"), loadUsers);
  byId("create").addEventListener("click", () => (state.workspaces.length ? openCreate() : newWorkspace()));
  byId("search").addEventListener("input", later(200, startOver));
  byId("sort").addEventListener("change", startOver);
}

export function startOver() {
  pages.reset();
  return loadUsers();
}

// Whoever has made one looks for it in the list, whatever was looked at before.
export function showMade(workspace) {
  byId("search").value = "";
  byId("sort").value = "-created";
  lookInto(workspace);
  return startOver();
}

// Nothing that was shown to one admin, or before another view, is shown again by itself.
export function forget() {
  made.clear();
  byId("users-rows").replaceChildren();
  shownLooks = "";
}

export async function loadUsers() {
  wanted += 1;
  try {
    return await load();
  } finally {
    wanted -= 1;
  }
}

// Show what changed meanwhile, without a word if it cannot be had: never instead of what somebody waits for.
export function refreshUsers() {
  return wanted ? null : load({ quiet: true });
}

async function load({ quiet = false } = {}) {
  const number = ++latest;
  const typed = byId("search").value.trim();
  const search = KEY.exec(typed)?.[0] ?? typed;
  try {
    const path = query("users", { workspace: state.workspace, search, sort: byId("sort").value, after: pages.after, limit: 50 });
    const page = await ask("GET", path, undefined, { quiet });
    await meet(page.items);
    if (number !== latest) return false;
    byId("users-error").textContent = "";
    if (!page.items.length && (await pages.leaveEmpty())) return true;
    known = new Map(page.items.map((user) => [user.id, user]));
    const looks = page.items.map(looksOf);
    if (quiet && looks.join() === shownLooks) refresh(page.items);
    else {
      const emptied = page.items.length ? [] : await emptiness(search);
      if (number !== latest) return false;
      showUsers(page, looks, emptied);
    }
    return true;
  } catch (error) {
    if (number === latest && !quiet) byId("users-error").textContent = error.message;
    return false;
  }
}

const looksOf = (user) => JSON.stringify([{ ...user, last_activity: null }, user.keys.map(isExpired), state.workspaces.length > 1]);

const isExpired = (key) => key.expires_at !== null && isPast(key.expires_at);

function showUsers(page, looks, emptied) {
  shownLooks = looks.join();
  const focused = document.activeElement;
  made = new Map(page.items.map((user, index) => [looks[index], made.get(looks[index]) ?? userRow(user)]));
  byId("users-rows").replaceChildren(...made.values());
  refresh(page.items);
  if (focused?.isConnected && focused !== document.activeElement) focused.focus();
  pages.show(page.next);
  const empty = !page.items.length;
  byId("users-empty").hidden = !empty;
  byId("users-empty").previousElementSibling.hidden = empty;
  byId("users-empty").replaceChildren(...emptied);
}

async function emptiness(search) {
  if (search) {
    return [
      el("p", {}, "Nothing begins with “", named(search), "”."),
      el("button", { type: "button", onclick: () => { byId("search").value = ""; byId("search").focus(); startOver(); } }, "Show all API users"),
    ];
  }
  if (!state.workspaces.length) {
    return [
      el("h2", {}, "Begin with a workspace"),
      el("p", { class: "quiet" }, "A workspace owns sites and API users. Make one, add its sites, then create API users for them."),
      el("button", { type: "button", onclick: newWorkspace }, "New workspace"),
    ];
  }
  const someSite = await aSiteOf(state.workspace).catch(() => "unknown");
  return [
    el("h2", {}, "No API users yet"),
    el("p", { class: "quiet" }, "An API user lets an external system or integration read the data of all sites, or of the sites you select. ",
      "Click Create API User to make the first one and get its key."),
    someSite ? null : el("p", { class: "quiet" }, "There are no sites yet either: ", el("a", { href: "#sites" }, "add sites"), " to select from."),
  ].filter(Boolean);
}

function userRow(user) {
  const shown = row(
    cell("API Key", el("div", {}, user.name ? named(user.name, { class: "name" }) : null, disabledSince(user), ...user.keys.map((key) => keyLine(user, key)))),
    cell("Authorized By", el("div", {}, named(user.authorized_by.name), mail(user.authorized_by.email, { class: "quiet" }))),
    cell("Authorized Sites", el("div", {}, sitesOf(user), state.workspaces.length > 1 ? el("div", { class: "quiet" }, "in ", named(user.workspace)) : null)),
    cell("Last Activity", el("div", { class: "activity" }, time(user.last_activity))),
    cell("Created", el("div", {}, time(user.created_at))),
    el("td", { role: "cell", class: "act" }, el("button", { type: "button", class: "remove small", "aria-label": `Delete User ${titleOf(user)}`, onclick: () => remove(known.get(user.id)) }, "Delete User")),
  );
  shown.dataset.id = user.id;
  return shown;
}

// What only SQL or an import makes, and refuses every request all the same.
function disabledSince(user) {
  if (!user.disabled_at) return null;
  return el("div", {}, el("span", { class: "badge off" }, "Disabled"), " ", el("span", { class: "quiet" }, time(user.disabled_at)));
}

function expiryOf(key) {
  if (key.expires_at === null) return null;
  if (isExpired(key)) return el("span", {}, el("span", { class: "badge off" }, "Expired"), " ", el("span", { class: "quiet" }, time(key.expires_at)));
  return el("span", { class: "quiet" }, `expires ${exactly(key.expires_at)}`);
}

function keyLine(user, key) {
  const shown = el("code", {}, key.hint);
  const line = el("div", { class: "keyline" }, shown, expiryOf(key));
  if (!key.recoverable || !state.session.recoverable_keys) return line;
  const error = el("span", { class: "error", role: "alert" });
  const reveal = async () => {
    const { keys } = await ask("POST", `users/${user.id}/reveal`);
    const found = keys.find((one) => one.hint === key.hint)?.api_key;
    if (!found) throw new Error("This key cannot be shown: it is kept no longer, or under another secret.");
    return found;
  };
  const safely = (button, work) => busy(button, async () => {
    error.textContent = "";
    try { await work(); } catch (problem) { error.textContent = problem.message; }
  });
  const look = el("button", { type: "button", class: "small", "aria-label": `Show key ${key.hint}` }, "Show");
  look.addEventListener("click", () => safely(look, async () => {
    const hidden = shown.textContent === key.hint;
    shown.textContent = hidden ? await reveal() : key.hint;
    look.textContent = hidden ? "Hide" : "Show";
    look.setAttribute("aria-label", `${look.textContent} key ${key.hint}`);
  }));
  const take = el("button", { type: "button", class: "small", "aria-label": `Copy key ${key.hint}` }, "Copy");
  take.addEventListener("click", () => safely(take, async () => copy(shown.textContent === key.hint ? await reveal() : shown.textContent, take)));
  shown.after(el("div", { class: "buttons" }, look, take));
  line.append(error);
  return line;
}

function sitesOf(user) {
  if (user.all_sites) return el("span", { class: "badge" }, "All sites");
  if (!user.site_count) return el("span", { class: "quiet" }, "None: its sites were removed");
  if (user.site_count <= FOLDED) return el("span", {}, ...listed(user.sites));
  const list = el("ul", {}, ...user.sites.map((site) => el("li", {}, named(site))));
  const all = el("details", {}, el("summary", {}, ...listed(user.sites.slice(0, 2)), ` and ${user.site_count - 2} more`), list);
  const error = el("p", { class: "error", role: "alert" });
  all.append(error);
  all.addEventListener("toggle", async () => {
    if (!all.open || list.childElementCount === user.site_count) return;
    try {
      const whole = await ask("GET", `users/${user.id}`);
      list.replaceChildren(...whole.sites.map((site) => el("li", {}, named(site))));
      error.textContent = "";
    } catch (problem) {
      error.textContent = problem.message;
    }
  });
  return all;
}

const listed = (sites) => sites.flatMap((site, index) => (index ? [", ", named(site)] : [named(site)]));

const titleOf = (user) => user.name ?? user.keys[0]?.hint ?? user.id;

function refresh(users) {
  const rows = new Map([...byId("users-rows").children].map((shown) => [shown.dataset.id, shown]));
  for (const user of users) {
    const place = rows.get(user.id).querySelector(".activity");
    if (place.firstChild.dateTime !== (user.last_activity ?? undefined)) place.replaceChildren(time(user.last_activity));
  }
}

function remove(user) {
  const scope = user.all_sites ? ["all sites of ", named(user.workspace)]
    : user.site_count ? [...listed(user.sites.slice(0, 5)), user.site_count > 5 ? ` and ${user.site_count - 5} more sites` : ""]
    : ["no site"];
  confirm(
    user.name ? ["Delete the API user “", named(user.name), "”?"] : ["Delete the API user ", titleOf(user), "?"],
    [
      el("p", {}, "Whatever uses the key ", el("code", {}, user.keys.map((key) => key.hint).join(", ")),
        user.disabled_at || user.keys.every(isExpired) ? " is refused already; it had access to " : " stops working at once: it loses access to ", ...scope, "."),
      el("p", {}, user.last_activity ? "It was last used " : "It was never used.", user.last_activity ? time(user.last_activity) : null, user.last_activity ? "." : null),
      el("p", {}, el("b", {}, "The user is permanently deleted. This action cannot be undone.")),
    ],
    "Delete",
    async () => {
      await gone(`users/${user.id}`);
      await loadUsers();
      return [named(titleOf(user)), " is deleted."];
    },
  );
}
