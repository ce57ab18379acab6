// The admin API: one function that asks, and says what went wrong in words.

// Whoever asks again after that asks for the same: what must not be done twice has an Idempotency-Key.
const PATIENCE_MS = 60_000;

let csrfToken = null;
let whose = null;
let open = 0;
let slow = null;
let onSignedOut = () => {};

export function useSession(session) {
  csrfToken = session?.csrf_token ?? null;
  whose = session?.person.email ?? null;
}

// In another tab the same person may have signed in anew: then the page goes on with that session. For nobody else.
async function renewed() {
  const session = await ask("GET", "session").catch(() => null);
  if (session?.person.email !== whose || session.csrf_token === csrfToken) return false;
  useSession(session);
  return true;
}

export function whenSignedOut(then) {
  onSignedOut = then;
}

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail);
    this.status = status;
    this.code = problem.code;
    this.faults = problem.errors ?? [];
  }

  // What is wrong with one field of the body, or null.
  at(field) {
    const found = this.faults.filter((fault) => fault.pointer === `#/${field}` || fault.pointer?.startsWith(`#/${field}/`));
    return found.length ? found.map((fault) => fault.detail).join("\n") : null;
  }
}

export async function ask(method, path, body, { quiet = false, signal, headers: more = {} } = {}) {
  const headers = { Accept: "application/json", ...more };
  if (csrfToken && method !== "GET") headers["X-CSRF-Token"] = csrfToken;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (!quiet) begin();
  try {
    const patience = AbortSignal.timeout(PATIENCE_MS);
    const answer = await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: signal ? AbortSignal.any([signal, patience]) : patience,
    });
    if (answer.ok) return answer.status === 204 ? null : await answer.json();
    const problem = await answer.json().catch(() => ({ detail: `The server answered ${answer.status}.` }));
    if (problem.code === "cross_site" && csrfToken && (await renewed())) return await ask(method, path, body, { quiet, signal, headers: more });
    if (answer.status === 401 && path !== "session") onSignedOut();
    throw new Refused(answer.status, problem);
  } catch (error) {
    if (error instanceof TypeError) throw new Refused(0, { detail: "The server cannot be reached. Try again." });
    if (error.name === "TimeoutError") throw new Refused(0, { detail: "No answer came. Try again." });
    throw error;
  } finally {
    if (!quiet) end();
  }
}

// Delete what may be gone already: by somebody else, or by a request whose answer was lost.
export async function gone(path) {
  try {
    await ask("DELETE", path);
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}

export function query(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== "" && value !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

function begin() {
  open += 1;
  // As a popover it is above the windows, too.
  slow ??= setTimeout(() => document.getElementById("progress").showPopover(), 300);
}

function end() {
  open -= 1;
  if (open) return;
  clearTimeout(slow);
  slow = null;
  document.getElementById("progress").hidePopover();
}
