// The audit log. Each entry is shown as a sentence.

import { query, request, state } from "./api.js";
import { byId, cell, el, emailAddress, isolated, localTime, Pages, row, showError, time } from "./components.js";

let pages = null;
let latestLoad = 0;

export function setUpAudit() {
  pages = new Pages(byId("audit-pages"), loadAudit);
}

export function loadFirstPage() {
  pages.reset();
  return loadAudit();
}

export async function loadAudit() {
  const load = ++latestLoad;
  try {
    const page = await request("GET", query("audit", { workspace: state.workspace, after: pages.after, limit: 50 }));
    if (load !== latestLoad) return false;
    showError("audit-error");
    byId("audit-rows").replaceChildren(...page.items.map(entryRow));
    pages.show(page.next);
    byId("audit-empty").hidden = page.items.length > 0;
    byId("audit-empty").previousElementSibling.hidden = !page.items.length;
    byId("audit-empty").replaceChildren(el("p", { class: "quiet" }, "There are no entries yet."));
    return true;
  } catch (error) {
    if (load === latestLoad) showError("audit-error", error);
    return false;
  }
}

function entryRow(entry) {
  return row(
    cell("When", el("div", {}, time(entry.at), el("span", { class: "quiet" }, localTime(entry.at)))),
    cell("Who", el("div", {}, isolated(entry.actor.name), emailAddress(entry.actor.email, { class: "quiet" }))),
    cell("What", el("div", {}, ...sentence(entry))),
    cell("Workspace", el("div", {}, entry.workspace ? isolated(entry.workspace) : "")),
    cell("From", el("div", {}, entry.address)),
  );
}

function sentence({ action, subject, detail }) {
  const site = [el("b", {}, isolated(subject ?? "")), detail.display_name && detail.display_name !== subject ? el("span", {}, " (", isolated(detail.display_name), ")") : null].filter(Boolean);
  switch (action) {
    case "user.created": return ["Created the API user ", ...user(detail), " with access to ", ...scope(detail)];
    case "user.deleted": return ["Deleted the API user ", ...user(detail), ", which had access to ", ...scope(detail)];
    case "user.revealed": return ["Revealed the key of the API user ", ...user(detail)];
    case "site.created": return ["Added the site ", ...site];
    case "site.renamed": return ["Renamed the site ", el("b", {}, isolated(subject)), " from ", isolated(detail.from ?? ""), " to ", isolated(detail.to ?? "")];
    case "site.removed": return ["Removed the site ", ...site, `, which ${detail.user_count === 1 ? "1 API user" : `${detail.user_count ?? 0} API users`} had selected`];
    case "workspace.created": return ["Created the workspace ", el("b", {}, isolated(subject))];
    case "workspace.renamed": return ["Renamed the workspace ", isolated(detail.from ?? ""), " to ", el("b", {}, isolated(subject))];
    case "workspace.removed": return ["Removed the workspace ", el("b", {}, isolated(subject))];
    default: return [action, " ", isolated(subject ?? "")];
  }
}

function user({ name, keys }) {
  const hints = (keys ?? []).flatMap((key, index) => (index ? [", ", el("code", {}, key)] : [el("code", {}, key)]));
  return name ? [el("b", {}, isolated(name)), " ", ...hints] : hints;
}

function scope({ all_sites: all, sites = [], site_count: count = 0 }) {
  if (all) return ["all sites"];
  if (!count) return ["no sites"];
  const shown = sites.slice(0, 5).flatMap((site, index) => (index ? [", ", isolated(site)] : [isolated(site)]));
  return count > 5 ? [...shown, ` and ${count - 5} more`] : shown;
}
