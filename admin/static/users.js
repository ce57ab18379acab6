// API users: the list, and the dialog that creates one.

import { address, changeAddress, choiceFrom, deleteIfExists, fragment, query, readPage, rememberScroll, request, state, textFrom, withoutKeys } from "./api.js";
import { bars, busy, byId, byteSize, cell, confirm, copy, counted, cut, debounced, duration, el, emailAddress, icon, isolated, isPast, localTime, Pages, Picker, placeBeside, row, setUpFilters, show, showError, showFilterCount, showToast, time } from "./components.js";
import { addMissingWorkspaces, addSite, firstSiteOf, importSites, newWorkspace, switchTo } from "./sites.js";

// === List of API users ===

// The maximum age of the list. After that, a refresh loads all of it, to show changes that others made.
const LIST_MS = 60_000;
const SORTS = ["-created", "created", "-last_activity", "last_activity", "name", "-name", "authorized_by", "-authorized_by"];
// The filters by last use and expiry, and their parameters in the API.
const USES = { "": {}, never: { never_used: true }, unused: { unused_days: 90 }, expires: { expires_within_days: 30 }, expired: { expired: true } };
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
// The number of all users in the list, {count, more}, and the parameters for which it was counted.
let total = null;
let countedFor = "";

export function setUpUsers() {
  pages = new Pages(byId("users-pages"), 50, loadUsers);
  setUpFilters(byId("users-filters"));
  byId("user-sites").addEventListener("toggle", ({ newState }) => popoverButton.setAttribute("aria-expanded", newState === "open"));
  document.addEventListener("scroll", closeMovedSites, { passive: true });
  byId("create").addEventListener("click", () => (state.workspaces.length ? openCreate() : newWorkspace()));
  // A search replaces the entry of the history, so that the Back button does not undo it letter by letter.
  byId("search").addEventListener("input", searchLater);
  for (const id of ["sort", "filter-use", "filter-by"]) byId(id).addEventListener("change", () => selectFirstPage({ push: true }));
  for (const button of document.querySelectorAll("#users th button")) button.addEventListener("click", () => sortBy(button.dataset.sort));
  // On phones, only screen readers see the column headers.
  const cards = matchMedia("(max-width: 45.99rem)");
  const setStops = () => { for (const button of document.querySelectorAll("#users th button")) button.tabIndex = cards.matches ? -1 : 0; };
  cards.addEventListener("change", setStops);
  setStops();
}

// Show what the address says: the list, and the open user.
export async function showAddress() {
  const { parameters } = address();
  byId("search").value = textFrom(parameters, "search");
  byId("filter-by").value = textFrom(parameters, "by");
  byId("filter-use").value = choiceFrom(parameters, "use", Object.keys(USES));
  byId("sort").value = choiceFrom(parameters, "sort", SORTS);
  pages.read(parameters);
  return loadUsers();
}

const searchLater = debounced(200, () => selectFirstPage());

// Show the first page for the search, filters and order that the user has chosen.
function selectFirstPage({ push = false } = {}) {
  pages.reset();
  const sort = byId("sort").value;
  const search = byId("search").value.trim();
  searchLater.cancel();
  if (push) rememberScroll();
  if (push) changeAddress({ search }); // the entry that the Back button leads to has the search, too
  const chosen = { search, use: byId("filter-use").value, by: byId("filter-by").value.trim(), sort: sort === SORTS[0] ? null : sort };
  changeAddress({ ...chosen, workspace: state.workspace, page: null, after: null }, { push, before: [] });
  return loadUsers();
}

// Sort by a column. If the list is already sorted by it, reverse the order.
function sortBy(order) {
  const reversed = order.startsWith("-") ? order.slice(1) : `-${order}`;
  byId("sort").value = byId("sort").value === order ? reversed : order;
  return selectFirstPage({ push: true });
}

function showOrder() {
  const order = byId("sort").value;
  for (const heading of document.querySelectorAll("#users th:has(button)")) {
    const isSorted = order.replace("-", "") === heading.firstElementChild.dataset.sort.replace("-", "");
    if (isSorted) heading.setAttribute("aria-sort", order.startsWith("-") ? "descending" : "ascending");
    else heading.removeAttribute("aria-sort");
  }
}

function clearFilters() {
  for (const id of ["search", "filter-use", "filter-by"]) byId(id).value = "";
}

// Show a new user first in the list, and clear the search and the filters.
export function showCreated(workspace) {
  clearFilters();
  byId("sort").value = SORTS[0];
  switchTo(workspace);
  return selectFirstPage();
}

