-- What was replayed from the dead-letter queues, by `dm dlq replay`. A run's set is
-- frozen when it begins, so that it can be resumed whenever it was cut short.
CREATE TABLE replay_runs (
    run_id      text PRIMARY KEY,
    began_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Null while it is under way, and for good where it was cut short.
    ended_at    timestamptz,
    -- Over the fingerprints of its set.
    digest      text NOT NULL,
    -- Back to the exchange, and so to every queue, and not to the one that failed.
    to_exchange boolean NOT NULL,
    -- What was asked for.
    selection   jsonb NOT NULL
);

CREATE TABLE replay_messages (
    run_id      text NOT NULL REFERENCES replay_runs ON DELETE CASCADE,
    -- The place in the set.
    number      bigint NOT NULL,
    queue       text NOT NULL,
    fingerprint text NOT NULL,
    event_id    text,
    event_type  text,
    reason      text NOT NULL,
    -- Null until it was decided.
    outcome     text CHECK (outcome IN ('replayed', 'returned', 'missing')),
    decided_at  timestamptz,
    -- Where a person changed it first: the id and the body that it went with. A run that
    -- is resumed sends the same again.
    edited_as   text UNIQUE,
    edited_body text,
    CHECK ((edited_as IS NULL) = (edited_body IS NULL)),
    PRIMARY KEY (run_id, number)
);

CREATE INDEX replay_messages_event ON replay_messages (event_id);
