// Requests to the admin API, and the state that all views share.

// === State ===

// The session, the names of all workspaces, and the selected workspace (null for all).
export const state = { session: null, workspaces: [], workspace: null };

// === Requests ===
// Failures become errors with a sentence for the user.

// After this time the user may retry. Requests that must not be repeated carry an Idempotency-Key.
const TIMEOUT_MS = 60_000;
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

// Do not use a response that came with the page any more. Everything is loaded again from now on.
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

// Return a search without all but the start of a pasted key, which the hint of the key contains. The rest must not get into
// a URL, because proxies log URLs.
export const withoutKeys = (search) => search.trim().replace(/(slk_\w{4})\w+/g, "$1");

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