// Drop all rows, so that revealed keys are not shown to another admin or after switching views.
export function clear() {
  rows.clear();
  byId("user-sites").hidePopover();
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

// The parameters of the API that select the users in the list.
function selection() {
  return { workspace: state.workspace, search: withoutKeys(byId("search").value), authorized_by: withoutKeys(byId("filter-by").value), ...USES[byId("filter-use").value] };
}

async function load({ quiet = false } = {}) {
  const loadNumber = ++latestLoad;
  const selected = selection();
  showOrder();
  showFilterCount(byId("users-filters"), [byId("filter-use"), byId("filter-by")].filter(({ value }) => value).length);
  try {
    const parameters = { ...selected, sort: byId("sort").value, after: pages.after, limit: 50 };
    const page = await readPage("users", parameters, { quiet, isCurrent: () => loadNumber === latestLoad });
    await addMissingWorkspaces(page.items);
    if (loadNumber !== latestLoad) return false;
    showError("users-error");
    loadedAt = Date.now();
    if (!page.items.length && !page.next && (await pages.leaveEmpty())) return true;
    users = new Map(page.items.map((user) => [user.id, user]));
    const fingerprints = page.items.map(fingerprintOf);
    if (quiet && fingerprints.join() === shownFingerprints) refreshActivity(page.items);
    else {
      const emptyMessage = page.items.length ? [] : page.next ? [el("p", {}, "No match yet. Choose Next to search further.")] : await emptyMessageFor(selected);
      if (loadNumber !== latestLoad) return false;
      showUsers(page, fingerprints, emptyMessage);
    }
    count(page, selected, loadNumber);
    loadSparklines(loadNumber);
    return true;
  } catch (error) {
    if (loadNumber === latestLoad && pages.recover(error)) return load({ quiet });
    if (loadNumber === latestLoad && !quiet) showError("users-error", error);
    return false;
  }
}

// Show how many users there are in all, after the rows. A page without a next one needs no count.
async function count(page, selected, loadNumber) {
  const parameters = JSON.stringify(selected);
  if (parameters !== countedFor) total = null;
  countedFor = parameters;
  const showPages = () => pages.show(page.next, page.items.length, page.next ? total : null);
  showPages();
  if (!page.next) return;
  const latest = await request("GET", query("user-count", selected), undefined, { quiet: true }).catch(() => total);
  if (countedFor !== parameters) return;
  total = latest;
  if (loadNumber === latestLoad) showPages();
}

function fingerprintOf(user) {
  const keys = user.keys.map((key) => ({ ...key, last_activity: null, seconds_left: null, expired: isExpired(key) }));
  return JSON.stringify([{ ...user, last_activity: null, keys, expired: hasExpired(user) }, severalWorkspaces()]);
}

const isExpired = (key) => key.expires_at !== null && isPast(key.expires_at);

function showUsers(page, fingerprints, emptyMessage) {
  shownFingerprints = fingerprints.join();
  const focused = document.activeElement;
  rows = new Map(page.items.map((user, index) => [fingerprints[index], rows.get(fingerprints[index]) ?? userRow(user)]));
  byId("users-rows").replaceChildren(...rows.values());
  refreshActivity(page.items);
  if (focused?.isConnected && focused !== document.activeElement) focused.focus();
  byId("people").replaceChildren(...[...new Set([state.session.person.email, ...page.items.map((user) => user.authorized_by.email)])].map((email) => el("option", { value: email })));
  const empty = !page.items.length;
  byId("users-empty").hidden = !empty;
  byId("users-empty").previousElementSibling.hidden = empty;
  const wasStep = byId("users-empty").contains(focused);
  byId("users-empty").replaceChildren(...emptyMessage);
  // While the steps to the first API user are shown, only the next one has a primary button.
  byId("create").classList.toggle("primary", !byId("users-empty").querySelector(".steps"));
  if (wasStep) (byId("users-empty").querySelector(".primary") ?? byId("create")).focus();
}

async function emptyMessageFor({ workspace, search, ...filters }) {
  if (search || Object.values(filters).some(Boolean)) {
    const what = search ? ["No API user matches “", isolated(search), Object.values(filters).some(Boolean) ? "” and the filters." : "”."] : ["No API user matches the filters."];
    const showAll = () => { clearFilters(); byId("search").focus(); selectFirstPage({ push: true }); };
    return [el("p", {}, ...what), el("button", { type: "button", onclick: showAll }, "Show all API users")];
  }
  const hasWorkspace = state.workspaces.length > 0;
  const hasSites = hasWorkspace && (await firstSiteOf(state.workspace).catch(() => "unknown")) !== null;
  return firstSteps(hasWorkspace, hasSites);
}

// The steps to the first API user. The button of the next step is the primary one.
function firstSteps(hasWorkspace, hasSites) {
  const next = !hasWorkspace ? 1 : !hasSites ? 2 : 3;
  const step = (number, title, text, ...buttons) => el("li", { class: number < next ? "done" : number === next ? "next" : null },
    el("span", { class: "number", "aria-hidden": "true" }, number < next ? icon("done") : String(number)),
    el("div", {}, el("h3", {}, title, number < next ? el("span", { class: "visually-hidden" }, " (done)") : null), el("p", { class: "quiet" }, text)),
    number < next || !buttons.length ? null : el("div", { class: "buttons" }, ...buttons));
  const button = (number, label, onclick) => el("button", { type: "button", class: number === next ? "primary" : null, onclick }, label);
  const where = state.workspace ?? (state.workspaces.length === 1 ? state.workspaces[0] : null);
  return [
    el("h2", {}, "Three steps to the first API user"),
    el("ol", { class: "steps" },
      step(1, "Workspace", hasWorkspace && where ? el("span", {}, isolated(where), " owns sites and API users.") : "A workspace owns sites and API users.", button(1, "Create workspace", newWorkspace)),
      step(2, "Sites", "Requests to your API name a site by its id.", ...(hasWorkspace ? [el("button", { type: "button", onclick: () => importSites(loadUsers) }, "Import CSV"), button(2, "Add site", () => addSite(loadUsers))] : [])),
      // An API user for all sites needs no site yet.
      step(3, "API user", "It lets an external system or integration access the data of the sites that you select.", ...(hasWorkspace ? [button(3, "Create first API User", openCreate)] : []))),
  ];
}

function userRow(user) {
  const element = row(
    cell("API Key", el("div", {}, el("div", { class: "title-line" }, nameOf(user), ...statusOf(user)), ...user.keys.map((key) => keyLine(user, key)))),
    cell("Authorized By", el("div", {}, cut(isolated(user.authorized_by.name)), cut(isolated(user.authorized_by.email, { class: "quiet" })))),
    cell("Authorized Sites", el("div", {}, sitesOf(user), severalWorkspaces() ? cut(el("div", { class: "quiet" }, "in ", isolated(user.workspace))) : null)),
    cell("Last Activity", el("div", { class: "activity" }, time(user.last_activity)), el("div", { class: "spark" })),
    cell("Created", el("div", {}, time(user.created_at))),
    el("td", { role: "cell", class: "actions" }, el("div", { class: "row-actions" }, el("a", { class: "tool", href: `#audit?${new URLSearchParams({ subject: user.id })}`, "aria-label": `History of ${titleOf(user)}` }, "History"), el("button", { type: "button", class: "tool remove", "aria-label": `Delete User ${titleOf(user)}`, onclick: () => remove(users.get(user.id)) }, "Delete User"))),
  );
  element.dataset.id = user.id;
  return element;
}

// Whether the list shows users of more than one workspace.
const severalWorkspaces = () => state.workspace === null && state.workspaces.length > 1;

// A link that opens the user. Its address can be opened in another tab and bookmarked.
function nameOf(user) {
  const follow = (event) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    busy(link, async () => {
      try {
        openUser(await request("GET", `users/${user.id}`));
      } catch (error) {
        showToast(error.message);
      }
    });
  };
  const link = el("a", { href: fragment("users", { workspace: state.workspace, user: user.id }), class: user.name ? "name" : "name quiet", dir: "auto", onclick: follow }, user.name ?? "Unnamed");
  return cut(link);
}

