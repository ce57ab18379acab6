-- The last activity of each API user.

-- Updates stay HOT: the rows are narrow, each page has room for a second version of its rows, and no index covers the
-- time.
CREATE TABLE sitelatch.api_user_activity (
    user_id uuid PRIMARY KEY REFERENCES sitelatch.api_users (id) ON DELETE CASCADE,
    last_used_at timestamptz
) WITH (fillfactor = 40);

-- The row exists as long as the user does, so recording a use is a plain UPDATE. It does not lock the user, does not
-- need the INSERT privilege, and does nothing for a deleted user.
CREATE FUNCTION sitelatch.begin_activity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sitelatch.api_user_activity (user_id) VALUES (NEW.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER begin_activity AFTER INSERT ON sitelatch.api_users
    FOR EACH ROW EXECUTE FUNCTION sitelatch.begin_activity();
