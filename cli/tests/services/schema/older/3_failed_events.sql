-- What could not be handled, in this round: events that are tried again later, and dead
-- letters. Each is recorded before it is published to where failures go.
CREATE TABLE failed_events (
    -- Of the queue, the event's id, its round and its body: every copy has the same.
    letter_id    text PRIMARY KEY,
    queue        text NOT NULL,
    -- Null where the message has none.
    event_id     text,
    -- How often it was replayed before.
    round        bigint NOT NULL,
    -- How often it failed in this round.
    attempts     integer NOT NULL,
    -- Whether it is a dead letter; otherwise it is tried again.
    dead         boolean NOT NULL,
    event_type   text,
    reason       text NOT NULL,
    error        text NOT NULL,
    trace_id     text NOT NULL,
    failed_at    timestamptz NOT NULL,
    -- Over the whole message where it has no id at all: what it is known by when it is
    -- delivered again.
    content      text,
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When the broker confirmed it; null while it may be nowhere.
    published_at timestamptz,
    -- When its delivery was acknowledged, where it has no id at all.
    settled_at   timestamptz,
    -- When it was no longer a dead letter, and by what.
    resolved_at  timestamptz,
    resolution   text CHECK (resolution IN ('replayed', 'parked', 'purged', 'gone')),
    CHECK ((resolved_at IS NULL) = (resolution IS NULL))
);

-- Those that are dead letters now.
CREATE INDEX failed_events_dead ON failed_events (queue) WHERE dead AND resolved_at IS NULL;
CREATE INDEX failed_events_event ON failed_events (event_id);
CREATE INDEX failed_events_open ON failed_events (content) WHERE settled_at IS NULL AND content IS NOT NULL;
CREATE INDEX failed_events_resolved ON failed_events (resolved_at);