// The reason why a user's requests are refused, or the time from which they will be.
function statusOf(user) {
  if (user.disabled_at) return [el("span", { class: "badge off" }, "Disabled"), time(user.disabled_at)];
  if (hasExpired(user)) return [el("span", { class: "badge off" }, "Expired"), time(user.expires_at)];
  if (user.expires_at) return [cut(el("span", { class: "quiet" }, `expires ${localTime(user.expires_at)}`))];
  return user.keys.length === 1 ? expiryOf(user.keys[0]) : [];
}

function expiryOf(key) {
  if (key.expires_at === null) return [];
  if (isExpired(key)) return [el("span", { class: "badge off" }, "Expired"), time(key.expires_at)];
  return [cut(el("span", { class: "quiet" }, `expires ${localTime(key.expires_at)}`))];
}

function keyLine(user, key) {
  const shown = el("code", {}, key.hint);
  const line = el("div", { class: "keyline" }, shown, ...(user.keys.length > 1 ? expiryOf(key) : []));
  if (!key.recoverable || !state.session.recoverable_keys) return line;
  const error = el("span", { class: "error", role: "alert" });
  const reveal = async () => {
    const { keys } = await request("POST", `users/${user.id}/reveal`);
    const found = keys.find((one) => one.hint === key.hint)?.api_key;
    if (!found) throw new Error("This key cannot be shown. The database no longer has it, or it was encrypted with another secret.");
    return found;
  };
  const runWithErrors = (button, work) => busy(button, async () => {
    error.textContent = "";
    try { await work(); } catch (problem) { error.textContent = problem.message; }
  });
  const toggle = tool("Show", `Show key ${key.hint}`, "show", "hide");
  toggle.addEventListener("click", () => runWithErrors(toggle, async () => {
    const hidden = shown.textContent === key.hint;
    shown.textContent = hidden ? await reveal() : key.hint;
    line.classList.toggle("revealed", hidden);
    toggle.classList.toggle("on", hidden);
    toggle.lastElementChild.textContent = hidden ? "Hide" : "Show";
    toggle.setAttribute("aria-label", `${toggle.textContent} key ${key.hint}`);
  }));
  const copyButton = tool("Copy", `Copy key ${key.hint}`, "copy", "done");
  copyButton.addEventListener("click", () => runWithErrors(copyButton, async () => copy(shown.textContent === key.hint ? await reveal() : shown.textContent, copyButton)));
  shown.after(el("div", { class: "key-buttons" }, toggle, copyButton));
  line.append(error);
  return line;
}

const tool = (label, name, ...icons) => el("button", { type: "button", class: "tool", "aria-label": name }, ...icons.map(icon), el("span", { class: "label" }, label));

// The first two sites, and a button that lists all of them. Where there is less room, style sheets show only the first.
function sitesOf(user) {
  if (user.all_sites) return el("span", { class: "badge" }, "All sites");
  if (!user.site_count) return cut(el("div", { class: "quiet" }, "None (its sites were removed)"));
  const [first, second] = user.sites.map((site) => cut(isolated(site, { class: "chip" })));
  if (!second) return el("div", { class: "chips-line" }, first);
  second.classList.add("wide");
  const more = el("button", { type: "button", class: "chip", "aria-expanded": "false" },
    el("span", { class: "wide" }, `+${user.site_count - 2}`), el("span", { class: "narrow" }, `+${user.site_count - 1}`), el("span", { class: "visually-hidden" }, " more sites"));
  if (user.site_count === 2) more.classList.add("narrow");
  more.popoverTargetElement = byId("user-sites");
  more.addEventListener("click", () => showSites(user, more));
  return el("div", { class: "chips-line" }, first, second, more);
}

