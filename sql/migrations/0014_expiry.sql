-- Indexes of the API users and keys that expire, for the filters of lists and the metric of keys that expire soon.

CREATE INDEX api_users_expires_idx ON sitelatch.api_users (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX api_keys_expires_idx ON sitelatch.api_keys (expires_at) WHERE expires_at IS NOT NULL;
