// Workspaces: selecting one, and creating one.

import { query, request } from "./api.js";
import { prompt } from "./dialogs.js";
import { byId, el, isolated } from "./dom.js";
import { state } from "./state.js";

let onChange = () => {};

export function setUpWorkspaces(whenChanged) {
  onChange = whenChanged;
  byId("workspace").addEventListener("change", () => {
    state.workspace = byId("workspace").value || null;
    onChange();
  });
  byId("new-workspace").addEventListener("click", newWorkspace);
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
  if (!names.includes(state.workspace)) state.workspace = null;
  const select = byId("workspace");
  select.replaceChildren(el("option", { value: "" }, "All workspaces"), ...names.map((name) => el("option", { value: name }, name)));
  select.value = state.workspace ?? "";
  select.hidden = names.length < 2;
  byId("new-workspace").hidden = state.session.workspaces !== null && !missingWorkspace();
}

// An admin who is limited to some workspaces can create only those. Returns one that does not exist yet.
const missingWorkspace = () => state.session.workspaces?.find((name) => !state.workspaces.includes(name));

// Items of a list can belong to workspaces that another admin has just created. Add them to the selection.
export async function addMissingWorkspaces(items) {
  if (items.some(({ workspace }) => !state.workspaces.includes(workspace))) await loadWorkspaces().catch(() => {});
}

// Select the workspace, unless all workspaces are shown.
export function switchTo(name) {
  if (state.workspace !== null) state.workspace = byId("workspace").value = name;
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
    showWorkspaces([...state.workspaces, workspace.name].sort());
    await onChange();
    return ["Created the workspace ", isolated(workspace.name), "."];
  });
}
