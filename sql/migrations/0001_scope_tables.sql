-- The scope: which API keys may access which sites.
--
-- The schema may live in a database that belongs to another application, so every name is qualified with `sitelatch`.
-- The SQL works on PostgreSQL 13 to 18.

-- The owner may have been given a schema without the right to create one.
DO $$
BEGIN
    IF to_regnamespace('sitelatch') IS NULL THEN
        CREATE SCHEMA sitelatch;
    END IF;
END
$$;

CREATE TABLE sitelatch.schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sitelatch.workspaces (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT workspaces_name_key UNIQUE (name),
    -- The front door sends the name to the upstream in a header.
    CONSTRAINT workspaces_name_characters CHECK (name ~ '^[!-~]([ -~]*[!-~])?$' AND char_length(name) <= 255)
);

CREATE TABLE sitelatch.sites (
    id text PRIMARY KEY,
    -- The id after NFKC normalization, case folding and trimming. Backends may ignore case, so it must be unique.
    folded text NOT NULL,
    workspace_id bigint NOT NULL REFERENCES sitelatch.workspaces (id),
    display_name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- The id as a collation sees it (admin/api/site_collation.py). Data services may treat two sites with the same value
    -- as equal, so the second one is refused. NULL if the site was not written by the admin API; it is filled in later.
    collated text,
    -- 0, except for sites that already shared their collated id with another site when it was filled in.
    collated_twin integer NOT NULL DEFAULT 0,
    CONSTRAINT sites_folded_key UNIQUE (folded),
    -- Referenced by api_user_sites, to ensure that a user and its sites belong to the same workspace.
    CONSTRAINT sites_id_workspace_key UNIQUE (id, workspace_id),
    -- No / \ ; , % ? #, no control characters and no surrounding spaces. The folded id is checked too, because
    -- normalization turns characters such as the full-width solidus into one of these.
    CONSTRAINT sites_id_characters CHECK (
        id ~ '^[^/\\;,%?#\u0001-\u001f\u007f-\u009f]{1,255}$' AND id !~ '^\s' AND id !~ '\s$'
    ),
    CONSTRAINT sites_folded_characters CHECK (
        folded ~ '^[^/\\;,%?#A-Z\u0001-\u001f\u007f-\u009f]+$' AND folded !~ '^\s' AND folded !~ '\s$'
    )
);
CREATE INDEX sites_workspace_idx ON sitelatch.sites (workspace_id, id);
-- A partial index does not count as a key. So filling in `collated` takes a lock that foreign key checks do not wait
-- for.
CREATE UNIQUE INDEX sites_collated_key ON sitelatch.sites (collated, collated_twin) WHERE collated IS NOT NULL;
CREATE INDEX sites_not_collated_idx ON sitelatch.sites (created_at, id) WHERE collated IS NULL;

CREATE TABLE sitelatch.api_users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id bigint NOT NULL REFERENCES sitelatch.workspaces (id),
    name text,
    all_sites boolean NOT NULL,
    authorized_by_name text NOT NULL,
    authorized_by_email text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz,
    CONSTRAINT api_users_id_workspace_key UNIQUE (id, workspace_id)
);
-- For pages of the user list, newest first, in all workspaces or in one.
CREATE INDEX api_users_created_idx ON sitelatch.api_users (created_at, id);
CREATE INDEX api_users_workspace_idx ON sitelatch.api_users (workspace_id, created_at, id);
-- For prefix searches in the user list. text_pattern_ops makes them independent of the database's collation.
CREATE INDEX api_users_name_idx ON sitelatch.api_users (lower(name) text_pattern_ops);
CREATE INDEX api_users_by_name_idx ON sitelatch.api_users (lower(authorized_by_name) text_pattern_ops);
CREATE INDEX api_users_by_email_idx ON sitelatch.api_users (lower(authorized_by_email) text_pattern_ops);

-- A separate table, so that a user can have two keys while one replaces the other.
CREATE TABLE sitelatch.api_keys (
    digest bytea PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES sitelatch.api_users (id) ON DELETE CASCADE,
    hint text NOT NULL,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_keys_digest_length CHECK (octet_length(digest) = 32)
);
CREATE INDEX api_keys_user_idx ON sitelatch.api_keys (user_id);
-- For prefix searches in the user list.
CREATE INDEX api_keys_hint_idx ON sitelatch.api_keys (hint text_pattern_ops);

-- Both foreign keys include the workspace, so a user and its sites always belong to the same one.
CREATE TABLE sitelatch.api_user_sites (
    user_id uuid NOT NULL,
    site_id text NOT NULL,
    workspace_id bigint NOT NULL,
    PRIMARY KEY (user_id, site_id),
    CONSTRAINT api_user_sites_user_workspace_fkey FOREIGN KEY (user_id, workspace_id)
        REFERENCES sitelatch.api_users (id, workspace_id) ON DELETE CASCADE,
    CONSTRAINT api_user_sites_site_workspace_fkey FOREIGN KEY (site_id, workspace_id)
        REFERENCES sitelatch.sites (id, workspace_id) ON DELETE CASCADE
);
CREATE INDEX api_user_sites_site_idx ON sitelatch.api_user_sites (site_id, workspace_id);

-- An INSERT may omit the workspace: it defaults to the user's workspace.
CREATE FUNCTION sitelatch.fill_workspace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT workspace_id INTO NEW.workspace_id FROM sitelatch.api_users WHERE id = NEW.user_id;
    RETURN NEW;
END
$$;
CREATE TRIGGER fill_workspace BEFORE INSERT ON sitelatch.api_user_sites
    FOR EACH ROW WHEN (NEW.workspace_id IS NULL) EXECUTE FUNCTION sitelatch.fill_workspace();

-- Sites and users cannot move to another workspace: their data or their keys would become available to people who were
-- never given access to them.
CREATE FUNCTION sitelatch.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the id and the workspace of a row in % cannot be changed', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_TABLE_NAME || '_workspace_for_good';
END
$$;
CREATE TRIGGER refuse_change BEFORE UPDATE ON sitelatch.sites FOR EACH ROW
    WHEN ((OLD.id, OLD.folded, OLD.workspace_id) IS DISTINCT FROM (NEW.id, NEW.folded, NEW.workspace_id))
    EXECUTE FUNCTION sitelatch.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE ON sitelatch.api_users FOR EACH ROW
    WHEN ((OLD.id, OLD.workspace_id) IS DISTINCT FROM (NEW.id, NEW.workspace_id))
    EXECUTE FUNCTION sitelatch.refuse_change();
