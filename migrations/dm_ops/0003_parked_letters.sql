-- Dead letters that nobody wants to see for now, whole. They can be put back.
CREATE TABLE parked_letters (
    -- Which letter it is: parked again, it is the same.
    fingerprint text PRIMARY KEY,
    queue       text NOT NULL,
    event_id    text,
    event_type  text,
    reason      text NOT NULL,
    -- Why it was parked, in somebody's words.
    note        text NOT NULL,
    parked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- As it stands in an export.
    letter      jsonb NOT NULL
);