// Fill the popover that lists all sites of a user, before the browser opens it. It is not in the row, because a refresh
// may move the row, which would close it.
let popoverButton = null;
let popoverButtonTop = 0;
async function showSites(user, button) {
  popoverButton = button;
  popoverButtonTop = button.getBoundingClientRect().top;
  placeBeside(button, byId("user-sites"), 320, 340);
  byId("user-sites-title").textContent = counted(user.site_count, "site");
  byId("user-sites-error").textContent = "";
  listSites(user.sites);
  if (user.sites.length === user.site_count) return;
  try {
    const { sites } = await request("GET", `users/${user.id}`);
    if (popoverButton === button) listSites(sites);
  } catch (problem) {
    if (popoverButton === button) byId("user-sites-error").textContent = problem.message;
  }
}

// Close the popover if its row has moved, because it does not move with it. The event of a scroll may come after a click
// that followed the scroll, and must not close what the click has opened.
function closeMovedSites() {
  if (popoverButton?.getBoundingClientRect().top !== popoverButtonTop) byId("user-sites").hidePopover();
}

const listSites = (sites) => byId("user-sites-list").replaceChildren(...sites.map((site) => el("li", {}, isolated(site))));

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
  // After the deletion, the next row gets the focus.
  const deleted = byId("users-rows").querySelector(`[data-id="${user.id}"]`);
  const neighbor = (deleted?.nextElementSibling ?? deleted?.previousElementSibling)?.dataset.id;
  const next = () => (neighbor ? byId("users-rows").querySelector(`[data-id="${neighbor}"] .remove`) : null);
  const scope = user.all_sites ? ["all sites of ", isolated(user.workspace)]
    : user.site_count ? [...listed(user.sites.slice(0, 5)), user.site_count > 5 ? ` and ${counted(user.site_count - 5, "more site")}` : ""]
    : ["no sites"];
  confirm(
    user.name ? ["Delete the API user “", isolated(user.name), "”?"] : ["Delete the API user ", titleOf(user), "?"],
    [
      el("p", {}, "The key ", el("code", {}, user.keys.map((key) => key.hint).join(", ")),
        user.disabled_at || hasExpired(user) || user.keys.every(isExpired) ? " is already refused. It had access to " : " stops working immediately. It loses access to ", ...scope, "."),
      el("p", {}, user.last_activity ? "It was last used " : "It was never used.", user.last_activity ? time(user.last_activity) : null, user.last_activity ? "." : null),
      el("p", {}, el("b", {}, "The user is permanently deleted. This action cannot be undone.")),
    ],
    "Delete",
    async () => {
      await deleteIfExists(`users/${user.id}`);
      await loadUsers();
      byId("user-dialog").close();
      return ["Deleted the API user ", isolated(titleOf(user)), "."];
    },
    next,
  );
}

// === Usage ===

// Draw how many requests of each user in the list passed on the last 30 days. Errors are not shown: the list is useful
// without it.
async function loadSparklines(loadNumber) {
  const shown = [...byId("users-rows").children];
  if (!shown.length) return;
  const summary = await request("GET", query("usage", { ids: shown.map((element) => element.dataset.id).join() }), undefined, { quiet: true }).catch(() => null);
  if (!summary || loadNumber !== latestLoad) return;
  const passed = new Map(summary.items.map((item) => [item.id, item.passed]));
  for (const element of shown) {
    const values = passed.get(element.dataset.id);
    const spark = element.querySelector(".spark");
    if (spark.dataset.shown === String(values)) continue;
    spark.dataset.shown = String(values);
    const label = values && `${counted(values.reduce((sum, value) => sum + value), "request")} passed in 30 days`;
    spark.title = label ?? "";
    spark.replaceChildren(...(values ? [bars(values, label)] : []));
  }
}

const HOUR_MS = 3_600_000;
const PERIODS = { day: { step: 24 * HOUR_MS, text: "in 30 days" }, hour: { step: HOUR_MS, text: "in 7 days" } };
const usageDay = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeZone: "UTC" });
const usageHour = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });
let usageOf = null;

export function setUpUsage() {
  byId("usage-by").addEventListener("change", () => showUsage(usageOf));
}

// Show the usage of the user in the open dialog, by day or by hour.
async function showUsage(id) {
  usageOf = id;
  const by = byId("usage-by").value;
  const isCurrent = () => usageOf === id && byId("usage-by").value === by;
  byId("usage-error").textContent = "";
  try {
    const usage = await request("GET", query(`users/${id}/usage`, { by }), undefined, { quiet: true });
    if (isCurrent()) drawUsage(usage);
  } catch (error) {
    if (isCurrent()) byId("usage-error").textContent = error.message;
  }
}

const sumOf = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);

function drawUsage({ by, since, items }) {
  const { step, text } = PERIODS[by];
  const format = (at) => (by === "day" ? usageDay : usageHour).format(at);
  const begin = new Date(since).getTime();
  const intervals = Array.from({ length: Math.floor((Date.now() - begin) / step) + 1 }, () => ({ passed: 0, refused: {}, bytes_out: 0 }));
  const codes = {};
  let bytes = 0;
  for (const item of items) {
    const place = Math.round((new Date(item.at) - begin) / step);
    if (place < intervals.length) intervals[place] = item;
    for (const [code, count] of Object.entries(item.refused)) codes[code] = (codes[code] ?? 0) + count;
    bytes += item.bytes_out;
  }
  const passed = intervals.map((interval) => interval.passed);
  const refused = intervals.map((interval) => sumOf(interval.refused));
  const reasons = Object.entries(codes).sort(([, one], [, other]) => other - one).map(([code, count]) => `${code} ${count.toLocaleString("en")}`);
  const refusals = sumOf(codes);
  const summary = `${counted(sumOf(passed), "request")} passed, ${refusals.toLocaleString("en")} refused${refusals ? ` (${reasons.join(", ")})` : ""}, ${byteSize(bytes)} sent ${text}.`;
  byId("usage-summary").textContent = items.length ? summary : `No requests ${text}.`;
  byId("usage-drawing").replaceChildren(bars(passed, `Chart: ${summary}`, refused), el("div", { class: "axis quiet" }, el("span", {}, format(begin)), el("span", {}, `${format(begin + (intervals.length - 1) * step)} (UTC)`)));
  byId("usage-drawing").hidden = byId("usage-table").hidden = !items.length;
  byId("usage-rows").replaceChildren(...items.toReversed().map((item) => el("tr", {},
    el("th", { scope: "row" }, format(new Date(item.at))), el("td", {}, item.passed.toLocaleString("en")),
    el("td", {}, sumOf(item.refused).toLocaleString("en")), el("td", {}, byteSize(item.bytes_out)))));
}

