// Workspaces, and the list of their sites: add, import, rename and remove.

import { address, changeAddress, deleteIfExists, query, rememberScroll, request, state, textFrom, withoutKeys } from "./api.js";
import { busy, byId, cell, confirm, counted, cut, debounced, el, isolated, Pages, prompt, row, show, showError, showToast, time } from "./components.js";

// === Workspaces ===

let onChange = () => {};

// A menu shows this many workspaces. The others are found by searching.
const SHOWN_WORKSPACES = 100;

export function setUpWorkspaces(whenChanged) {
  onChange = whenChanged;
  const menu = byId("workspace-menu");
  menu.addEventListener("beforetoggle", ({ newState }) => {
    if (newState !== "open") return;
    byId("workspace-search").value = "";
    byId("workspace-search").hidden = state.workspaces.length < 8;
    showChoices();
  });
  menu.addEventListener("toggle", ({ newState }) => {
    if (newState === "open") menu.querySelector("input:not([hidden]), [aria-current], ul button, button")?.focus();
  });
  menu.addEventListener("keydown", moveFocus);
  byId("workspace-search").addEventListener("input", showChoices);
  byId("new-workspace").addEventListener("click", () => {
    menu.hidePopover();
    newWorkspace();
  });
}

function showChoices() {
  const search = byId("workspace-search").value.trim().toLowerCase();
  const found = state.workspaces.filter((name) => name.toLowerCase().includes(search));
  const choices = found.slice(0, SHOWN_WORKSPACES).map((name) => choice(name, isolated(name)));
  if (!search && state.workspaces.length > 1) choices.unshift(choice(null, "All workspaces"));
  if (found.length > SHOWN_WORKSPACES) choices.push(el("li", { class: "quiet" }, `Showing the first ${SHOWN_WORKSPACES}. Type to find others.`));
  if (!found.length && search) choices.push(el("li", { class: "quiet" }, "No workspace matches."));
  byId("workspace-choices").replaceChildren(...choices);
}

function choice(name, label) {
  const isCurrent = name === state.workspace || state.workspaces.length === 1;
  return el("li", {}, el("button", { type: "button", "aria-current": isCurrent ? "true" : null, onclick: () => {
    byId("workspace-menu").hidePopover();
    if (name === state.workspace) return;
    selectWorkspace(name);
    rememberScroll();
    changeAddress({ workspace: name, page: null, after: null }, { push: true, before: [] });
    onChange();
  } }, label));
}

// The arrow keys move the focus between the items of the menu.
function moveFocus(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const items = [...byId("workspace-menu").querySelectorAll("input:not([hidden]), button:not([hidden])")];
  items.at((items.indexOf(document.activeElement) + step) % items.length).focus();
}

// Show the name of the selected workspace in the header. The lists are not loaded again.
export function selectWorkspace(name) {
  state.workspace = name;
  const only = state.workspaces.length > 1 ? null : state.workspaces[0] ?? "No workspace";
  byId("workspace").replaceChildren(...(name ?? only ? [isolated(name ?? only)] : ["All", el("span", { class: "wide" }, " workspaces")]));
}

export async function loadWorkspaces() {
  const names = [];
  let after = null;
  do {
    const page = await request("GET", query("workspaces", { after, limit: 1000 }));
    names.push(...page.items.map((workspace) => workspace.name));
    after = page.next;
  } while (after);
  showWorkspaces(names);
}

function showWorkspaces(names) {
  state.workspaces = names;
  selectWorkspace(names.includes(state.workspace) ? state.workspace : null);
  byId("new-workspace").hidden = state.session.workspaces !== null && !missingWorkspace();
  byId("workspace-button").hidden = names.length < 2 && byId("new-workspace").hidden;
}

// An admin who is limited to some workspaces can create only those. Returns one that does not exist yet.
const missingWorkspace = () => state.session.workspaces?.find((name) => !state.workspaces.includes(name));

// Items of a list can belong to workspaces that another admin has just created. Add them to the selection.
export async function addMissingWorkspaces(items) {
  if (items.some(({ workspace }) => !state.workspaces.includes(workspace))) await loadWorkspaces().catch(() => {});
}

// Select the workspace, unless all workspaces are shown.
export function switchTo(name) {
  if (state.workspace !== null) selectWorkspace(name);
}

