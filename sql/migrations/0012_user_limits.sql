-- Limits on the requests of an API user.

-- NULL means the limit of the route. Without a burst, it is a second's worth of requests.
ALTER TABLE sitelatch.api_users
    ADD COLUMN requests_per_second float8,
    ADD COLUMN burst integer,
    ADD CONSTRAINT api_users_requests_per_second CHECK (requests_per_second > 0 AND requests_per_second <= 1000000),
    ADD CONSTRAINT api_users_burst CHECK (burst BETWEEN 1 AND 1000000),
    ADD CONSTRAINT api_users_burst_of_rate CHECK (burst IS NULL OR requests_per_second IS NOT NULL);

-- The change feed reports every column that the decision reads, and no other.
DROP TRIGGER note_changed_user ON sitelatch.api_users;
CREATE CONSTRAINT TRIGGER note_changed_user AFTER UPDATE ON sitelatch.api_users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.id, OLD.workspace_id, OLD.all_sites, OLD.disabled_at, OLD.expires_at, OLD.methods, OLD.networks,
           OLD.requests_per_second, OLD.burst)
        IS DISTINCT FROM
        (NEW.id, NEW.workspace_id, NEW.all_sites, NEW.disabled_at, NEW.expires_at, NEW.methods, NEW.networks,
         NEW.requests_per_second, NEW.burst))
    EXECUTE FUNCTION sitelatch.note_user();
ALTER TABLE sitelatch.api_users ENABLE ALWAYS TRIGGER note_changed_user;
