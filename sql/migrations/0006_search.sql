-- The list's search by the start of a key's hint, as by names and e-mail addresses.
CREATE INDEX api_keys_hint_idx ON sitelatch.api_keys (hint text_pattern_ops);
