// Signing in: with a token, or at the issuer, from where the browser comes back with a session, or with a refusal.

import { ask } from "./api.js";
import { busy, byId } from "./dom.js";

let ways = null;
let refused = takeRefusal();

const REFUSALS = {
  client_refused: (name) => `${name} does not know this installation, or not its secret. Whoever runs Sitelatch should check client_id and client_secret.`,
  database_unavailable: () => "The database does not answer. Try again soon.",
  denied: (name) => `${name} was left without signing in. Try again.`,
  expired: () => "That sign-in took too long, was begun in another browser, or has been used before. Try again.",
  issuer_unavailable: (name) => `${name} cannot be reached right now. Try again soon.`,
  not_an_admin: (name) => `${name} knows you, but you are not among the admins here. Ask whoever runs Sitelatch, or sign out there and come as somebody else.`,
  sign_in_refused: (name) => `What ${name} answered cannot be trusted or used. Try again. If it stays so, Sitelatch’s log says why.`,
  too_many_attempts: () => "Too many sign-ins from this address failed. Wait a minute.",
};

// A refused round trip leaves its code behind the #. Only sentences of ours are shown, never what an address says.
function takeRefusal() {
  const [, code] = location.hash.match(/^#refused=(\w+)$/) ?? [];
  if (code) history.replaceState(null, "", location.pathname + location.search);
  return code;
}

export async function showDoor(reason = "") {
  try {
    ways ??= await ask("GET", "sign-in");
  } catch (error) {
    reason ||= error.message;
  }
  const { token, oidc } = ways ?? { token: true, oidc: null };
  if (refused) reason ||= (Object.hasOwn(REFUSALS, refused) ? REFUSALS[refused] : REFUSALS.sign_in_refused)(oidc ?? "The issuer");
  refused = null;
  byId("insecure").hidden = isSecureContext;
  byId("ways-in").hidden = !isSecureContext || !(token || oidc);
  byId("no-way-in").hidden = token || Boolean(oidc);
  byId("with-issuer").hidden = !oidc || !isSecureContext;
  byId("with-token").hidden = !token || !isSecureContext;
  byId("or").hidden = byId("with-issuer").hidden || byId("with-token").hidden;
  byId("issuer").textContent = `Sign in with ${oidc}`;
  // One button stands out: where there is an issuer, it is the way in.
  byId("token-sign-in").classList.toggle("primary", !oidc);
  byId("token").value = "";
  byId("sign-in-error").textContent = "";
  byId("loading").hidden = true;
  byId("door").hidden = false;
  byId("door-error").textContent = reason;
  if (token || oidc) byId(oidc ? "issuer" : "token").focus();
}

export function setUpDoor(enter) {
  byId("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(byId("token-sign-in"), async () => {
      byId("sign-in-error").textContent = "";
      byId("door-error").textContent = "";
      try {
        const session = await ask("POST", "session", { token: byId("token").value.trim() });
        byId("token").value = "";
        await enter(session);
      } catch (error) {
        byId("sign-in-error").textContent = error.message;
        byId("token").select();
      }
    });
  });

  byId("issuer").addEventListener("click", () => busy(byId("issuer"), async () => {
    byId("door-error").textContent = "";
    try {
      const { location: there } = await ask("POST", "sign-in/oidc");
      location.assign(there);
      // Busy until this page is gone.
      await new Promise((resolve) => addEventListener("pagehide", resolve, { once: true }));
    } catch (error) {
      byId("door-error").textContent = error.message;
    }
  }));
}
