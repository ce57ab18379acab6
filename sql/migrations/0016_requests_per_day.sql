-- A limit on the requests of an API user in a UTC day. NULL means the limit of the route.

ALTER TABLE sitelatch.api_users
    ADD COLUMN requests_per_day bigint,
    ADD CONSTRAINT api_users_requests_per_day CHECK (requests_per_day BETWEEN 1 AND 1000000000000);

-- The change feed reports every column that the decision reads, and no other.
DROP TRIGGER note_changed_user ON sitelatch.api_users;
CREATE CONSTRAINT TRIGGER note_changed_user AFTER UPDATE ON sitelatch.api_users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.id, OLD.workspace_id, OLD.all_sites, OLD.disabled_at, OLD.expires_at, OLD.methods, OLD.networks,
           OLD.requests_per_second, OLD.burst, OLD.requests_per_day)
        IS DISTINCT FROM
        (NEW.id, NEW.workspace_id, NEW.all_sites, NEW.disabled_at, NEW.expires_at, NEW.methods, NEW.networks,
         NEW.requests_per_second, NEW.burst, NEW.requests_per_day))
    EXECUTE FUNCTION sitelatch.note_user();
ALTER TABLE sitelatch.api_users ENABLE ALWAYS TRIGGER note_changed_user;
