-- Lists of API users by name and by the person who authorized them, and filters by that person and by last use.

-- The text by which a list is ordered: without case and accents. It is limited because a link to a page contains it.
-- Databases in other encodings than UTF-8 cannot normalize, so accented letters come after Z there.
DO $do$
BEGIN
    EXECUTE format($create$
CREATE FUNCTION sitelatch.order_key(text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT left(%s, 64)
$$
$create$, CASE WHEN getdatabaseencoding() = 'UTF8'
    THEN $$lower(regexp_replace(normalize(left($1, 200), NFKD), '[\u0300-\u036f]', '', 'g'))$$
    ELSE 'lower(left($1, 200))' END);
END
$do$;

ALTER TABLE sitelatch.api_users
    ADD COLUMN name_order text COLLATE "C" GENERATED ALWAYS AS (sitelatch.order_key(name)) STORED,
    ADD COLUMN authorized_by_order text COLLATE "C" NOT NULL
        GENERATED ALWAYS AS (sitelatch.order_key(authorized_by_name || ' ' || authorized_by_email)) STORED;
CREATE INDEX api_users_name_idx ON sitelatch.api_users (name_order, id);
CREATE INDEX api_users_workspace_name_idx ON sitelatch.api_users (workspace_id, name_order, id);
CREATE INDEX api_users_authorized_by_idx ON sitelatch.api_users (authorized_by_order, id);
CREATE INDEX api_users_workspace_authorized_by_idx ON sitelatch.api_users (workspace_id, authorized_by_order, id);
CREATE INDEX api_users_email_idx ON sitelatch.api_users (lower(authorized_by_email), workspace_id);

-- Users that were never used, by creation. The indexes change when a user is used for the first time, so recording all
-- later uses stays a HOT update.
ALTER TABLE sitelatch.api_user_activity ADD COLUMN created_at timestamptz;
UPDATE sitelatch.api_user_activity a SET created_at = u.created_at FROM sitelatch.api_users u WHERE u.id = a.user_id;
ALTER TABLE sitelatch.api_user_activity ALTER COLUMN created_at SET NOT NULL;
CREATE INDEX api_user_activity_never_used_idx ON sitelatch.api_user_activity (created_at, user_id)
    WHERE used_quarter IS NULL;
CREATE INDEX api_user_activity_workspace_never_used_idx
    ON sitelatch.api_user_activity (workspace_id, created_at, user_id) WHERE used_quarter IS NULL;

CREATE OR REPLACE FUNCTION sitelatch.begin_activity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sitelatch.api_user_activity (user_id, workspace_id, created_at)
    VALUES (NEW.id, NEW.workspace_id, NEW.created_at);
    RETURN NULL;
END
$$;

-- An INSERT into the activity may omit what the user has.
CREATE FUNCTION sitelatch.fill_activity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT workspace_id, created_at INTO NEW.workspace_id, NEW.created_at
    FROM sitelatch.api_users WHERE id = NEW.user_id;
    RETURN NEW;
END
$$;
DROP TRIGGER fill_workspace ON sitelatch.api_user_activity;
CREATE TRIGGER fill_activity BEFORE INSERT ON sitelatch.api_user_activity FOR EACH ROW
    WHEN (NEW.workspace_id IS NULL OR NEW.created_at IS NULL) EXECUTE FUNCTION sitelatch.fill_activity();

-- An UPDATE of the creation time in api_users reaches the activity.
CREATE FUNCTION sitelatch.follow_creation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sitelatch.api_user_activity SET created_at = NEW.created_at WHERE user_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER follow_creation AFTER UPDATE OF created_at ON sitelatch.api_users
    FOR EACH ROW EXECUTE FUNCTION sitelatch.follow_creation();
