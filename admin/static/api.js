// Requests to the admin API, and the state that all views share.

// === State ===

// The session, the names of all workspaces, the selected workspace (null for all), and the address of the list that is
// shown.
export const state = { session: null, workspaces: [], workspace: null, list: null };

// === Address ===
// The view, the search, the filters, the order, the page and the open user are in the fragment of the URL, for example
// #users?search=export&sort=name&page=2. Browsers do not send a fragment to servers. Values that make no sense are
// ignored. An open dialog has an entry in the history, so that the Back button closes it.

export const VIEWS = ["users", "sites", "audit", "shadow"];

// Keys and tokens keep only their beginning in the parameters that people type, because others see URLs and proxies log
// them. The hint of a key contains the beginning of the key.
const TYPED = ["search", "by", "actor"];
const SECRETS = [[/(slk_\w{4})\w+/g, "$1"], [/(sla_\w{4})\w{12,}/g, "$1"], [/\beyJ[\w-]{8,}[\w.-]*/g, "eyJ"]];
export const withoutKeys = (text) => SECRETS.reduce((shown, [secret, start]) => shown.replace(secret, start), text.trim());

// The open dialogs, each with the fragment of its entry in the history.
const dialogs = [];
// Whether the browser is on its way back to an earlier entry of the history.
let returning = false;
// Changes that wait until no dialog is open.
let waiting = null;
let onAddress = () => {};

// Return the name of the view and its parameters.
export function address() {
  const [view, text = ""] = location.hash.slice(1).split(/\?(.*)/s);
  const parameters = new URLSearchParams(text);
  if (waiting) change(parameters, waiting.changes);
  return { view: VIEWS.includes(view) ? view : VIEWS[0], parameters };
}

// Return a parameter that the user can edit: without control characters, and no longer than the API accepts.
export const textFrom = (parameters, name) => (parameters.get(name) ?? "").replace(/[\p{Cc}\p{Cs}]/gu, "").trim().slice(0, 200);

// Return a parameter that must be one of some values, or else the first of them.
export const choiceFrom = (parameters, name, choices) => (choices.includes(parameters.get(name)) ? parameters.get(name) : choices[0]);

// Return the fragment for a view. Parameters that are null or empty are left out.
export function fragment(view, given) {
  const text = change(new URLSearchParams(), given).toString();
  return `#${view}${text ? `?${text}` : ""}`;
}

function change(parameters, changes) {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "" || value === undefined) parameters.delete(name);
    else parameters.set(name, TYPED.includes(name) ? withoutKeys(String(value)) : String(value));
  }
  return parameters;
}

// Change parameters of the view. `push` adds an entry to the history: call rememberScroll before the list changes.
// `before` is remembered with the entry.
export function changeAddress(changes, { push = false, before } = {}) {
  waiting = { changes: { ...waiting?.changes, ...changes }, push: push || Boolean(waiting?.push), before: before ?? waiting?.before };
  writeChanges();
}

function writeChanges() {
  if (!waiting || dialogs.length || returning) return;
  const { view, parameters } = address();
  const { push, before } = waiting;
  waiting = null;
  const entry = push ? { before } : { ...history.state, before: before ?? history.state?.before };
  history[push ? "pushState" : "replaceState"](entry, "", fragment(view, Object.fromEntries(parameters)));
  state.list = listAddress();
}

// Remember the scroll position with the entry of the history.
export const rememberScroll = () => history.replaceState({ ...history.state, scroll: scrollY }, "");

// The address of the list that is shown, without the open user.
export function listAddress() {
  const { view, parameters } = address();
  return fragment(view, { ...Object.fromEntries(parameters), user: null });
}

// Call `callback` when the user moves to another address, or the Back button has closed a dialog.
export function whenAddressChanges(callback) {
  onAddress = callback;
}

