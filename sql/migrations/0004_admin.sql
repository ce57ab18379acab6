-- The admin API: recoverable keys, idempotent requests, sessions and the audit log.

-- Encrypted keys, which an admin can have shown again. A separate table, because the doors' role can read api_keys.
CREATE TABLE sitelatch.sealed_keys (
    digest bytea PRIMARY KEY REFERENCES sitelatch.api_keys (digest) ON DELETE CASCADE,
    sealed bytea NOT NULL
);

-- Which request created which API user, so that a request that is sent twice creates only one.
CREATE TABLE sitelatch.idempotency_keys (
    -- The admin who sent the request. The keys of different admins are independent.
    caller text NOT NULL,
    key text NOT NULL,
    -- SHA-256 of the request.
    request_digest bytea NOT NULL,
    -- No foreign key: a late retry must not create a user again that was deleted in the meantime.
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key),
    CONSTRAINT idempotency_keys_length CHECK (char_length(key) <= 255),
    CONSTRAINT idempotency_keys_request_digest_length CHECK (octet_length(request_digest) = 32)
);
CREATE INDEX idempotency_keys_created_idx ON sitelatch.idempotency_keys (created_at);

CREATE TABLE sitelatch.sessions (
    digest bytea PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    workspaces text[],
    -- The credential that the session was created with. The session ends when that credential is withdrawn.
    signed_in_with text NOT NULL,
    -- The issuer's claims that the allow list in the config is checked against on each request.
    claims jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT sessions_digest_length CHECK (octet_length(digest) = 32)
);
CREATE INDEX sessions_expires_idx ON sitelatch.sessions (expires_at);

-- OpenID Connect logins in progress. Each can be completed once, by any replica.
CREATE TABLE sitelatch.oidc_logins (
    digest bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL,
    CONSTRAINT oidc_logins_digest_length CHECK (octet_length(digest) = 32)
);
CREATE INDEX oidc_logins_expires_idx ON sitelatch.oidc_logins (expires_at);

-- No foreign keys: an entry outlives the rows it refers to.
CREATE TABLE sitelatch.audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor_name text NOT NULL,
    actor_email text NOT NULL,
    actor_address text NOT NULL,
    action text NOT NULL,
    workspace text,
    subject text,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_workspace_idx ON sitelatch.audit_log (workspace, id);
