// The page: signing in and out, switching views, and refreshing the list.

import { address, changeAddress, dropFirstResponses, endOutage, follow, fragment, leaveEntries, listAddress, rememberScroll, request, state, useSession, VIEWS, whenAddressChanges, whenOutage, whenSignedOut } from "./api.js";
import * as audit from "./audit.js";
import { busy, byId, closeAll, debounced, emailAddress, isolated, refreshTimes, reopen, showToast } from "./components.js";
import * as shadow from "./shadow.js";
import * as sites from "./sites.js";
import * as users from "./users.js";

// === Signing in ===
// With a token or at the OpenID Connect issuer, which redirects back with a session or an error code.

let methods = null;

const REFUSALS = {
  busy: () => "The database is busy. Try again soon.",
  client_refused: (name) => `${name} does not accept this installation’s client ID or secret. Ask the operator of Sitelatch to check client_id and client_secret.`,
  database_unavailable: () => "The database is unavailable. Try again soon.",
  denied: (name) => `Signing in at ${name} was canceled. Try again.`,
  expired: () => "This sign-in has expired, was started in another browser, or was already used. Try again.",
  issuer_unavailable: (name) => `${name} cannot be reached right now. Try again soon.`,
  not_an_admin: (name) => `${name} knows you, but you are not an admin here. Ask the operator of Sitelatch for access, or sign out there and use another account.`,
  sign_in_refused: (name) => `${name} did not complete the sign-in. Try again. If the problem persists, see Sitelatch’s log.`,
};

// Why a person is not an admin, and what that person can do.
const REASONS = {
  claim_missing: (name) => `${name} did not send the claims that decide who is an admin. Ask the operator of Sitelatch to check the claims and scopes of this client.`,
  email_not_verified: (name) => `${name} reports that your email address is not verified. Verify it there, then sign in again.`,
  email_verified_missing: (name) => `${name} does not say whether your email address is verified. Ask the operator of Sitelatch to have email_verified sent, or to admit you by another claim.`,
  invalid_email: (name) => `${name} sent an invalid email address for you. Correct it there, then sign in again.`,
  no_email: (name) => `${name} did not send your email address. Share it if ${name} asks for your consent, or ask the operator of Sitelatch to check the scopes of this client.`,
  no_subject: (name) => `${name} did not send a user name or a verified email address for you. Ask the operator of Sitelatch to check the claims and scopes of this client.`,
};

// A failed sign-in at the issuer leaves its code in the fragment, and perhaps a reason. Only our own sentences are shown, never text from the URL.
function takeRefusal() {
  const [, code, reason] = location.hash.match(/^#refused=(\w+)(?:&reason=(\w+))?$/) ?? [];
  if (!code) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return code === "not_an_admin" && Object.hasOwn(REASONS, reason) ? REASONS[reason] : Object.hasOwn(REFUSALS, code) ? REFUSALS[code] : REFUSALS.sign_in_refused;
}

let refusal = takeRefusal();

// Signing in at the issuer leads away from this page and back, so the tab remembers the address, for example of a bookmark.
const ADDRESS = "sitelatch-address";

function keepAddress() {
  try {
    sessionStorage.setItem(ADDRESS, location.hash);
  } catch { /* The browser stores nothing for this page. */ }
}

function restoreAddress() {
  try {
    const kept = sessionStorage.getItem(ADDRESS);
    sessionStorage.removeItem(ADDRESS);
    if (kept && !location.hash) history.replaceState(history.state, "", kept);
  } catch { /* The browser stores nothing for this page. */ }
}

restoreAddress();

// A page that is signed in does not need the refusal, for example after the browser's back button repeated a finished sign-in.
function dropRefusal() {
  refusal = null;
}

async function showSignIn(reason = "") {
  try {
    methods ??= await request("GET", "sign-in");
  } catch (error) {
    reason ||= error.message;
  }
  const { token, oidc } = methods ?? { token: true, oidc: null };
  if (refusal) reason ||= refusal(oidc ?? "The issuer");
  refusal = null;
  byId("insecure").hidden = isSecureContext;
  byId("sign-in-intro").hidden = !isSecureContext || !(token || oidc);
  byId("no-sign-in").hidden = token || Boolean(oidc);
  byId("with-issuer").hidden = !oidc || !isSecureContext;
  byId("with-token").hidden = !token || !isSecureContext;
  byId("or").hidden = byId("with-issuer").hidden || byId("with-token").hidden;
  byId("issuer").textContent = `Sign in with ${oidc}`;
  // Only one button is primary: the issuer's, if there is one.
  byId("token-sign-in").classList.toggle("primary", !oidc);
  byId("token").value = "";
  byId("token-error").textContent = "";
  byId("loading").hidden = true;
  byId("signed-out").hidden = false;
  byId("sign-in-error").textContent = reason;
  if (token || oidc) byId(oidc ? "issuer" : "token").focus();
}

function setUpSignIn(signedIn) {
  byId("sign-in-form").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(byId("token-sign-in"), async () => {
      byId("token-error").textContent = "";
      byId("sign-in-error").textContent = "";
      try {
        const session = await request("POST", "session", { token: byId("token").value.trim() });
        byId("token").value = "";
        await signedIn(session);
      } catch (error) {
        byId("token-error").textContent = error.message;
        byId("token").select();
      }
    });
  });

  byId("issuer").addEventListener("click", () => busy(byId("issuer"), async () => {
    byId("sign-in-error").textContent = "";
    try {
      const { location: url } = await request("POST", "sign-in/oidc");
      keepAddress();
      location.assign(url);
      // The button stays busy until the browser leaves the page.
      await new Promise((resolve) => addEventListener("pagehide", resolve, { once: true }));
    } catch (error) {
      byId("sign-in-error").textContent = error.message;
    }
  }));
}