export async function firstSiteOf(workspace) {
  const page = await request("GET", query("sites", { workspace, limit: 1 }));
  return page.items[0]?.id ?? null;
}

export function newWorkspace() {
  const help = "A workspace owns sites and API users.";
  prompt("New workspace", [{ name: "name", label: "Name", value: missingWorkspace(), help }], "Create workspace", async ({ name }) => {
    const workspace = await request("POST", "workspaces", { name: name.value.trim() }).catch(async (error) => {
      // The workspace may already exist, because the response to an earlier attempt was lost. Then it can be selected.
      if (error.status === 409) await loadWorkspaces();
      throw error;
    });
    state.workspace = workspace.name;
    changeAddress({ workspace: workspace.name, page: null, after: null }, { before: [] });
    showWorkspaces([...state.workspaces, workspace.name].sort());
    await onChange();
    return ["Created the workspace ", isolated(workspace.name), "."];
  });
}

// === List of sites ===

let pages = null;
let latestLoad = 0;

export function setUpSites() {
  pages = new Pages(byId("sites-pages"), 100, loadSites);
  byId("site-search").addEventListener("input", debounced(200, searchSites));
  byId("add-site").addEventListener("click", () => (state.workspaces.length ? addSite() : newWorkspace()));
  setUpImport();
}

// Show what the address says.
export function showAddress() {
  const { parameters } = address();
  byId("site-search").value = textFrom(parameters, "search");
  pages.read(parameters);
  return loadSites();
}

function searchSites() {
  pages.reset();
  changeAddress({ search: byId("site-search").value.trim(), page: null, after: null }, { before: [] });
  return loadSites();
}

export async function loadSites() {
  const load = ++latestLoad;
  const search = withoutKeys(byId("site-search").value);
  try {
    const page = await request("GET", query("sites", { workspace: state.workspace, search, after: pages.after, limit: 100 }));
    await addMissingWorkspaces(page.items);
    if (load !== latestLoad) return false;
    showError("sites-error");
    if (!page.items.length && (await pages.leaveEmpty())) return true;
    byId("sites-rows").replaceChildren(...page.items.map(siteRow));
    pages.show(page.next, page.items.length);
    const empty = !page.items.length;
    byId("sites-empty").hidden = !empty;
    byId("sites-empty").previousElementSibling.hidden = empty;
    byId("sites-empty").replaceChildren(...emptyMessageFor(search));
    return true;
  } catch (error) {
    if (load === latestLoad && pages.recover(error)) return loadSites();
    if (load === latestLoad) showError("sites-error", error);
    return false;
  }
}

function emptyMessageFor(search) {
  if (search) {
    return [
      el("p", {}, "No site matches “", isolated(search), "”."),
      el("button", { type: "button", onclick: () => { byId("site-search").value = ""; byId("site-search").focus(); searchSites(); } }, "Show all sites"),
    ];
  }
  if (!state.workspaces.length) {
    return [
      el("h2", {}, "No sites yet"),
      el("p", { class: "quiet" }, "A workspace owns sites. Create one first."),
      el("button", { type: "button", class: "primary", onclick: newWorkspace }, "Create workspace"),
    ];
  }
  return [
    el("h2", {}, "No sites yet"),
    el("p", { class: "quiet" }, "Add the first one with Add site, or import a list of sites with Import CSV. Then create API users for them."),
  ];
}

function siteRow(site) {
  const removing = el("button", { type: "button", class: "tool remove", "aria-label": `Remove ${site.id}` }, "Remove");
  removing.addEventListener("click", () => busy(removing, () => remove(site)));
  return row(
    cell("Site", cut(el("code", { dir: "auto" }, site.id))),
    cell("Name", cut(el("div", { dir: "auto" }, site.display_name))),
    cell("Workspace", cut(el("div", {}, isolated(site.workspace)))),
    cell("Added", el("div", {}, time(site.created_at))),
    el("td", { role: "cell", class: "actions" }, el("div", { class: "buttons" },
      el("button", { type: "button", class: "tool", "aria-label": `Rename ${site.id}`, onclick: () => rename(site) }, "Rename"), removing)),
  );
}