// === Dialog with one API user ===

// Open the user that the address names, if there is one.
export async function showOpenUser() {
  const id = address().parameters.get("user");
  const dialog = byId("user-dialog");
  if (!id || dialog.open) return;
  try {
    const user = await request("GET", `users/${encodeURIComponent(id)}`);
    if (address().parameters.get("user") === id && !dialog.open) openUser(user);
  } catch (error) {
    if (error.status === 404) changeAddress({ user: null });
    showToast(error.message);
  }
}

function openUser(user) {
  showDetails(user);
  byId("usage-by").value = "day";
  byId("usage-table").open = false;
  byId("usage-summary").textContent = "";
  byId("usage-drawing").hidden = byId("usage-table").hidden = true;
  showUsage(user.id);
  show(byId("user-dialog"), undefined, { user: user.id });
  byId("user-title").focus();
}

// Show the details of a user in the open dialog.
function showDetails(user) {
  const changed = (latest) => {
    showDetails(latest);
    loadUsers();
  };
  const keys = keyRows(user, changed);
  const sites = user.all_sites ? [el("span", { class: "badge" }, "All sites")]
    : user.site_count ? [el("ul", { class: "site-list", tabindex: "0", "aria-label": "Authorized sites" }, ...user.sites.map((site) => el("li", {}, isolated(site))))]
    : ["None (its sites were removed)"];
  const details = {
    "API key": keys,
    Workspace: [isolated(user.workspace)],
    "Authorized by": [el("div", {}, isolated(user.authorized_by.name)), el("a", { href: fragment("users", { workspace: state.workspace, by: user.authorized_by.email }) }, emailAddress(user.authorized_by.email))],
    ...(user.expires_at ? { Expires: [time(user.expires_at), ` (${localTime(user.expires_at)})`] } : {}),
    ...(user.methods ? { Methods: [user.methods.join(", ")] } : {}),
    ...(user.networks ? { Networks: [el("span", { class: "code" }, user.networks.join(", "))] } : {}),
    ...(limitTexts(user).length ? { Limit: [limitTexts(user).join(", ")] } : {}),
    "Last activity": [time(user.last_activity)],
    Created: [time(user.created_at)],
    History: [el("a", { href: fragment("audit", { workspace: state.workspace, subject: user.id }) }, "Entries in the audit log")],
    [user.all_sites || !user.site_count ? "Authorized sites" : `Authorized sites (${user.site_count.toLocaleString("en")})`]: sites,
  };
  byId("user-title").replaceChildren(user.name ? isolated(user.name) : "Unnamed", ...(user.disabled_at ? [" ", el("span", { class: "badge off" }, "Disabled")] : []));
  byId("user-details").replaceChildren(...Object.entries(details).flatMap(([term, values]) => [el("dt", {}, term), el("dd", {}, ...values)]));
  byId("user-delete").onclick = () => remove(user);
  byId("user-edit").onclick = () => openEdit(user, changed);
  byId("user-rotate").onclick = () => openRotate(user, changed);
  byId("user-try").onclick = () => openTry(user);
}

function limitTexts(user) {
  const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 6 });
  const labels = { requests_per_second: "requests per second", burst: "at once", requests_per_day: "requests per day" };
  return LIMITS.filter((field) => user[field] !== null).map((field) => `${number(user[field])} ${labels[field]}`);
}

// === Dialog “Try a request” ===
// Decides on a request without sending it, as `sitelatch explain` does. A pasted key is sent only in the body of the
// request, and forgotten when the dialog closes.

const VERDICTS = { passes: "Passes", refused: "Refused", undecided: "Undecided" };

export function setUpTry() {
  byId("try").addEventListener("click", () => openTry());
  byId("try-as").addEventListener("change", showKeyField);
  byId("try-form").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(byId("try-submit"), decide);
  });
}

// Open the dialog for an API user that sends the request, or for null.
function openTry(user = null) {
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
    client_address: byId("try-address").value.trim() || null,
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

// === Dialogs “Edit API User” and “Rotate key” ===
// The dialogs that change an API user and rotate its key. A change is based on the version that the dialog has loaded. If
// someone else has changed the API user since then, the dialog shows what, and keeps what was typed.

const READ_ONLY = ["GET", "HEAD", "OPTIONS"];
const LIMITS = ["requests_per_second", "burst", "requests_per_day"];
const FIELD_LABELS = { name: "the name", disabled: "whether it is disabled", expires_at: "the expiry", methods: "the methods", networks: "the networks", requests_per_second: "the requests per second", burst: "the requests at once", requests_per_day: "the requests per day", all_sites: "access to all sites", sites: "the sites" };
const SECONDS_PER = { seconds: 1, minutes: 60, hours: 3600, days: 86_400 };

// The user as loaded, what the form shows for it, and the function to call with the changed user.
let edited = null;
let loadedValues = {};
let onEdited = () => {};
let sentRotation = { body: "", key: "" };

export function setUpEdit() {
  byId("edit-form").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(byId("edit-save"), saveEdit);
  });
  byId("edit-all").addEventListener("change", showEditFields);
  byId("edit-methods").addEventListener("change", showEditFields);
  byId("rotate-form").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(byId("rotate-submit"), rotateKey);
  });
  byId("rotated-copy").addEventListener("click", () => copy(byId("rotated-key").value, byId("rotated-copy")));
}

