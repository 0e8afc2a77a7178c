-- Restores of this database. One that is not finished has brought the database back, and
-- not yet the rest of the stack: `dm up` waits until it is carried on with.
CREATE TABLE restores (
    restore_id  text PRIMARY KEY,
    -- The set that it is from.
    backup_id   text NOT NULL,
    restored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);
