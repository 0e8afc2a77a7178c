-- What `dm seed` has written straight into the tables, part by part. A run that was cut
-- short can be resumed: what is in `seed_parts` is there, whole.
CREATE TABLE seed_runs (
    run_id   text PRIMARY KEY,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Null while it is under way, and for good where it was cut short.
    ended_at timestamptz,
    -- What was asked for.
    request  jsonb NOT NULL,
    -- The first number of each kind that is its own.
    first    jsonb NOT NULL,
    parts    bigint NOT NULL
);

CREATE TABLE seed_parts (
    run_id text NOT NULL REFERENCES seed_runs ON DELETE CASCADE,
    part   bigint NOT NULL,
    rows   bigint NOT NULL,
    PRIMARY KEY (run_id, part)
);
