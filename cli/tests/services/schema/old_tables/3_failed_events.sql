-- Events that could not be processed in this round: events that wait for a retry, and dead
-- letters. Each is recorded before it is published to a retry or dead-letter queue.
CREATE TABLE failed_events (
    -- A digest of the queue, the event id, the round and the body. It is equal for every copy.
    letter_id    text PRIMARY KEY,
    queue        text NOT NULL,
    -- Null if the message has no id.
    event_id     text,
    -- The number of earlier replays.
    round        bigint NOT NULL,
    -- The number of failures in this round.
    attempts     integer NOT NULL,
    -- Whether it is a dead letter. Otherwise it waits for a retry.
    dead         boolean NOT NULL,
    event_type   text,
    reason       text NOT NULL,
    error        text NOT NULL,
    trace_id     text NOT NULL,
    failed_at    timestamptz NOT NULL,
    -- A digest of the whole message if it has no id. It identifies the message when it is
    -- delivered again.
    content      text,
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When the broker confirmed it. Null while it may not have been published.
    published_at timestamptz,
    -- When its delivery was acknowledged, if the message has no id.
    settled_at   timestamptz,
    -- When it stopped being a dead letter, and why.
    resolved_at  timestamptz,
    resolution   text CHECK (resolution IN ('replayed', 'parked', 'purged', 'gone')),
    CHECK ((resolved_at IS NULL) = (resolution IS NULL))
);

-- The current dead letters.
CREATE INDEX failed_events_dead ON failed_events (queue) WHERE dead AND resolved_at IS NULL;
CREATE INDEX failed_events_event ON failed_events (event_id);
CREATE INDEX failed_events_open ON failed_events (content) WHERE settled_at IS NULL AND content IS NOT NULL;
CREATE INDEX failed_events_resolved ON failed_events (resolved_at);
