-- What the page for admins needs: keys that can be shown again, and sessions.

-- A table of its own, so that the doors, who read api_keys, cannot read it.
CREATE TABLE sitelatch.sealed_keys (
    digest bytea PRIMARY KEY REFERENCES sitelatch.api_keys (digest) ON DELETE CASCADE,
    sealed bytea NOT NULL
);

-- Nobody could sign in before.
DELETE FROM sitelatch.sessions;
ALTER TABLE sitelatch.sessions
    -- Which credential it was traded for: a session ends when that is taken back.
    ADD COLUMN signed_in_with text NOT NULL,
    ADD COLUMN used_at timestamptz NOT NULL DEFAULT now();
