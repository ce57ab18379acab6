-- Everything of the first version. Plain SQL that PostgreSQL 13 to 18 has, every name with its schema:
-- the tables may live inside a database that belongs to something else.

-- Whoever migrates may own a ready-made schema without the right to create one.
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

-- The scope: who may reach what.

CREATE TABLE sitelatch.workspaces (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT workspaces_name_key UNIQUE (name),
    -- The name is sent on as a header's value.
    CONSTRAINT workspaces_name_characters CHECK (name ~ '^[!-~]([ -~]*[!-~])?$' AND char_length(name) <= 255)
);

CREATE TABLE sitelatch.sites (
    id text PRIMARY KEY,
    -- The id after NFKC, case folding and trimming: backends fold, so two sites must not fold into one.
    folded text NOT NULL,
    workspace_id bigint NOT NULL REFERENCES sitelatch.workspaces (id),
    display_name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sites_folded_key UNIQUE (folded),
    -- For the foreign key that proves a user's sites are of the user's workspace.
    CONSTRAINT sites_id_workspace_key UNIQUE (id, workspace_id),
    -- None of / \ ; , % ? #, no controls, no outer spaces; nor after folding (a full-width solidus folds into one).
    CONSTRAINT sites_id_characters CHECK (
        id ~ '^[^/\\;,%?#\u0001-\u001f\u007f-\u009f]{1,255}$' AND id !~ '^\s' AND id !~ '\s$'
    ),
    CONSTRAINT sites_folded_characters CHECK (
        folded ~ '^[^/\\;,%?#A-Z\u0001-\u001f\u007f-\u009f]+$' AND folded !~ '^\s' AND folded !~ '\s$'
    )
);
CREATE INDEX sites_workspace_idx ON sitelatch.sites (workspace_id, id);

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
-- The list of users: newest first, in pages, of all workspaces or one.
CREATE INDEX api_users_created_idx ON sitelatch.api_users (created_at, id);
CREATE INDEX api_users_workspace_idx ON sitelatch.api_users (workspace_id, created_at, id);
-- The list's prefix search, whatever the database's collation.
CREATE INDEX api_users_name_idx ON sitelatch.api_users (lower(name) text_pattern_ops);
CREATE INDEX api_users_by_name_idx ON sitelatch.api_users (lower(authorized_by_name) text_pattern_ops);
CREATE INDEX api_users_by_email_idx ON sitelatch.api_users (lower(authorized_by_email) text_pattern_ops);

-- A table of its own, so that a user can have two keys while one replaces the other.
CREATE TABLE sitelatch.api_keys (
    digest bytea PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES sitelatch.api_users (id) ON DELETE CASCADE,
    hint text NOT NULL,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_keys_digest_length CHECK (octet_length(digest) = 32)
);
CREATE INDEX api_keys_user_idx ON sitelatch.api_keys (user_id);

-- Both foreign keys hold the workspace: a user and its sites are always of the same one.
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

-- Whoever adds a row may leave the workspace out: it is the user's.
CREATE FUNCTION sitelatch.fill_workspace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT workspace_id INTO NEW.workspace_id FROM sitelatch.api_users WHERE id = NEW.user_id;
    RETURN NEW;
END
$$;
CREATE TRIGGER fill_workspace BEFORE INSERT ON sitelatch.api_user_sites
    FOR EACH ROW WHEN (NEW.workspace_id IS NULL) EXECUTE FUNCTION sitelatch.fill_workspace();

-- A site or a user that changed its workspace would take its data, or its keys, to people they were never given to.
CREATE FUNCTION sitelatch.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the identity and the workspace of a row in % are for good', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_TABLE_NAME || '_workspace_for_good';
END
$$;
CREATE TRIGGER refuse_change BEFORE UPDATE ON sitelatch.sites FOR EACH ROW
    WHEN ((OLD.id, OLD.folded, OLD.workspace_id) IS DISTINCT FROM (NEW.id, NEW.folded, NEW.workspace_id))
    EXECUTE FUNCTION sitelatch.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE ON sitelatch.api_users FOR EACH ROW
    WHEN ((OLD.id, OLD.workspace_id) IS DISTINCT FROM (NEW.id, NEW.workspace_id))
    EXECUTE FUNCTION sitelatch.refuse_change();

-- The last activity: narrow, with room in each page for a second version of each row, and no index on the time: its
-- updates stay HOT.
CREATE TABLE sitelatch.api_user_activity (
    user_id uuid PRIMARY KEY REFERENCES sitelatch.api_users (id) ON DELETE CASCADE,
    last_used_at timestamptz
) WITH (fillfactor = 40);

-- The row is there from the start, so that recording a use is an update alone: it takes no lock on the user, needs no
-- right to insert, and a deleted user is simply no row.
CREATE FUNCTION sitelatch.begin_activity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sitelatch.api_user_activity (user_id) VALUES (NEW.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER begin_activity AFTER INSERT ON sitelatch.api_users
    FOR EACH ROW EXECUTE FUNCTION sitelatch.begin_activity();

-- The feed of what changed in the scope: the doors follow it by its ascending number.
CREATE TABLE sitelatch.scope_changes (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what text NOT NULL,
    subject text,
    at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT scope_changes_what CHECK (what IN ('key', 'user', 'site', 'workspace', 'all'))
);

-- The admins: what they did, and who of them is signed in.

-- No foreign keys: a line outlives what it tells of.
CREATE TABLE sitelatch.audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor_name text NOT NULL,
    actor_email text NOT NULL,
    actor_address text NOT NULL,
    action text NOT NULL,
    workspace text,
    subject text,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_workspace_idx ON sitelatch.audit_log (workspace, id);

CREATE TABLE sitelatch.sessions (
    digest bytea PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    workspaces text[],
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT sessions_digest_length CHECK (octet_length(digest) = 32)
);
CREATE INDEX sessions_expires_idx ON sitelatch.sessions (expires_at);