// === Dialog “Edit API User” ===

// Open the dialog for a user, with another site selected.
export async function editUser(id, { site, then }) {
  try {
    openEdit(await request("GET", `users/${encodeURIComponent(id)}`), then);
    if (site && !byId("edit-all").checked) picker.add([site]);
  } catch (error) {
    showToast(error.message);
  }
}

function openEdit(loaded, changed) {
  [edited, onEdited] = [loaded, changed];
  loadedValues = valuesOf(loaded);
  picker.moveTo(byId("edit-sites"), loaded.workspace);
  fillEdit(loadedValues, Object.keys(loadedValues));
  byId("edit-conflict").hidden = true;
  showEditError();
  show(byId("edit-dialog"));
  byId("edit-name").focus();
}

// The values that the form shows for a user. They can be compared as JSON.
const valuesOf = (user) => ({
  name: user.name ?? "", disabled: user.disabled, expires_at: toLocalInput(user.expires_at), methods: user.methods?.join(", ") ?? "",
  networks: user.networks?.join("\n") ?? "", requests_per_second: String(user.requests_per_second ?? ""), burst: String(user.burst ?? ""), requests_per_day: String(user.requests_per_day ?? ""), all_sites: user.all_sites, sites: [...user.sites].sort().join("\n"),
});

