// The audit log. Each entry is shown as a sentence. The filters are in the URL.

import { address, changeAddress, fragment, query, readPage, rememberScroll, state, textFrom, withoutKeys } from "./api.js";
import { byId, cell, counted, debounced, duration, el, emailAddress, isolated, localTime, Pages, row, setUpFilters, showError, showFilterCount, time } from "./components.js";

// The fields of the filters, by their names in the URL. The dates are those of the browser's time zone.
const FIELDS = { search: "audit-search", action: "audit-action", actor: "audit-actor", from: "audit-from", to: "audit-to" };
let pages = null;
let latestLoad = 0;
// The id of the API user or site, or the name of the workspace, that the list is about.
let subject = null;

export function setUpAudit() {
  pages = new Pages(byId("audit-pages"), 50, loadAudit);
  setUpFilters(byId("audit-filters"));
  byId("audit-search").addEventListener("input", typedLater);
  byId("audit-actor").addEventListener("input", typedLater);
  byId(FIELDS.action).addEventListener("change", () => changeFilters({ push: true }));
  for (const name of ["from", "to"]) byId(FIELDS[name]).addEventListener("change", () => changeDate(name));
  byId("audit-subject").querySelector("button").addEventListener("click", () => {
    subject = null;
    changeFilters({ push: true });
    byId("audit-search").focus();
  });
}

// Show what the address says.
export function showAddress() {
  readFilters();
  pages.read(address().parameters);
  return loadAudit();
}

// The address of the audit log with these filters.
export const auditUrl = (filters) => fragment("audit", { workspace: state.workspace, ...filters });

function readFilters() {
  const { parameters } = address();
  for (const [name, id] of Object.entries(FIELDS)) byId(id).value = textFrom(parameters, name);
  subject = parameters.get("subject");
}

const filters = () => ({ subject, ...Object.fromEntries(Object.entries(FIELDS).map(([name, id]) => [name, withoutKeys(byId(id).value)])) });

// Text replaces the entry of the history, so that the Back button does not undo it letter by letter.
const typedLater = debounced(300, () => changeFilters());

function changeFilters({ push = false } = {}) {
  pages.reset();
  typedLater.cancel();
  const { search, actor, ...others } = filters();
  if (push) {
    rememberScroll();
    changeAddress({ search, actor }); // the entry that the Back button leads to has the text, too
  }
  changeAddress({ search, actor, ...others, page: null, after: null }, { push, before: [] });
  return loadAudit();
}

// A date that is typed changes with each digit, so only the first of its values gets an entry in the history.
function changeDate(name) {
  const wasGiven = address().parameters.has(name);
  return changeFilters({ push: wasGiven !== Boolean(byId(FIELDS[name]).value) });
}

// The parameters of the API.
function parameters() {
  const { from, to, ...others } = filters();
  const midnight = (date, days) => {
    const [year, month, day] = date.split("-").map(Number);
    return new Date(year, month - 1, day + days).toISOString();
  };
  return { workspace: state.workspace, ...others, since: from && midnight(from, 0), until: to && midnight(to, 1) };
}

export async function loadAudit() {
  const load = ++latestLoad;
  const shown = parameters();
  byId("audit-subject").hidden = subject === null;
  showFilterCount(byId("audit-filters"), ["action", "actor", "from", "to"].filter((name) => byId(FIELDS[name]).value).length);
  byId("audit-export").href = query("audit.csv", shown);
  try {
    const page = await readPage("audit", { ...shown, after: pages.after, limit: 50 }, { isCurrent: () => load === latestLoad });
    if (load !== latestLoad) return false;
    showError("audit-error");
    byId("audit-rows").replaceChildren(...page.items.map(entryRow));
    byId("audit-people").replaceChildren(...[...new Set(page.items.map((entry) => entry.actor.email))].map((email) => el("option", { value: email })));
    if (subject !== null) byId("audit-subject").querySelector("b").replaceChildren(...titleOfSubject(page.items));
    pages.show(page.next, page.items.length);
    byId("audit-empty").hidden = page.items.length > 0;
    byId("audit-empty").previousElementSibling.hidden = !page.items.length;
    byId("audit-empty").replaceChildren(...(page.next ? [el("p", {}, "No match yet. Choose Next to search further.")] : emptyMessage()));
    return true;
  } catch (error) {
    if (load === latestLoad && pages.recover(error)) return loadAudit();
    if (load === latestLoad) showError("audit-error", error);
    return false;
  }
}

function emptyMessage() {
  if (!Object.values(filters()).some(Boolean)) {
    return [el("h2", {}, "No entries yet"), el("p", { class: "quiet" }, "Each change to workspaces, sites and API users is recorded here, with the person who made it. ",
      el("a", { href: "#users" }, "Go to the API users"), " to make the first change.")];
  }
  return [el("p", {}, "No entry matches these filters."), el("a", { href: "#audit", class: "button" }, "Show all entries")];
}

// The name of the subject that the list is about, if one of the entries contains it.
function titleOfSubject(entries) {
  const about = entries.find((entry) => entry.subject === subject && entry.action.startsWith("user."));
  return about ? user(about.detail) : [isolated(subject)];
}

function entryRow(entry) {
  return row(
    cell("When", el("div", {}, time(entry.at), el("span", { class: "quiet" }, localTime(entry.at)))),
    cell("Who", el("div", {}, el("a", { class: "plain", href: auditUrl({ actor: entry.actor.email }), "aria-label": `Entries by ${entry.actor.name}` }, isolated(entry.actor.name)), emailAddress(entry.actor.email, { class: "quiet" }))),
    cell("What", el("div", {}, ...sentence(entry), ...links(entry))),
    cell("Workspace", el("div", {}, entry.workspace ? isolated(entry.workspace) : "")),
    cell("From", el("div", {}, entry.address)),
  );
}

