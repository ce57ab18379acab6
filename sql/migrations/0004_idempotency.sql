-- Which wish made which API user, so that one that is sent twice is granted once.

CREATE TABLE sitelatch.idempotency_keys (
    -- Whose key it is: two admins' keys do not meet.
    asker text NOT NULL,
    key text NOT NULL,
    wish bytea NOT NULL,
    -- No foreign key: a wish that comes late must not make again what was deleted meanwhile.
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (asker, key),
    CONSTRAINT idempotency_keys_length CHECK (char_length(key) <= 255),
    CONSTRAINT idempotency_keys_wish_length CHECK (octet_length(wish) = 32)
);
CREATE INDEX idempotency_keys_created_idx ON sitelatch.idempotency_keys (created_at);
