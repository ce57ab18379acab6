// What routes in shadow mode would have refused, and the banner that names these routes.

import { address, fragment, query, request, state } from "./api.js";
import { busy, byId, cell, counted, cut, el, isolated, Pages, row, showError, time } from "./components.js";
import { addMissingWorkspaces } from "./sites.js";
import { editUser, openKeyImport } from "./users.js";

let pages = null;
let latestLoad = 0;

export function setUpShadow() {
  pages = new Pages(byId("shadow-pages"), 100, loadFindings);
}

// Name the routes in shadow mode on every view.
export function showBanner(routes) {
  byId("shadow-banner").hidden = !routes.length;
  byId("shadow-routes").replaceChildren(...routes.flatMap((name, index) => (index ? [", ", el("b", {}, name)] : [el("b", {}, name)])));
}

// Show what the address says.
export function showAddress() {
  pages.read(address().parameters);
  return loadFindings();
}

export async function loadFindings() {
  const load = ++latestLoad;
  try {
    const page = await request("GET", query("shadow-findings", { workspace: state.workspace, after: pages.after, limit: 100 }));
    await addMissingWorkspaces(page.items.filter((finding) => finding.user?.workspace).map((finding) => finding.user));
    if (load !== latestLoad) return false;
    showError("shadow-error");
    if (!page.items.length && (await pages.leaveEmpty())) return true;
    byId("shadow-rows").replaceChildren(...page.items.map(findingRow));
    pages.show(page.next, page.items.length);
    byId("shadow-empty").hidden = page.items.length > 0;
    byId("shadow-empty").previousElementSibling.hidden = !page.items.length;
    byId("shadow-empty").replaceChildren(
      el("h2", {}, "No findings"),
      el("p", { class: "quiet" }, state.session.shadow_routes.length ? "No request would have been refused in the last 30 days. New findings appear here within seconds." : "No route is in shadow mode."),
    );
    return true;
  } catch (error) {
    if (load === latestLoad && pages.recover(error)) return loadFindings();
    if (load === latestLoad) showError("shadow-error", error);
    return false;
  }
}

function findingRow(finding) {
  const { user, site, code, detail, requests, route, last_seen: seen } = finding;
  return row(
    cell("API User", user ? userName(user) : el("span", { class: "quiet" }, "No known key")),
    cell("Site", site ? cut(el("code", { dir: "auto" }, site)) : el("span", { class: "quiet" }, "Any")),
    cell("Refusal", el("div", {}, el("code", {}, code), el("span", { class: "quiet" }, detail))),
    cell("Requests", el("div", {}, counted(requests, "request"), el("span", { class: "quiet" }, "on ", isolated(route), ", last ", time(seen)))),
    cell("Fix", el("div", {}, ...action(finding), el("span", { class: "quiet" }, finding.fix.advice))),
  );
}

function userName({ name, key_hint: hint, workspace }) {
  if (!workspace) return el("span", { class: "quiet" }, "Deleted API user");
  return el("div", {}, name ? isolated(name) : el("code", {}, hint ?? "Unnamed"), ...(name && hint ? [el("code", { class: "quiet" }, hint)] : []));
}

// What leads to the fix: a dialog, another view, or the option of the config.
function action({ user, site, fix: { kind, setting } }) {
  if (setting) return [el("code", {}, setting)];
  const button = (label, work) => {
    const made = el("button", { type: "button", class: "small" }, label);
    made.addEventListener("click", () => busy(made, work));
    return [made];
  };
  if (kind === "import_keys") return button("Import keys", async () => openKeyImport());
  if (!user?.workspace) return [];
  if (kind === "register_site") return [el("a", { class: "button", href: fragment("sites", { workspace: user.workspace }) }, "Sites")];
  if (kind !== "add_site" && kind !== "edit_user") return [];
  return button(kind === "add_site" ? "Add site" : "Edit API user", () => editUser(user.id, { site: kind === "add_site" ? site : null, then: loadFindings }));
}
