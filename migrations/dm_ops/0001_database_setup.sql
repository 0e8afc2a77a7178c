-- What `dm` last made of this database: a run whose digest is the same has
-- nothing to do.
CREATE TABLE database_setup (
    only_row   boolean PRIMARY KEY CHECK (only_row),
    digest     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
