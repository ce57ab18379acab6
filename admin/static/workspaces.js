// Workspaces: which one is looked at, and how to make one.

import { ask, query } from "./api.js";
import { prompt } from "./dialogs.js";
import { byId, el, named } from "./dom.js";
import { state } from "./state.js";

let changed = () => {};

export function setUpWorkspaces(whenChanged) {
  changed = whenChanged;
  byId("workspace").addEventListener("change", () => {
    state.workspace = byId("workspace").value || null;
    changed();
  });
  byId("new-workspace").addEventListener("click", newWorkspace);
}

export async function loadWorkspaces() {
  const names = [];
  let after = null;
  do {
    const page = await ask("GET", query("workspaces", { after, limit: 1000 }));
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
  byId("new-workspace").hidden = state.session.workspaces !== null && !unmade();
}

// An admin of some workspaces can make those, and no other. Returns one that is not there yet.
const unmade = () => state.session.workspaces?.find((name) => !state.workspaces.includes(name));

// What is listed may be of a workspace that somebody made elsewhere. Then it can be chosen, too.
export async function meet(items) {
  if (items.some(({ workspace }) => !state.workspaces.includes(workspace))) await loadWorkspaces().catch(() => {});
}

// Where one workspace is looked at, and not all of them, look at this one.
export function lookInto(name) {
  if (state.workspace !== null) state.workspace = byId("workspace").value = name;
}

export async function aSiteOf(workspace) {
  const page = await ask("GET", query("sites", { workspace, limit: 1 }));
  return page.items[0]?.id ?? null;
}

export function newWorkspace() {
  prompt("New workspace", [{ name: "name", label: "Name", value: unmade(), help: "A workspace owns sites and API users." }], "Create workspace", async ({ name }) => {
    const made = await ask("POST", "workspaces", { name: name.value.trim() }).catch(async (error) => {
      // It may be there because the answer of a try before was lost: then it can be chosen.
      if (error.status === 409) await loadWorkspaces();
      throw error;
    });
    state.workspace = made.name;
    showWorkspaces([...state.workspaces, made.name].sort());
    await changed();
    return ["The workspace ", named(made.name), " is there."];
  });
}