function workspaceField() {
  const select = el("select", {}, ...state.workspaces.map((name) => el("option", { value: name }, name)));
  select.value = state.workspace ?? state.workspaces[0];
  return { name: "workspace", label: "Workspace", element: select };
}

export function addSite(then = loadSites) {
  const fields = [
    { name: "id", label: "Site", help: "The id that requests use, such as shop, 42 or blog.example.com. It must not contain any of / \\ ; , % ? #, at which servers split URLs: instead of example.com/blog, use an id such as example.com-blog, also in your API." },
    { name: "display", label: "Name (optional)" },
    ...(state.workspaces.length > 1 ? [workspaceField()] : []),
  ];
  prompt("Add site", fields, "Add site", async ({ id, display, workspace }) => {
    const site = id.value.trim();
    if (!site) throw new Error("Enter the id of the site.");
    // Browsers remove these segments from a URL, even if they are encoded.
    if ([".", ".."].includes(site)) throw new Error(`"${site}" is not a valid site id, because in a path it means a folder.`);
    const name = display.value.trim();
    await request("PUT", `sites/${encodeURIComponent(site)}`, { workspace: workspace?.value ?? state.workspaces[0], ...(name ? { display_name: name } : {}) });
    await then();
    return ["Added the site ", isolated(site), "."];
  });
}

function rename(site) {
  prompt(`Rename ${site.id}`, [{ name: "name", label: "Name", value: site.display_name, help: "The display name. The id does not change." }], "Rename", async ({ name }) => {
    await request("PATCH", `sites/${encodeURIComponent(site.id)}`, { display_name: name.value.trim() });
    await loadSites();
    return ["Renamed ", isolated(site.id), " to ", isolated(name.value.trim()), "."];
  });
}

async function remove(site) {
  let users;
  try {
    users = (await request("GET", `sites/${encodeURIComponent(site.id)}`)).user_count;
  } catch (error) {
    showError("sites-error", error);
    return;
  }
  const consequence = users === 0 ? "No API user has selected it."
    : `${counted(users, "API user")} ${users === 1 ? "loses" : "lose"} access to it.`;
  confirm(
    ["Remove the site ", isolated(site.id), "?"],
    [
      el("p", {}, el("b", {}, consequence), " API users for all sites lose access, too."),
      el("p", {}, "API users without any other site will be refused everywhere. This action cannot be undone."),
    ],
    "Remove",
    async () => {
      await deleteIfExists(`sites/${encodeURIComponent(site.id)}`);
      await loadSites();
      return ["Removed the site ", isolated(site.id), "."];
    },
  );
}

// === Import ===
// The first step chooses a file, and the second shows what it would change, and all its errors. The server reads the
// file in both steps.

// The server accepts bodies of up to 4 MiB, and Base64 makes the file larger by a third.
const MAX_BYTES = 3_000_000;
const MAX_SHOWN = 200;
// The body of the previewed import, or null in the first step.
let previewed = null;
// Loads the list that is shown.
let afterImport = loadSites;

export function importSites(then = loadSites) {
  afterImport = then;
  const none = el("option", { value: "" }, "None: all lines name one");
  byId("import-workspace").replaceChildren(none, ...state.workspaces.map((name) => el("option", { value: name }, name)));
  byId("import-workspace").value = state.workspace ?? (state.workspaces.length === 1 ? state.workspaces[0] : "");
  byId("import-file").value = "";
  showFileStep();
  show(byId("import-dialog"));
  byId("import-file").focus();
}

function setUpImport() {
  byId("import-sites").addEventListener("click", () => importSites());
  byId("import-back").addEventListener("click", () => {
    showFileStep();
    byId("import-file").focus();
  });
  byId("import-create").addEventListener("change", showImportButton);
  byId("import-form").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(byId("import-submit"), async () => {
      byId("import-error").textContent = "";
      try {
        await (previewed ? carryOut() : preview());
      } catch (error) {
        byId("import-error").textContent = error.message;
      }
    });
  });
}

function showFileStep() {
  previewed = null;
  byId("import-error").textContent = "";
  byId("import-file-step").hidden = false;
  byId("import-preview").hidden = byId("import-back").hidden = true;
  byId("import-submit").hidden = byId("import-submit").disabled = false;
  byId("import-submit").textContent = "Preview";
}

