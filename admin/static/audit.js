// The audit log, in sentences.

import { ask, query } from "./api.js";
import { byId, cell, el, mail, named, row } from "./dom.js";
import { Pages } from "./pages.js";
import { state } from "./state.js";
import { exactly, time } from "./times.js";

let pages = null;
let latest = 0;

export function setUpAudit() {
  pages = new Pages(byId("audit-pages"), loadAudit);
}

export function startOver() {
  pages.reset();
  return loadAudit();
}

async function loadAudit() {
  const number = ++latest;
  try {
    const page = await ask("GET", query("audit", { workspace: state.workspace, after: pages.after, limit: 50 }));
    if (number !== latest) return false;
    byId("audit-error").textContent = "";
    byId("audit-rows").replaceChildren(...page.items.map(lineRow));
    pages.show(page.next);
    byId("audit-empty").hidden = page.items.length > 0;
    byId("audit-empty").previousElementSibling.hidden = !page.items.length;
    byId("audit-empty").replaceChildren(el("p", { class: "quiet" }, "Nothing has happened yet."));
    return true;
  } catch (error) {
    if (number === latest) byId("audit-error").textContent = error.message;
    return false;
  }
}

function lineRow(line) {
  return row(
    cell("When", el("div", {}, time(line.at), el("span", { class: "quiet" }, exactly(line.at)))),
    cell("Who", el("div", {}, named(line.actor.name), mail(line.actor.email, { class: "quiet" }))),
    cell("What", el("div", {}, ...sentence(line))),
    cell("Workspace", el("div", {}, line.workspace ? named(line.workspace) : "")),
    cell("From", el("div", {}, line.address)),
  );
}

function sentence({ action, subject, detail }) {
  const site = [el("b", {}, named(subject ?? "")), detail.display_name && detail.display_name !== subject ? el("span", {}, " (", named(detail.display_name), ")") : null].filter(Boolean);
  switch (action) {
    case "user.created": return ["Created the API user ", ...user(detail), ", with access to ", ...scope(detail)];
    case "user.deleted": return ["Deleted the API user ", ...user(detail), ", who had access to ", ...scope(detail)];
    case "user.revealed": return ["Showed the key of the API user ", ...user(detail)];
    case "site.created": return ["Added the site ", ...site];
    case "site.renamed": return ["Renamed the site ", el("b", {}, named(subject)), " from ", named(detail.from ?? ""), " to ", named(detail.to ?? "")];
    case "site.removed": return ["Removed the site ", ...site, `, which ${detail.user_count === 1 ? "1 API user" : `${detail.user_count ?? 0} API users`} had selected`];
    case "workspace.created": return ["Created the workspace ", el("b", {}, named(subject))];
    default: return [action, " ", named(subject ?? "")];
  }
}

function user({ name, keys }) {
  const hints = (keys ?? []).flatMap((key, index) => (index ? [", ", el("code", {}, key)] : [el("code", {}, key)]));
  return name ? [el("b", {}, named(name)), " ", ...hints] : hints;
}

function scope({ all_sites: all, sites = [], site_count: count = 0 }) {
  if (all) return ["all sites"];
  if (!count) return ["no site"];
  const shown = sites.slice(0, 5).flatMap((site, index) => (index ? [", ", named(site)] : [named(site)]));
  return count > 5 ? [...shown, ` and ${count - 5} more`] : shown;
}
