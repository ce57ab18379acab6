// Signing in, with a token or at the OpenID Connect issuer, which redirects back with a session or an error code.

import { request } from "./api.js";
import { busy, byId } from "./dom.js";

let methods = null;
let refusal = takeRefusal();

const REFUSALS = {
  client_refused: (name) => `${name} does not accept this installation’s client ID or secret. Ask the operator of Sitelatch to check client_id and client_secret.`,
  database_unavailable: () => "The database is unavailable. Try again soon.",
  denied: (name) => `Signing in at ${name} was canceled. Try again.`,
  expired: () => "This sign-in has expired, was started in another browser, or was already used. Try again.",
  issuer_unavailable: (name) => `${name} cannot be reached right now. Try again soon.`,
  not_an_admin: (name) => `${name} knows you, but you are not an admin here. Ask the operator of Sitelatch for access, or sign out there and use another account.`,
  sign_in_refused: (name) => `The response from ${name} was invalid. Try again. If the problem persists, see Sitelatch’s log.`,
  too_many_attempts: () => "Too many failed sign-ins from this address. Wait a minute.",
};

// A failed sign-in at the issuer leaves its code in the fragment. Only our own sentences are shown, never text from the URL.
function takeRefusal() {
  const [, code] = location.hash.match(/^#refused=(\w+)$/) ?? [];
  if (code) history.replaceState(null, "", location.pathname + location.search);
  return code;
}

export async function showSignIn(reason = "") {
  try {
    methods ??= await request("GET", "sign-in");
  } catch (error) {
    reason ||= error.message;
  }
  const { token, oidc } = methods ?? { token: true, oidc: null };
  if (refusal) reason ||= (Object.hasOwn(REFUSALS, refusal) ? REFUSALS[refusal] : REFUSALS.sign_in_refused)(oidc ?? "The issuer");
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

export function setUpSignIn(signedIn) {
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
      location.assign(url);
      // The button stays busy until the browser leaves the page.
      await new Promise((resolve) => addEventListener("pagehide", resolve, { once: true }));
    } catch (error) {
      byId("sign-in-error").textContent = error.message;
    }
  }));
}
