-- Site ids that data services may take for equal (admin/collation.py): the second of two is refused.
ALTER TABLE sitelatch.sites
    -- What such ids have in common. Null where something else than the admin wrote the site: it is filled in later.
    ADD COLUMN collated text,
    -- Not 0: the site existed already, beside another with the same `collated`, when that was filled in.
    ADD COLUMN collated_twin integer NOT NULL DEFAULT 0;

-- Partial, so that PostgreSQL does not treat the columns as a key: filling them in then blocks no foreign key check.
CREATE UNIQUE INDEX sites_collated_key ON sitelatch.sites (collated, collated_twin) WHERE collated IS NOT NULL;
CREATE INDEX sites_not_collated_idx ON sitelatch.sites (created_at, id) WHERE collated IS NULL;
