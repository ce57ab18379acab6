// The list of sites: added, imported, renamed, removed.

import { ask, gone, query } from "./api.js";
import { confirm, prompt } from "./dialogs.js";
import { busy, byId, cell, el, later, named, row } from "./dom.js";
import { Pages } from "./pages.js";
import { state } from "./state.js";
import { time } from "./times.js";
import { loadWorkspaces, meet, newWorkspace } from "./workspaces.js";

// The server takes 4 MiB, in which line ends and quotes are escaped.
const MOST_BYTES = 3_000_000;
let pages = null;
let latest = 0;

export function setUpSites() {
  pages = new Pages(byId("sites-pages"), loadSites);
  byId("site-search").addEventListener("input", later(200, startOver));
  byId("add-site").addEventListener("click", () => (state.workspaces.length ? addSite() : newWorkspace()));
  byId("import-sites").addEventListener("click", importSites);
}

export function startOver() {
  pages.reset();
  return loadSites();
}

export async function loadSites() {
  const number = ++latest;
  const search = byId("site-search").value.trim();
  try {
    const page = await ask("GET", query("sites", { workspace: state.workspace, search, after: pages.after, limit: 100 }));
    await meet(page.items);
    if (number !== latest) return false;
    byId("sites-error").textContent = "";
    if (!page.items.length && (await pages.leaveEmpty())) return true;
    byId("sites-rows").replaceChildren(...page.items.map(siteRow));
    pages.show(page.next);
    const empty = !page.items.length;
    byId("sites-empty").hidden = !empty;
    byId("sites-empty").previousElementSibling.hidden = empty;
    byId("sites-empty").replaceChildren(search ? el("p", {}, "No site begins with “", named(search), "”.")
      : el("p", { class: "quiet" }, "No sites yet. Add one, or import a CSV file with the columns ", el("code", {}, "site"), ", ", el("code", {}, "workspace"), " and ",
        el("code", {}, "display_name"), "."));
    return true;
  } catch (error) {
    if (number === latest) byId("sites-error").textContent = error.message;
    return false;
  }
}

function siteRow(site) {
  const removing = el("button", { type: "button", class: "remove small", "aria-label": `Remove ${site.id}` }, "Remove");
  removing.addEventListener("click", () => busy(removing, () => remove(site)));
  return row(
    cell("Site", el("div", {}, el("code", {}, named(site.id)))),
    cell("Name", el("div", {}, named(site.display_name))),
    cell("Workspace", el("div", {}, named(site.workspace))),
    cell("Added", el("div", {}, time(site.created_at))),
    el("td", { role: "cell", class: "act" }, el("div", { class: "buttons" },
      el("button", { type: "button", class: "small", "aria-label": `Rename ${site.id}`, onclick: () => rename(site) }, "Rename"), removing)),
  );
}

function workspaceField() {
  const select = el("select", {}, ...state.workspaces.map((name) => el("option", { value: name }, name)));
  select.value = state.workspace ?? state.workspaces[0];
  return { name: "workspace", label: "Workspace", element: select };
}

function addSite() {
  const fields = [
    { name: "id", label: "Site", help: "The id that requests use: shop, 42 or blog.example.com." },
    { name: "display", label: "Name (optional)" },
    ...(state.workspaces.length > 1 ? [workspaceField()] : []),
  ];
  prompt("Add site", fields, "Add site", async ({ id, display, workspace }) => {
    const site = id.value.trim();
    if (!site) throw new Error("A site needs an id.");
    // A browser takes these out of an address, however they are encoded.
    if ([".", ".."].includes(site)) throw new Error(`"${site}" is not a valid site id, because in a path it means a folder.`);
    const name = display.value.trim();
    await ask("PUT", `sites/${encodeURIComponent(site)}`, { workspace: workspace?.value ?? state.workspaces[0], ...(name ? { display_name: name } : {}) });
    await loadSites();
    return ["The site ", named(site), " is there."];
  });
}

function rename(site) {
  prompt(`Rename ${site.id}`, [{ name: "name", label: "Name", value: site.display_name, help: "What people call it. The id stays." }], "Rename", async ({ name }) => {
    await ask("PATCH", `sites/${encodeURIComponent(site.id)}`, { display_name: name.value.trim() });
    await loadSites();
    return [named(site.id), " is called ", named(name.value.trim()), "."];
  });
}

async function remove(site) {
  let users;
  try {
    users = (await ask("GET", `sites/${encodeURIComponent(site.id)}`)).user_count;
  } catch (error) {
    byId("sites-error").textContent = error.message;
    return;
  }
  const lose = users === 0 ? "No API user has it among its selected sites."
    : users === 1 ? "1 API user loses access to it." : `${users} API users lose access to it.`;
  confirm(
    ["Remove the site ", named(site.id), "?"],
    [
      el("p", {}, el("b", {}, lose), " Those for all sites can no longer access it either."),
      el("p", {}, "An API user whose last site goes reaches nothing. This action cannot be undone."),
    ],
    "Remove",
    async () => {
      await gone(`sites/${encodeURIComponent(site.id)}`);
      await loadSites();
      return ["The site ", named(site.id), " is removed."];
    },
  );
}

// The file's text, or an error that says why there is none: a browser would put question marks for what it cannot read.
async function textOf(file) {
  if (file.size > MOST_BYTES) throw new Error("The file must have at most 3 MB. Import it in parts, or with the command sitelatch sites import.");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch (error) {
    throw new Error(error instanceof TypeError ? "The file is not UTF-8 text. Save it as UTF-8." : "The file cannot be read. Choose it again.");
  }
}

function importSites() {
  const file = el("input", { type: "file", accept: ".csv,text/csv" });
  const help = "The first line is site,workspace or site,workspace,display_name. All lines are added, or none.";
  prompt("Import sites", [{ name: "file", label: "CSV file", element: file, help }], "Import", async () => {
    if (!file.files.length) throw new Error("Choose a file.");
    const done = await ask("POST", "sites", { csv: await textOf(file.files[0]) });
    // What cannot be read now is no fault of the import, which is done.
    await loadWorkspaces().catch(() => {});
    await loadSites();
    return [`${done.created} added, ${done.renamed} renamed, ${done.unchanged} were there already.`];
  });
}