async function preview() {
  const [file] = byId("import-file").files;
  if (!file) throw new Error("Choose a file.");
  if (file.size > MAX_BYTES) throw new Error("The file is larger than 3 MB. Split it, or use the command sitelatch sites import.");
  const workspace = byId("import-workspace").value;
  const body = { file: await base64Of(file), create_workspaces: true, ...(workspace ? { workspace } : {}) };
  const result = await request("POST", "sites", { ...body, dry_run: true });
  previewed = body;
  showPreview(result);
}

// The bytes are sent, because only the server knows how to find out the encoding.
function base64Of(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("The file cannot be read. Choose it again."));
    reader.readAsDataURL(file);
  });
}

function showPreview(result) {
  const { created, renamed, unchanged, errors, new_workspaces: workspaces, ignored_columns: ignored } = result;
  byId("import-file-step").hidden = true;
  byId("import-preview").hidden = byId("import-back").hidden = false;
  const changes = result.sites.filter((site) => site.outcome !== "unchanged");
  const nothing = !changes.length && !errors.length;
  byId("import-summary").textContent = `${counted(created, "new site")}, ${renamed.toLocaleString("en")} renamed, ${unchanged.toLocaleString("en")} unchanged.${nothing ? " There is nothing to import." : ""}`;
  byId("import-errors").hidden = !errors.length;
  byId("import-errors-title").textContent = `${counted(errors.length, "error")}. Correct the file, and choose it again.`;
  byId("import-error-list").replaceChildren(...errors.map(({ line, detail }) => el("li", {}, line === null ? null : el("b", {}, `Line ${line}: `), isolated(detail))));
  byId("import-new-workspaces").hidden = !workspaces.length || errors.length > 0;
  byId("import-create").checked = false;
  byId("import-new-workspaces").querySelector("span").replaceChildren(`Create ${workspaces.length === 1 ? "the workspace" : `${workspaces.length} workspaces:`} `, ...workspaces.flatMap((name, index) => (index ? [", ", isolated(name)] : [isolated(name)])));
  const more = changes.length - MAX_SHOWN;
  byId("import-changes").hidden = !changes.length;
  byId("import-changes").replaceChildren(...changes.slice(0, MAX_SHOWN).map(changeLine), ...(more > 0 ? [el("li", { class: "quiet" }, `and ${more.toLocaleString("en")} more`)] : []));
  byId("import-notes").replaceChildren(
    ...(ignored.length ? ["Ignored columns: ", ...ignored.flatMap((name, index) => (index ? [", ", isolated(name)] : [isolated(name)])), ". "] : []),
    ...(result.encoding === "windows-1252" ? ["The file is not UTF-8 text. It was read as Windows-1252, so check letters with accents."] : []),
  );
  byId("import-submit").hidden = errors.length > 0 || nothing;
  byId("import-submit").dataset.count = changes.length;
  byId("import-submit").dataset.creates = workspaces.length > 0;
  showImportButton();
  byId("import-summary").focus();
}

function showImportButton() {
  const button = byId("import-submit");
  button.textContent = `Import ${counted(Number(button.dataset.count), "site")}`;
  // A workspace may be a typo, so it must be confirmed.
  button.disabled = button.dataset.creates === "true" && !byId("import-create").checked;
}

function changeLine({ outcome, id, workspace, display_name: name, previous_name: before }) {
  const named = outcome === "renamed" ? [": ", isolated(before), " → ", isolated(name)] : name === id ? [] : [" ", isolated(name, { class: "quiet" })];
  return el("li", {}, el("span", { class: "badge" }, outcome === "new" ? "New" : "Renamed"), " ", el("code", {}, isolated(id)), ...named,
    el("span", { class: "quiet" }, " in ", isolated(workspace)));
}

async function carryOut() {
  const result = await request("POST", "sites", { ...previewed, create_workspaces: byId("import-create").checked });
  byId("import-dialog").close();
  const [created, renamed, unchanged] = [result.created, result.renamed, result.unchanged].map((count) => count.toLocaleString("en"));
  showToast(`${created} added, ${renamed} renamed, ${unchanged} unchanged.`);
  // The import has succeeded, even if the lists cannot be reloaded now.
  await loadWorkspaces().catch(() => {});
  await afterImport();
}
