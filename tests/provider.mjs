// An OpenID Connect provider on loopback for the sign-in tests. Users can sign in with any email address, without a
// password. It reads commands from stdin, one JSON object per line: {"rotate": "ES256"} replaces the signing key.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

import Provider from "oidc-provider";

const { issuer, port, clients } = JSON.parse(process.argv[2]);

const KINDS = {
  RS256: ["rsa", { modulusLength: 2048 }], ES256: ["ec", { namedCurve: "P-256" }], EdDSA: ["ed25519"],
};

function newKey(alg) {
  const { privateKey } = generateKeyPairSync(...KINDS[alg]);
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), alg, use: "sig" };
}

// The claims about an account. The account ID is the email address that the user entered.
function claimsOf(id) {
  return {
    sub: `subject-of-${id}`,
    name: id.split("@")[0],
    email: id,
    email_verified: !id.startsWith("unverified"),
    groups: id.startsWith("grouped") ? ["staff", "sitelatch-admins"] : ["staff"],
  };
}

function newProvider(key) {
  const provider = new Provider(issuer, {
    clients,
    clientDefaults: { id_token_signed_response_alg: key.alg },
    jwks: { keys: [key] },
    claims: { email: ["email", "email_verified"], profile: ["name", "groups"] },
    findAccount: (_, id) => ({ accountId: id, claims: () => claimsOf(id) }),
    cookies: { keys: ["only for tests"] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        getResourceServerInfo: (_, resource, client) => ({
          scope: "", audience: resource, accessTokenFormat: "jwt", jwt: { sign: { alg: key.alg } },
          accessTokenTTL: client.clientId.startsWith("late") ? -60 : 300,
        }),
      },
    },
    // Tokens for programs carry claims that are derived from the client ID.
    extraTokenClaims: (_, token) => token.clientId?.includes("@") ? claimsOf(token.clientId) : undefined,
    interactions: { url: (_, interaction) => `/sign-in/${interaction.uid}` },
    // Skip the consent page.
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({
        clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope("openid email profile");
      await grant.save();
      return grant;
    },
    renderError: (ctx, out) => { ctx.type = "text"; ctx.body = JSON.stringify(out); },
  });
  return provider;
}

const FORM = `<!doctype html><html lang="en"><title>Provider</title><form method="post">
<label>Email <input name="login" autofocus></label> <button>Continue</button><button name="cancel" value="1">Cancel</button></form>`;

async function signIn(provider, request, response) {
  if (request.method === "GET") {
    response.setHeader("Content-Type", "text/html");
    response.end(FORM);
    return;
  }
  let body = "";
  for await (const chunk of request) body += chunk;
  const form = new URLSearchParams(body);
  await provider.interactionFinished(request, response, form.has("cancel")
    ? { error: "access_denied", error_description: "the user went away" }
    : { login: { accountId: form.get("login"), remember: false } });
}

let provider = newProvider(newKey("RS256"));
createServer((request, response) => {
  if (request.url.startsWith("/sign-in/")) signIn(provider, request, response);
  else provider.callback()(request, response);
}).listen(port, "127.0.0.1", () => console.log("ready"));

createInterface({ input: process.stdin }).on("line", (line) => {
  provider = newProvider(newKey(JSON.parse(line).rotate));
  console.log("done");
}).on("close", () => process.exit());
