CREATE TABLE "LiteLLM_VerificationToken" (
    token text PRIMARY KEY,
    key_name text,
    key_alias text,
    expires timestamp(3),
    blocked boolean
);
INSERT INTO "LiteLLM_VerificationToken" (token, key_name, key_alias)
VALUES (encode(sha256('sk-kdEXbIqZRwEeEiHwdg7sFA'), 'hex'), 'sk-...7sFA', 'core-infra');
INSERT INTO "LiteLLM_VerificationToken" (token, key_name, key_alias, blocked)
VALUES (encode(sha256('sk-blocked'), 'hex'), 'sk-...cked', 'blocked', true);