// A time as the input for local times shows it, in whole seconds.
function toLocalInput(text) {
  if (!text) return "";
  const at = new Date(text);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

const listIn = (id) => byId(id).value.split(/[\s,;]+/).filter(Boolean);
const linesOf = (text) => text.split("\n").filter(Boolean);

function typedValues() {
  const chosen = byId("edit-methods").value;
  return {
    name: byId("edit-name").value.trim(), disabled: byId("edit-disabled").checked, expires_at: byId("edit-expires").value && toLocalInput(byId("edit-expires").value),
    methods: chosen === "all" ? "" : chosen === "read" ? READ_ONLY.join(", ") : listIn("edit-methods-list").join(", "),
    networks: listIn("edit-networks").join("\n"), requests_per_second: byId("edit-rate").value.trim(), burst: byId("edit-burst").value.trim(), requests_per_day: byId("edit-day").value.trim(), all_sites: byId("edit-all").checked, sites: byId("edit-all").checked ? "" : picker.sites.sort().join("\n"),
  };
}

function fillEdit(values, fields) {
  const setters = {
    name: (value) => { byId("edit-name").value = value; },
    disabled: (value) => { byId("edit-disabled").checked = value; },
    expires_at: (value) => { byId("edit-expires").value = value; },
    methods: (value) => {
      byId("edit-methods").value = value === "" ? "all" : value === READ_ONLY.join(", ") ? "read" : "some";
      byId("edit-methods-list").value = value;
    },
    networks: (value) => { byId("edit-networks").value = value; },
    requests_per_second: (value) => { byId("edit-rate").value = value; },
    burst: (value) => { byId("edit-burst").value = value; },
    requests_per_day: (value) => { byId("edit-day").value = value; },
    all_sites: (value) => { byId("edit-all").checked = value; },
    sites: (value) => picker.select(linesOf(value)),
  };
  for (const field of fields) setters[field](values[field]);
  showEditFields();
}

function showEditFields() {
  byId("edit-sites").hidden = byId("edit-all").checked;
  byId("edit-methods-list-field").hidden = byId("edit-methods").value !== "some";
}

function showEditError(error = null) {
  byId("edit-error").textContent = error?.message ?? "";
}

// The body of the request: only what differs from what was loaded.
function changedFields(values) {
  const body = {};
  for (const field of ["name", "methods", "networks", "expires_at", ...LIMITS]) if (values[field] !== loadedValues[field]) body[field] = values[field] || null;
  if (body.expires_at) body.expires_at = new Date(values.expires_at).toISOString();
  if (body.methods) body.methods = values.methods.split(", ");
  // The server says what is wrong with a text that is not a number.
  for (const field of LIMITS) if (body[field]) body[field] = Number.isFinite(Number(body[field])) ? Number(body[field]) : body[field];
  if (body.networks) body.networks = linesOf(values.networks);
  for (const field of ["disabled", "all_sites"]) if (values[field] !== loadedValues[field]) body[field] = values[field];
  if (!values.all_sites && values.sites !== loadedValues.sites) {
    const [before, after] = [loadedValues.sites, values.sites].map((text) => new Set(linesOf(text)));
    body.sites = { add: [...after].filter((site) => !before.has(site)), remove: [...before].filter((site) => !after.has(site)) };
  }
  return body;
}

async function saveEdit() {
  showEditError();
  if (!byId("edit-all").checked && !(await picker.addPasted())) return;
  try {
    const changed = await request("PATCH", `users/${edited.id}`, changedFields(typedValues()), { headers: { "If-Match": `"${edited.version}"` } });
    byId("edit-dialog").close();
    onEdited(changed);
    showToast("Changed the API user ", isolated(changed.name ?? changed.keys[0]?.hint ?? changed.id), ".");
  } catch (error) {
    if (error.status !== 412) return showEditError(error);
    try {
      showConflict(await request("GET", `users/${edited.id}`));
    } catch (problem) {
      showEditError(problem);
    }
  }
}

// Show what someone else has changed. Fields that were not edited here get the new values. Edited fields keep their entries.
function showConflict(current) {
  const [mine, theirs] = [typedValues(), valuesOf(current)];
  const changed = Object.keys(loadedValues).filter((field) => theirs[field] !== loadedValues[field]);
  const lines = changed.map((field) => el("li", {}, `${FIELD_LABELS[field]}: `, ...shownValue(loadedValues[field]), " → ", ...shownValue(theirs[field]), mine[field] !== loadedValues[field] && mine[field] !== theirs[field] ? " (your entry is kept)" : ""));
  byId("edit-changes").replaceChildren(...(lines.length ? lines : [el("li", {}, "the keys")]));
  byId("edit-conflict").hidden = false;
  const untouched = Object.keys(loadedValues).filter((field) => mine[field] === loadedValues[field]);
  [edited, loadedValues] = [current, theirs];
  fillEdit(theirs, untouched);
  byId("edit-conflict").focus();
}

const shownValue = (value) => (value === "" ? ["none"] : [isolated(typeof value === "boolean" ? (value ? "yes" : "no") : value.replaceAll("\n", ", "))]);

// === Keys of an API user ===

// The keys of a user, with their last use and the time that is left by the database's clock.
function keyRows(shownUser, changed) {
  const inOverlap = isInOverlap(shownUser);
  return shownUser.keys.map((key, index) => {
    const isOld = index < shownUser.keys.length - 1;
    const facts = [key.last_activity ? ["last used ", time(key.last_activity)] : ["never used"], ...(key.seconds_left === null ? [] : [[timeLeft(key)]])];
    const end = el("button", { type: "button", class: "small", onclick: () => endOldKeys(shownUser, changed) }, "End now");
    return el("div", { class: "key-facts" }, el("code", {}, key.hint), ...facts.map((parts) => el("span", { class: "quiet" }, ...parts)), inOverlap && isOld && key.seconds_left > 0 ? end : null);
  });
}

const isInOverlap = ({ keys }) => keys.filter((key) => key.seconds_left !== 0).length > 1;

function timeLeft(key) {
  if (key.seconds_left === 0) return el("span", { class: "badge off" }, "Expired");
  const endsAt = performance.now() + key.seconds_left * 1000;
  const element = el("span", {});
  const tick = () => {
    const left = Math.ceil((endsAt - performance.now()) / 1000);
    element.textContent = left <= 0 ? "expired" : left < 120 ? `${duration(left)} left` : left < 7200 ? `${Math.ceil(left / 60)} minutes left` : `until ${localTime(new Date(Date.now() + left * 1000).toISOString())}`;
    if (left > 0 && (element.isConnected || performance.now() < endsAt - key.seconds_left * 1000 + 2000)) setTimeout(tick, 500);
  };
  tick();
  return element;
}

function endOldKeys(shownUser, changed) {
  const old = shownUser.keys.slice(0, -1).filter((key) => key.seconds_left !== 0);
  confirm(["End the old key?"], [
    ...old.map((key) => el("p", {}, "The key ", el("code", {}, key.hint), " stops working now. It was ", key.last_activity ? "last used " : "never used", key.last_activity ? time(key.last_activity) : null, ".")),
  ], "End old key", async () => {
    changed(await request("DELETE", `users/${shownUser.id}/old-keys`));
    return ["The old key has ended."];
  });
}

// === Dialog “Rotate key” ===

function openRotate(loaded, changed) {
  [edited, onEdited] = [loaded, changed];
  sentRotation = { body: "", key: "" };
  byId("rotate-form").reset();
  byId("rotate-error").textContent = "";
  byId("rotate-end").closest("label").hidden = !isInOverlap(loaded);
  byId("rotate-form").hidden = false;
  byId("rotated").hidden = true;
  delete byId("rotate-dialog").dataset.stays;
  show(byId("rotate-dialog"), () => { byId("rotated-key").value = ""; });
  byId("rotate-overlap").focus();
}

async function rotateKey() {
  byId("rotate-error").textContent = "";
  const overlap = Number(byId("rotate-overlap").value);
  if (!Number.isInteger(overlap) || overlap < 0 || byId("rotate-overlap").value === "") {
    byId("rotate-error").textContent = "Enter a whole number of 0 or more.";
    return;
  }
  const body = { overlap_seconds: overlap * SECONDS_PER[byId("rotate-unit").value], end_old_key: byId("rotate-end").checked };
  if (sentRotation.body !== JSON.stringify(body)) sentRotation = { body: JSON.stringify(body), key: crypto.randomUUID() };
  try {
    const rotated = await request("POST", `users/${edited.id}/keys`, body, { headers: { "Idempotency-Key": `"${sentRotation.key}"` } });
    showRotated(rotated);
  } catch (error) {
    byId("rotate-error").textContent = error.message;
  }
}

function showRotated(rotated) {
  const { api_key: key, ...changed } = rotated;
  byId("rotate-form").hidden = true;
  byId("rotated").hidden = false;
  byId("rotated-key-section").hidden = !key;
  byId("rotated-key").value = key ?? "";
  const old = rotated.keys.at(-2);
  byId("rotated-text").textContent = !key ? "An earlier request rotated the key, but its response was lost. Rotate the key again, and end the old key."
    : old?.seconds_left ? `The old key works for ${duration(JSON.parse(sentRotation.body).overlap_seconds)} more.` : "The old key no longer works.";
  if (key && !state.session.recoverable_keys) byId("rotate-dialog").dataset.stays = "yes";
  onEdited(changed);
  byId("rotated-title").focus();
}

// Whether a user has expired, by the clock of the browser.
const hasExpired = ({ expires_at: end }) => end !== null && isPast(end);

// === Dialog “Import keys” ===
// Keys that clients already have, each for an API user of its own. The first step previews the import with a dry run.

// The server accepts 4 MB of JSON, and Base64 makes the file a third larger.
const MAX_KEY_BYTES = 2_900_000;

let afterKeyImport = () => {};
// The body of the previewed import, or null in the first step.
let previewedKeys = null;

export function setUpKeyImport(then) {
  afterKeyImport = then;
  byId("import-keys").addEventListener("click", openKeyImport);
  byId("keys-back").addEventListener("click", () => {
    showKeyFileStep();
    byId("keys-file").focus();
  });
  byId("keys-form").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(byId("keys-submit"), async () => {
      byId("keys-error").textContent = "";
      try {
        await (previewedKeys ? importKeys() : previewKeys());
      } catch (error) {
        byId("keys-error").textContent = error.message;
      }
    });
  });
}

