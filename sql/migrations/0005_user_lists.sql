-- Lists of API users that stay fast with millions of them: search for the beginnings of words, and order by last
-- activity.

-- The words of a text, for searches. A word ends at a space or at one of - _ . @ / and the ellipsis in the hint of a key.
-- The length is limited because a tsvector cannot hold words of more than 2 kB. This file must be ASCII, because not
-- every encoding of a database has an ellipsis. Where it is missing, no text contains one.
DO $do$
DECLARE
    ellipsis text := '';
BEGIN
    BEGIN
        ellipsis := convert_from('\xe280a6', 'UTF8');
    EXCEPTION WHEN untranslatable_character OR undefined_function THEN
        NULL;
    END;
    EXECUTE format($create$
CREATE FUNCTION sitelatch.words(text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_to_tsvector(array_remove(regexp_split_to_array(lower(left($1, 500)), '[\s_.@/%s-]+'), ''))
$$
$create$, ellipsis);
END
$do$;

-- The query for texts in which each word of one of the texts $1 is the beginning of a word. NULL if there are no words.
CREATE FUNCTION sitelatch.word_beginnings(text[]) RETURNS tsquery
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT string_agg(DISTINCT every_word, ' | ')::tsquery
    FROM unnest($1) AS sought (sought_text)
    CROSS JOIN LATERAL (
        SELECT '(' || string_agg('''' || replace(replace(word, '\', '\\'), '''', '''''') || ''':*', ' & ') || ')'
        FROM unnest(tsvector_to_array(sitelatch.words(sought_text))) AS word
    ) AS one (every_word)
$$;

-- Generated columns cannot get out of date, no matter who writes the rows. GIN indexes find the beginnings of words.
ALTER TABLE sitelatch.api_users ADD COLUMN words tsvector NOT NULL GENERATED ALWAYS AS (
    sitelatch.words(coalesce(name, '')) || sitelatch.words(authorized_by_name) || sitelatch.words(authorized_by_email)
) STORED;
ALTER TABLE sitelatch.api_keys ADD COLUMN words tsvector NOT NULL
    GENERATED ALWAYS AS (sitelatch.words(regexp_replace(hint, '^slk_', ''))) STORED;
ALTER TABLE sitelatch.sites ADD COLUMN words tsvector NOT NULL
    GENERATED ALWAYS AS (sitelatch.words(folded) || sitelatch.words(display_name)) STORED;
CREATE INDEX api_users_words_idx ON sitelatch.api_users USING gin (words) WITH (fastupdate = off);
CREATE INDEX api_keys_words_idx ON sitelatch.api_keys USING gin (words) WITH (fastupdate = off);
CREATE INDEX sites_words_idx ON sitelatch.sites USING gin (words) WITH (fastupdate = off);
DROP INDEX sitelatch.api_users_name_idx;
DROP INDEX sitelatch.api_users_by_name_idx;
DROP INDEX sitelatch.api_users_by_email_idx;
DROP INDEX sitelatch.api_keys_hint_idx;

-- Finds the users of many sites without reading their rows.
CREATE INDEX api_user_sites_user_idx ON sitelatch.api_user_sites (site_id, workspace_id, user_id);
DROP INDEX sitelatch.api_user_sites_site_idx;

-- The quarter of an hour that a time is in, counted from 1970.
CREATE FUNCTION sitelatch.quarter_hour(timestamptz) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT floor(extract(epoch FROM $1 AT TIME ZONE 'UTC') / 900)::integer
$$;

-- The quarter of an hour of the last use orders the list. An index on the time itself would prevent HOT updates, but the
-- quarter changes at most every 15 minutes. Queries sort the users of one quarter by the time. The workspace is in an
-- index too, so that the list of a small workspace does not read the activity of all others.
ALTER TABLE sitelatch.api_user_activity ADD COLUMN workspace_id bigint;
UPDATE sitelatch.api_user_activity a SET workspace_id = u.workspace_id FROM sitelatch.api_users u WHERE u.id = a.user_id;
-- This also rewrites the table, without the row versions that the update left behind. The rows are wider than before, and
-- a page must still have room for a second version of all its rows.
ALTER TABLE sitelatch.api_user_activity SET (fillfactor = 35);
ALTER TABLE sitelatch.api_user_activity
    ALTER COLUMN workspace_id SET NOT NULL,
    ADD COLUMN used_quarter integer GENERATED ALWAYS AS (sitelatch.quarter_hour(last_used_at)) STORED,
    DROP CONSTRAINT api_user_activity_user_id_fkey,
    ADD CONSTRAINT api_user_activity_user_workspace_fkey FOREIGN KEY (user_id, workspace_id)
        REFERENCES sitelatch.api_users (id, workspace_id) ON DELETE CASCADE;
CREATE INDEX api_user_activity_used_idx ON sitelatch.api_user_activity (used_quarter, user_id);
CREATE INDEX api_user_activity_workspace_idx ON sitelatch.api_user_activity (workspace_id, used_quarter, user_id);

CREATE OR REPLACE FUNCTION sitelatch.begin_activity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sitelatch.api_user_activity (user_id, workspace_id) VALUES (NEW.id, NEW.workspace_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER fill_workspace BEFORE INSERT ON sitelatch.api_user_activity
    FOR EACH ROW WHEN (NEW.workspace_id IS NULL) EXECUTE FUNCTION sitelatch.fill_workspace();

-- For the audit log of one API user, site or workspace.
CREATE INDEX audit_log_subject_idx ON sitelatch.audit_log (subject, id);
