// The page: who is signed in, which view is shown, and what keeps it fresh.

import { ask, useSession, whenSignedOut } from "./api.js";
import * as audit from "./audit.js";
import { setUpCreate } from "./create.js";
import { closeAll, reopen } from "./dialogs.js";
import { setUpDoor, showDoor } from "./sign_in.js";
import { busy, byId, named, tell } from "./dom.js";
import * as sites from "./sites.js";
import { state } from "./state.js";
import { refreshTimes } from "./times.js";
import * as users from "./users.js";
import { loadWorkspaces, setUpWorkspaces } from "./workspaces.js";

const FRESH_MS = 5000;
// A page that nobody looks at must not keep its session from ending.
const ATTENTION_MS = 10 * 60 * 1000;

const VIEWS = { users: users.startOver, sites: sites.startOver, audit: audit.startOver };
const TITLES = { users: "API Users", sites: "Sites", audit: "Audit" };
let attention = Date.now();

function view() {
  const name = location.hash.slice(1);
  return Object.hasOwn(VIEWS, name) ? name : "users";
}

async function showView({ focus = false } = {}) {
  const name = view();
  document.title = `${TITLES[name]} · Sitelatch`;
  if (name !== "users") users.forget();
  for (const section of Object.keys(VIEWS)) byId(section).hidden = section !== name;
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  // At once: what comes late must not take the focus from where it went meanwhile.
  if (focus) byId(`${name}-title`).focus();
  await VIEWS[name]();
}

async function enter(session) {
  state.session = session;
  useSession(session);
  const { name, email } = session.person;
  byId("person").replaceChildren(...(name === email ? [named(name)] : [named(name), " ", named(email, { class: "quiet" })]));
  byId("person").title = email;
  byId("sign-out").hidden = !session.can_sign_out;
  await loadWorkspaces();
  byId("loading").hidden = true;
  byId("door").hidden = true;
  byId("inside").hidden = false;
  await showView({ focus: true });
  reopen(email);
}

function leave(reason = "") {
  closeAll(reason && state.session?.person.email);
  state.session = null;
  useSession(null);
  users.forget();
  for (const rows of ["sites-rows", "audit-rows"]) byId(rows).replaceChildren();
  byId("inside").hidden = true;
  return showDoor(reason);
}

byId("sign-out").addEventListener("click", () => busy(byId("sign-out"), async () => {
  try {
    await ask("DELETE", "session");
  } catch (error) {
    // One that ended by itself needs no end.
    if (error.status !== 401) {
      tell(error.message);
      return;
    }
  }
  await leave();
}));

setUpDoor(enter);
whenSignedOut(() => { if (state.session) leave("Your session has ended. Sign in again."); });
setUpWorkspaces(showView);
users.setUpUsers();
sites.setUpSites();
audit.setUpAudit();
setUpCreate((made) => { if (state.session && view() === "users") made ? users.showMade(made) : users.loadUsers(); });

for (const kind of ["pointerdown", "keydown", "focus"]) addEventListener(kind, () => { attention = Date.now(); });
setInterval(() => {
  refreshTimes();
  const looking = state.session && !document.hidden && Date.now() - attention < ATTENTION_MS;
  if (looking && view() === "users" && !document.querySelector("dialog[open]")) users.refreshUsers();
}, FRESH_MS);

addEventListener("hashchange", () => { if (state.session) showView({ focus: true }); });
// A link to the view that is shown shows it anew, which is all one can do where it could not be loaded.
for (const link of document.querySelectorAll(".bar a[href^='#']")) {
  link.addEventListener("click", () => { if (link.hash === location.hash && state.session) showView({ focus: true }); });
}

try {
  await enter(await ask("GET", "session"));
} catch (error) {
  await leave(error.status === 401 ? "" : error.message);
}