// === Views ===

const VIEW = { users, sites, audit, shadow };
const RELOADS = { users: users.loadUsers, sites: sites.loadSites, audit: audit.loadAudit, shadow: shadow.loadFindings };
const TITLES = { users: "API Users", sites: "Sites", audit: "Audit", shadow: "Shadow mode" };

async function showView({ focus = false } = {}) {
  const { view, parameters } = address();
  state.list = listAddress();
  const workspace = parameters.get("workspace");
  sites.selectWorkspace(state.workspaces.includes(workspace) ? workspace : null);
  if (workspace !== state.workspace) {
    showToast("There is no workspace “", isolated(workspace), "”. All workspaces are shown.");
    changeAddress({ workspace: state.workspace });
  }
  byId("first-list").hidden = true;
  document.title = `${TITLES[view]} · Sitelatch`;
  if (view !== "users") users.clear();
  for (const section of VIEWS) byId(section).hidden = section !== view;
  for (const link of viewLinks) {
    const name = link.dataset.view;
    link.href = fragment(name, { workspace: state.workspace });
    if (name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  // Before loading: a slow response must not move the focus later.
  if (focus) byId(`${view}-title`).focus();
  await VIEW[view].showAddress();
}

// The user has moved to another address: to another list, to the same list with another open user, or with none.
async function followAddress() {
  if (!state.session) return;
  const { scroll = 0 } = history.state ?? {};
  const isOtherView = byId(address().view).hidden;
  for (const menu of document.querySelectorAll("[popover]:not([popover=manual]):popover-open")) menu.hidePopover();
  if (listAddress() !== state.list) {
    await showView({ focus: isOtherView });
    scrollTo(0, scroll);
  }
  await users.showOpenUser();
}

async function signedIn(session) {
  dropRefusal();
  state.session = session;
  useSession(session);
  const { name, email } = session.person;
  byId("person").replaceChildren(isolated(name), ...(name === email ? [] : [" ", emailAddress(email, { class: "quiet" })]));
  byId("initials").textContent = [...name.matchAll(/(?<![\p{L}\p{N}])[\p{L}\p{N}]/gu)].slice(0, 2).join("").toUpperCase() || "?";
  byId("sign-out").hidden = !session.can_sign_out;
  shadow.showBanner(session.shadow_routes);
  byId("loading").hidden = true;
  byId("signed-out").hidden = true;
  byId("signed-in").hidden = false;
  try {
    await sites.loadWorkspaces();
  } catch (error) {
    // The banner shows an outage. After it, the page continues here.
    if (!error.isOutage && state.session) await signedOut(error.message);
    return;
  }
  const { scroll = 0 } = history.state ?? {};
  await showView({ focus: true });
  scrollTo(0, scroll);
  reopen(email);
  await users.showOpenUser();
}

function signedOut(reason = "") {
  closeAll(reason && state.session?.person.email);
  state.session = null;
  useSession(null);
  endOutage();
  users.clear();
  for (const rows of ["sites-rows", "audit-rows", "shadow-rows"]) byId(rows).replaceChildren();
  byId("signed-in").hidden = true;
  byId("first-list").hidden = false;
  for (const section of VIEWS) byId(section).hidden = true;
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
sites.setUpWorkspaces(showView);
users.setUpUsers();
sites.setUpSites();
audit.setUpAudit();
shadow.setUpShadow();
users.setUpEdit();
users.setUpTry();
users.setUpUsage();
users.setUpKeyImport(users.loadUsers);
users.setUpCreate((workspace) => { if (state.session && address().view === "users") workspace ? users.showCreated(workspace) : users.loadUsers(); });

// === Outages ===
// While the server or its database is unavailable, a banner says so and the page tries again. Nobody is signed out.

const RETRY_MS = 3000;
const MAX_RETRY_MS = 30_000;

let retryMs = RETRY_MS;
let retryTimer = null;

whenOutage((sentence) => {
  byId("outage").hidden = !sentence;
  clearTimeout(retryTimer);
  if (!sentence) {
    retryMs = RETRY_MS;
    return;
  }
  // Only what happened, because the banner says that the page tries again. Unchanged text is not announced again.
  const text = sentence.replace(/(?<=\.) .*/s, "");
  if (byId("outage-text").textContent !== text) byId("outage-text").textContent = text;
  retryTimer = setTimeout(retryLater, retryMs);
});

// Dialogs have their own buttons to retry, and a hidden page asks for nothing.
function retryLater() {
  clearTimeout(retryTimer);
  retryMs = Math.min(2 * retryMs, MAX_RETRY_MS);
  if (document.hidden || document.querySelector("dialog[open]")) retryTimer = setTimeout(retryLater, retryMs);
  else retry();
}

async function retry() {
  if (!state.session) await start();
  else if (!byId("first-list").hidden) await signedIn(state.session);
  else if (await sites.loadWorkspaces().then(RELOADS[address().view], () => false)) endOutage();
}

byId("retry").addEventListener("click", () => busy(byId("retry"), retry));
addEventListener("online", () => { if (!byId("outage").hidden) retryLater(); });

// === Refreshing the list ===

const REFRESH_MS = 5000;
const MAX_REFRESH_MS = 60_000;
// An unused page must not keep its session alive.
const INACTIVE_MS = 10 * 60 * 1000;

let lastActive = Date.now();
for (const kind of ["pointerdown", "keydown", "focus"]) addEventListener(kind, () => { lastActive = Date.now(); });
let refreshTimer = null;
let refreshMs = REFRESH_MS;

// Ask again after five seconds, but spend at most a tenth of the time waiting for answers, and ask less often after errors.
// A hidden page asks for nothing.
async function refresh() {
  refreshTimes();
  const began = performance.now();
  const inUse = state.session && !document.hidden && Date.now() - lastActive < INACTIVE_MS;
  const wanted = inUse && address().view === "users" && !document.querySelector("dialog[open]");
  const succeeded = !wanted || (await users.refreshUsers());
  const longer = succeeded ? 10 * (performance.now() - began) : 2 * refreshMs;
  refreshMs = Math.min(Math.max(REFRESH_MS, longer), MAX_REFRESH_MS);
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(refresh, refreshMs);
}

refreshTimer = setTimeout(refresh, REFRESH_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });

whenAddressChanges(followAddress);
addEventListener("scroll", debounced(100, rememberScroll), { passive: true });
const viewLinks = [...document.querySelectorAll(".bar nav a")];
for (const link of viewLinks) link.dataset.view = link.hash.slice(1);
// A link to the current address reloads the list. That is also the way to retry after an error.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (!link || !state.session || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  if (link.hash !== listAddress()) {
    follow(link.hash);
    return;
  }
  history.replaceState(history.state, "", link.hash);
  showView({ focus: true });
});

leaveEntries({ reopens: true });

async function start() {
  let session;
  try {
    session = await request("GET", "session");
  } catch (error) {
    if (!error.isOutage) await signedOut(error.status === 401 ? "" : error.message);
    return;
  }
  await signedIn(session);
}

await start();
dropFirstResponses();
