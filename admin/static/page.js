// The page: signing in and out, switching views, and refreshing the list.

import { request, useSession, whenSignedOut } from "./api.js";
import * as audit from "./audit.js";
import { setUpCreate } from "./create.js";
import { closeAll, reopen } from "./dialogs.js";
import { busy, byId, isolated, showToast } from "./dom.js";
import { dropRefusal, setUpSignIn, showSignIn } from "./sign_in.js";
import * as sites from "./sites.js";
import { state } from "./state.js";
import { refreshTimes } from "./times.js";
import * as users from "./users.js";
import { loadWorkspaces, setUpWorkspaces } from "./workspaces.js";

const REFRESH_MS = 5000;
const MAX_REFRESH_MS = 60_000;
// A page that nobody uses must not prevent its session from timing out.
const INACTIVE_MS = 10 * 60 * 1000;

const VIEWS = { users: users.loadFirstPage, sites: sites.loadFirstPage, audit: audit.loadFirstPage };
const TITLES = { users: "API Users", sites: "Sites", audit: "Audit" };
let lastActive = Date.now();

function view() {
  const name = location.hash.slice(1);
  return Object.hasOwn(VIEWS, name) ? name : "users";
}

async function showView({ focus = false } = {}) {
  const name = view();
  document.title = `${TITLES[name]} · Sitelatch`;
  if (name !== "users") users.clear();
  for (const section of Object.keys(VIEWS)) byId(section).hidden = section !== name;
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  // Before loading: a slow response must not move the focus later.
  if (focus) byId(`${name}-title`).focus();
  await VIEWS[name]();
}

async function signedIn(session) {
  dropRefusal();
  state.session = session;
  useSession(session);
  const { name, email } = session.person;
  byId("person").replaceChildren(...(name === email ? [isolated(name)] : [isolated(name), " ", isolated(email, { class: "quiet" })]));
  byId("person").title = email;
  byId("sign-out").hidden = !session.can_sign_out;
  await loadWorkspaces();
  byId("loading").hidden = true;
  byId("signed-out").hidden = true;
  byId("signed-in").hidden = false;
  await showView({ focus: true });
  reopen(email);
}

function signedOut(reason = "") {
  closeAll(reason && state.session?.person.email);
  state.session = null;
  useSession(null);
  users.clear();
  for (const rows of ["sites-rows", "audit-rows"]) byId(rows).replaceChildren();
  byId("signed-in").hidden = true;
  return showSignIn(reason);
}

byId("sign-out").addEventListener("click", () => busy(byId("sign-out"), async () => {
  try {
    await request("DELETE", "session");
  } catch (error) {
    // A session that has timed out needs no sign-out.
    if (error.status !== 401) {
      showToast(error.message);
      return;
    }
  }
  await signedOut();
}));

setUpSignIn(signedIn);
whenSignedOut(() => { if (state.session) signedOut("Your session has ended. Sign in again."); });
setUpWorkspaces(showView);
users.setUpUsers();
sites.setUpSites();
audit.setUpAudit();
setUpCreate((workspace) => { if (state.session && view() === "users") workspace ? users.showCreated(workspace) : users.loadUsers(); });

for (const kind of ["pointerdown", "keydown", "focus"]) addEventListener(kind, () => { lastActive = Date.now(); });
let refreshTimer = null;
let refreshMs = REFRESH_MS;

// Ask again after five seconds, but spend at most a tenth of the time waiting for answers, and ask less often after errors.
// A hidden page asks for nothing.
async function refresh() {
  refreshTimes();
  const began = performance.now();
  const inUse = state.session && !document.hidden && Date.now() - lastActive < INACTIVE_MS;
  const wanted = inUse && view() === "users" && !document.querySelector("dialog[open]");
  const succeeded = !wanted || (await users.refreshUsers());
  const longer = succeeded ? 10 * (performance.now() - began) : 2 * refreshMs;
  refreshMs = Math.min(Math.max(REFRESH_MS, longer), MAX_REFRESH_MS);
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(refresh, refreshMs);
}

refreshTimer = setTimeout(refresh, REFRESH_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });

addEventListener("hashchange", () => { if (state.session) showView({ focus: true }); });
// A link to the current view reloads it. That is also the way to retry after an error.
for (const link of document.querySelectorAll(".bar a[href^='#']")) {
  link.addEventListener("click", () => { if (link.hash === location.hash && state.session) showView({ focus: true }); });
}

try {
  await signedIn(await request("GET", "session"));
} catch (error) {
  await signedOut(error.status === 401 ? "" : error.message);
}