// Add an entry for a dialog that has opened. The address of an open user names the user.
export function dialogOpened(dialog, user = null) {
  const { view, parameters } = address();
  const shown = Object.fromEntries(parameters);
  // A bookmark of an open user: the Back button leads to the list.
  if (user && !history.state?.depth) history.replaceState(history.state, "", fragment(view, { ...shown, user: null }));
  dialogs.push({ dialog, hash: fragment(view, user ? { ...shown, user } : shown) });
  addEntries();
}

function addEntries() {
  if (returning) return;
  for (let depth = (history.state?.depth ?? 0) + 1; depth <= dialogs.length; depth += 1) {
    rememberScroll();
    history.pushState({ ...history.state, depth }, "", dialogs[depth - 1].hash);
  }
}

// Leave the entry of a dialog that has closed, and those of the dialogs above it.
export function dialogClosed(dialog) {
  const index = dialogs.findIndex((open) => open.dialog === dialog);
  if (index < 0) return; // the Back button has closed it
  dialogs.splice(index);
  leaveEntries();
}

// Leave the entries of dialogs that are not open, for example after the page was reloaded. If `reopens`, the user that
// the address names is about to be opened.
export function leaveEntries({ reopens = false } = {}) {
  const kept = reopens && !dialogs.length && address().parameters.has("user") ? 1 : dialogs.length;
  const extra = (history.state?.depth ?? 0) - kept;
  if (extra <= 0 || returning) return;
  returning = true;
  history.go(-extra);
}

function moved() {
  returning = false;
  while (dialogs.length > (history.state?.depth ?? 0)) {
    const { dialog } = dialogs.at(-1);
    // Some dialogs cannot be closed now: a request is in progress, or a key is shown only once.
    if (dialog.dataset.stays || dialog.querySelector("[aria-busy]")) break;
    dialogs.pop();
    dialog.close();
  }
  addEntries();
  leaveEntries({ reopens: true });
  if (returning) return;
  writeChanges();
  onAddress();
}

addEventListener("popstate", moved);

// Follow a link to an address of the page. The browser itself would scroll to the section with this name, and take the
// focus from what the page focuses.
export function follow(hash) {
  rememberScroll();
  history.pushState(null, "", hash);
  moved();
}

history.scrollRestoration = "manual"; // the rows to scroll to are loaded later

// === Requests ===
// Failures become errors with a sentence for the user.

// After this time the user may retry. Requests that must not be repeated carry an Idempotency-Key.
const TIMEOUT_MS = 60_000;
// How many requests fill a page of a list, at most.
const MAX_REQUESTS = 20;
const PROGRESS_DELAY_MS = 300;

let csrfToken = null;
let email = null;
let pending = 0;
let progressTimer = null;
let onSignedOut = () => {};
let onOutage = () => {};
// What cannot be loaded at the moment, because the server or its database is unavailable: the first segments of paths.
const unavailable = new Set();
// Responses that came with the page, by path.
const firstResponses = new Map(Object.entries(JSON.parse(document.getElementById("first-responses")?.textContent ?? "{}")));

export function useSession(session) {
  csrfToken = session?.csrf_token ?? null;
  email = session?.person.email ?? null;
}

// Fetch the token that changes need. If the same person has signed in again in another tab, this continues with that
// session. Returns whether there is a new token.
async function renewSession() {
  const session = await request("GET", "session");
  if (session.person.email !== email || session.csrf_token === csrfToken) return false;
  useSession(session);
  return true;
}

// Discard the responses that were sent with the page. Everything is loaded again from now on.
export function dropFirstResponses() {
  firstResponses.clear();
}

export function whenSignedOut(callback) {
  onSignedOut = callback;
}

// Call `callback` with a sentence when something cannot be loaded, and with null when everything can be loaded again.
export function whenOutage(callback) {
  onOutage = callback;
}

export function endOutage() {
  unavailable.clear();
  onOutage(null);
}

export class RequestError extends Error {
  constructor(status, problem) {
    super(problem.detail);
    this.status = status;
    this.code = problem.code;
    this.faults = problem.errors ?? [];
  }