// Links to the API user, if it still exists, and to all entries about the same subject.
function links({ action, subject: about, subject_exists: exists, detail }) {
  const found = [];
  const name = detail.name || detail.keys?.[0] || about;
  if (exists && detail.keys?.length) found.push(el("a", { href: `#users?${new URLSearchParams({ search: detail.keys[0] })}`, "aria-label": `Show the API user ${name}` }, "Show"));
  if (about && about !== subject) found.push(el("a", { href: auditUrl({ subject: about }), "aria-label": `History of ${action.startsWith("user.") ? name : about}` }, "History"));
  return found.length ? [el("span", { class: "links" }, ...found)] : [];
}

function sentence({ action, subject, detail }) {
  const site = [el("b", {}, isolated(subject ?? "")), detail.display_name && detail.display_name !== subject ? el("span", {}, " (", isolated(detail.display_name), ")") : null].filter(Boolean);
  switch (action) {
    case "user.created": return [detail.imported ? "Imported the API user " : "Created the API user ", ...user(detail), " with access to ", ...scope(detail), ...until(detail)];
    case "user.imported": return ["Changed the API user ", ...user(detail), " by an import: from access to ", ...scope(detail.before ?? {}), ...until(detail.before ?? {}), ", to access to ", ...scope(detail.after ?? {}), ...until(detail.after ?? {})];
    case "user.edited": return ["Changed the API user ", ...user(detail), ": ", ...listedParts(differences(detail.changes ?? {}))];
    case "user.rotated": return ["Rotated the key of the API user ", ...user(detail), ": from ", ...codes(detail.from ?? []), " to ", ...codes([detail.to]), detail.overlap_seconds ? `. The old key works for ${duration(detail.overlap_seconds)} more` : ". The old key no longer works"];
    case "user.keys_ended": return ["Ended the old key ", ...codes(detail.ended ?? []), " of the API user ", ...user(detail)];
    case "user.deleted": return ["Deleted the API user ", ...user(detail), ", which had access to ", ...scope(detail)];
    case "user.revealed": return ["Revealed the key of the API user ", ...user(detail)];
    case "site.created": return ["Added the site ", ...site];
    case "site.renamed": return ["Renamed the site ", el("b", {}, isolated(subject)), " from ", isolated(detail.from ?? ""), " to ", isolated(detail.to ?? "")];
    case "site.removed": return ["Removed the site ", ...site, `, which ${counted(detail.user_count ?? 0, "API user")} had selected`];
    case "workspace.created": return ["Created the workspace ", el("b", {}, isolated(subject))];
    case "workspace.renamed": return ["Renamed the workspace ", isolated(detail.from ?? ""), " to ", el("b", {}, isolated(subject))];
    case "workspace.removed": return ["Removed the workspace ", el("b", {}, isolated(subject))];
    default: return [action, " ", isolated(subject ?? "")];
  }
}

const codes = (keys) => listedParts(keys.map((key) => [el("code", {}, key)]), ", ");

const listedParts = (parts, between = "; ") => parts.flatMap((part, index) => (index ? [between, ...part] : part));

// The differences that an entry records, each with its value before and after.
function differences(changes) {
  const changed = (label, { from, to }, shown) => [`${label} from `, ...shown(from), " to ", ...shown(to)];
  const text = (value) => (value === null ? ["none"] : [isolated(String(value))]);
  const list = (value) => (value === null ? ["any"] : [value.join(", ")]);
  const moment = (value) => (value === null ? ["never"] : [localTime(value)]);
  const sites = ({ sites: shown = [], site_count: count = 0 }) => scope({ sites: shown, site_count: count });
  const parts = [];
  if (changes.name) parts.push(changed("name", changes.name, text));
  if (changes.disabled) parts.push([changes.disabled.to ? "enabled, now disabled" : "disabled, now enabled"]);
  if (changes.expires_at) parts.push(changed("expiry", changes.expires_at, moment));
  if (changes.methods) parts.push(changed("methods", changes.methods, list));
  if (changes.networks) parts.push(changed("networks", changes.networks, list));
  if (changes.requests_per_second) parts.push(changed("requests per second", changes.requests_per_second, text));
  if (changes.burst) parts.push(changed("requests at once", changes.burst, text));
  if (changes.requests_per_day) parts.push(changed("requests per day", changes.requests_per_day, text));
  if (changes.all_sites) parts.push(changes.all_sites.to ? ["access from selected sites to all sites"] : ["access from all sites to selected sites"]);
  if (changes.sites?.added?.site_count) parts.push(["added the sites ", ...sites(changes.sites.added)]);
  if (changes.sites?.removed?.site_count) parts.push(["removed the sites ", ...sites(changes.sites.removed)]);
  return parts;
}

function user({ name, keys }) {
  const hints = codes(keys ?? []);
  return name ? [el("b", {}, isolated(name)), " ", ...hints] : hints;
}

const until = ({ expires_at: end }) => (end ? [" until ", localTime(end)] : []);

function scope({ all_sites: all, sites = [], site_count: count = 0 }) {
  if (all) return ["all sites"];
  if (!count) return ["no sites"];
  const shown = sites.slice(0, 5).flatMap((site, index) => (index ? [", ", isolated(site)] : [isolated(site)]));
  return count > 5 ? [...shown, ` and ${(count - 5).toLocaleString("en")} more`] : shown;
}
