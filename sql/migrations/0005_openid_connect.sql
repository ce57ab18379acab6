-- What signing in with OpenID Connect needs.

ALTER TABLE sitelatch.sessions
    -- What the issuer says of whoever signed in, as far as it is judged: the allow list of the config has the last word.
    ADD COLUMN claims jsonb;

-- Round trips to the issuer that have begun. Each ends once, whichever replica it comes back to.
CREATE TABLE sitelatch.round_trips (
    digest bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL,
    CONSTRAINT round_trips_digest_length CHECK (octet_length(digest) = 32)
);
CREATE INDEX round_trips_expires_idx ON sitelatch.round_trips (expires_at);