  // Whether this is the fault of the server, its database or the network, so that a retry can succeed.
  get isOutage() {
    return this.status === 0 || this.status >= 500;
  }

  // Return the errors of one field of the body, or null.
  at(field) {
    const found = this.faults.filter((fault) => fault.pointer === `#/${field}` || fault.pointer?.startsWith(`#/${field}/`));
    return found.length ? found.map((fault) => fault.detail).join("\n") : null;
  }
}

export async function request(method, path, body, options = {}) {
  if (method !== "GET") return await send(method, path, body, options);
  const [first, kind] = [firstResponses.get(path), path.match(/^[\w-]+/)[0]];
  firstResponses.delete(path);
  try {
    const response = first ?? (await send(method, path, body, options));
    if (unavailable.delete(kind) && !unavailable.size) onOutage(null);
    return response;
  } catch (error) {
    // The sign-in form shows its own errors.
    if (error.isOutage && kind !== "sign-in") {
      unavailable.add(kind);
      onOutage(error.message);
    }
    throw error;
  }
}

async function send(method, path, body, { quiet = false, signal, headers: extra = {} }) {
  const headers = { Accept: "application/json", ...extra };
  // A session that came with the page has no token. Without a session, the request itself leads to the sign-in form.
  if (method !== "GET" && email && !csrfToken) await renewSession().catch((error) => { if (error.status !== 401) throw error; });
  if (csrfToken && method !== "GET") headers["X-CSRF-Token"] = csrfToken;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (!quiet) showProgress();
  try {
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    if (response.ok) {
      return response.status === 204 ? null : await response.json().catch((error) => { throw error instanceof SyntaxError ? foreignResponse(response.status) : error; });
    }
    const problem = await response.json().catch(() => null);
    if (!problem?.code) throw foreignResponse(response.status);
    if (problem.code === "cross_site" && csrfToken && (await renewSession().catch(() => false))) return await send(method, path, body, { quiet, signal, headers: extra });
    if (response.status === 401 && path !== "session") onSignedOut();
    throw new RequestError(response.status, problem);
  } catch (error) {
    if (error instanceof TypeError) throw new RequestError(0, { detail: "The server cannot be reached. Try again." });
    if (error.name === "TimeoutError") throw new RequestError(0, { detail: "The server did not respond. Try again." });
    throw error;
  } finally {
    if (!quiet) hideProgress();
  }
}

// Return the error for a response of a proxy in front. Its status says nothing about a session or a resource: for
// example, it responds with 401 or a form when its own session has ended, and with 404 while Sitelatch restarts.
function foreignResponse(status) {
  if (status >= 500) return new RequestError(status, { detail: `The server responded with status ${status}. Try again.` });
  return new RequestError(0, { detail: "The response is not from Sitelatch. Reload the page." });
}

// Delete a resource that may not exist any more: another admin, or a request whose response was lost, may have deleted it.
export async function deleteIfExists(path) {
  try {
    await request("DELETE", path);
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}

// A page of a list. The API returns fewer items than a page has after it has checked many, so go on after these.
export async function readPage(list, parameters, { isCurrent = () => true, ...options } = {}) {
  const read = (more) => request("GET", query(list, { ...parameters, ...more }), undefined, options);
  let page = await read();
  for (let requests = 1; requests < MAX_REQUESTS && page.next && page.items.length < parameters.limit && isCurrent(); requests += 1) {
    const { items, next } = await read({ after: page.next, limit: parameters.limit - page.items.length });
    page = { items: [...page.items, ...items], next };
  }
  return page;
}

export function query(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== "" && value !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

function showProgress() {
  pending += 1;
  // A popover, so that it also shows above dialogs.
  progressTimer ??= setTimeout(() => document.getElementById("progress").showPopover(), PROGRESS_DELAY_MS);
}

function hideProgress() {
  pending -= 1;
  if (pending) return;
  clearTimeout(progressTimer);
  progressTimer = null;
  document.getElementById("progress").hidePopover();
}