export function openKeyImport() {
  byId("keys-form").reset();
  const none = el("option", { value: "" }, "None: all lines name one");
  byId("keys-workspace").replaceChildren(none, ...state.workspaces.map((name) => el("option", { value: name }, name)));
  byId("keys-workspace").value = state.workspace ?? (state.workspaces.length === 1 ? state.workspaces[0] : "");
  showKeyFileStep();
  // The file contains keys, so it is forgotten with the dialog.
  show(byId("keys-dialog"), () => {
    previewedKeys = null;
    byId("keys-form").reset();
  });
  byId("keys-file").focus();
}

function showKeyFileStep() {
  previewedKeys = null;
  byId("keys-error").textContent = "";
  byId("keys-file-step").hidden = false;
  byId("keys-preview").hidden = byId("keys-back").hidden = true;
  byId("keys-submit").hidden = false;
  byId("keys-submit").textContent = "Preview";
}

async function previewKeys() {
  const [file] = byId("keys-file").files;
  if (!file) throw new Error("Choose a file.");
  if (file.size > MAX_KEY_BYTES) throw new Error("The file is larger than 2.9 MB. Split it, or use the command sitelatch import.");
  const bytes = new Uint8Array(await file.arrayBuffer());
  let binary = "";
  for (let start = 0; start < bytes.length; start += 0x8000) binary += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  const body = {
    file: btoa(binary),
    workspace: byId("keys-workspace").value || null,
    all_sites: byId("keys-all").checked,
    update: byId("keys-update").checked,
    allow_weak: byId("keys-weak").checked,
  };
  showKeyPreview(await request("POST", "key-imports", { ...body, dry_run: true }));
  previewedKeys = body;
}

function showKeyPreview({ imported, changed, unchanged, warnings, errors }) {
  const nothing = !imported && !changed && !errors.length;
  byId("keys-file-step").hidden = true;
  byId("keys-preview").hidden = byId("keys-back").hidden = false;
  byId("keys-summary").textContent = `${imported.toLocaleString("en")} new, ${changed.toLocaleString("en")} changed, ${unchanged.toLocaleString("en")} unchanged.${nothing ? " There is nothing to import." : ""}`;
  byId("keys-errors").hidden = !errors.length;
  byId("keys-errors-title").textContent = `${errors.length.toLocaleString("en")} ${errors.length === 1 ? "error" : "errors"}. Correct the file, and choose it again.`;
  byId("keys-error-list").replaceChildren(...errors.map(({ line, detail }) => el("li", {}, line === null ? null : el("b", {}, `Line ${line}: `), isolated(detail))));
  byId("keys-warnings").replaceChildren(...warnings.map((text) => el("p", { class: "notice" }, text)));
  byId("keys-submit").hidden = errors.length > 0 || nothing;
  byId("keys-submit").textContent = "Import";
  byId("keys-summary").focus();
}

async function importKeys() {
  const { imported, changed, unchanged } = await request("POST", "key-imports", previewedKeys);
  byId("keys-dialog").close();
  showToast(`${imported.toLocaleString("en")} imported, ${changed.toLocaleString("en")} changed, ${unchanged.toLocaleString("en")} unchanged.`);
  await afterKeyImport();
}

// === Dialog “Create API User” ===
// The form, and then the key. If a response was lost, the request is sent again with the same
// Idempotency-Key, so that it does not create a second user.

const ERRORS = ["create-error", "create-workspace-error", "create-name-error", "site-picker-error"];
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
  picker.moveTo(byId("create-sites"), select.value);
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
  byId("create-all-help").hidden = !all;
}

async function create() {
  for (const id of ERRORS) byId(id).textContent = "";
  const all = byId("create-all").checked;
  const name = byId("create-name").value.trim();
  if (!all && !(await picker.addPasted())) return;
  if (!all && !picker.sites.length) {
    byId("site-picker-error").textContent = "Select at least one site, or authorize for all sites.";
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
    showKey(user, user.sites[0] ?? (await firstSiteOf(user.workspace).catch(() => null)) ?? "SITE");
  } catch (error) {
    const targets = { workspace: "create-workspace-error", name: "create-name-error", sites: "site-picker-error" };
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

function showKey(user, site) {
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
    : [`It can access ${counted(user.site_count, "selected site")}.`];
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
