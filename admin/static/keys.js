// The dialog “Import keys”: keys that clients already have, each for an API user of its own. The first step previews the
// import with a dry run.

import { request, state } from "./api.js";
import { busy, byId, el, isolated, show, showToast } from "./components.js";

// The server accepts 4 MB of JSON, and Base64 makes the file a third larger.
const MAX_BYTES = 2_900_000;

let afterImport = () => {};
// The body of the previewed import, or null in the first step.
let previewed = null;

export function setUpKeyImport(then) {
  afterImport = then;
  byId("import-keys").addEventListener("click", openKeyImport);
  byId("keys-back").addEventListener("click", () => {
    showFileStep();
    byId("keys-file").focus();
  });
  byId("keys-form").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(byId("keys-submit"), async () => {
      byId("keys-error").textContent = "";
      try {
        await (previewed ? carryOut() : preview());
      } catch (error) {
        byId("keys-error").textContent = error.message;
      }
    });
  });
}

function openKeyImport() {
  byId("keys-form").reset();
  const none = el("option", { value: "" }, "None: all lines name one");
  byId("keys-workspace").replaceChildren(none, ...state.workspaces.map((name) => el("option", { value: name }, name)));
  byId("keys-workspace").value = state.workspace ?? (state.workspaces.length === 1 ? state.workspaces[0] : "");
  showFileStep();
  // The file contains keys, so it is forgotten with the dialog.
  show(byId("keys-dialog"), () => {
    previewed = null;
    byId("keys-form").reset();
  });
  byId("keys-file").focus();
}

function showFileStep() {
  previewed = null;
  byId("keys-error").textContent = "";
  byId("keys-file-step").hidden = false;
  byId("keys-preview").hidden = byId("keys-back").hidden = true;
  byId("keys-submit").hidden = false;
  byId("keys-submit").textContent = "Preview";
}

async function preview() {
  const [file] = byId("keys-file").files;
  if (!file) throw new Error("Choose a file.");
  if (file.size > MAX_BYTES) throw new Error("The file is larger than 2.9 MB. Split it, or use the command sitelatch import.");
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
  showPreview(await request("POST", "key-imports", { ...body, dry_run: true }));
  previewed = body;
}

function showPreview({ imported, changed, unchanged, warnings, errors }) {
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

async function carryOut() {
  const { imported, changed, unchanged } = await request("POST", "key-imports", previewed);
  byId("keys-dialog").close();
  showToast(`${imported.toLocaleString("en")} imported, ${changed.toLocaleString("en")} changed, ${unchanged.toLocaleString("en")} unchanged.`);
  await afterImport();
}
