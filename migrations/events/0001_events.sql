-- Outbox and inbox, in the schema of every service.

-- A schema that is older than this folder has these tables from migrations of its own, and
-- the envelope as jsonb. The tables stay, and the record of those migrations goes.
DO $$
BEGIN
    IF to_regclass('outbox_events') IS NOT NULL THEN
        ALTER TABLE outbox_events ALTER COLUMN payload TYPE json USING payload::text::json;
        DELETE FROM schema_migrations
         WHERE description IN ('events', 'failed events', 'forgotten events');
    END IF;
END
$$;

-- What this service tells the others, written with the change that it tells of.
CREATE TABLE IF NOT EXISTS outbox_events (
    -- The order within an aggregate. Across aggregates numbers commit in any order.
    sequence     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     text NOT NULL UNIQUE,
    event_type   text NOT NULL,
    routing_key  text NOT NULL,
    -- The aggregate, e.g. order/ord_9001.
    subject      text NOT NULL,
    traceparent  text,
    -- The whole envelope, byte for byte as it is published. jsonb would sort its keys and
    -- write its numbers anew.
    payload      json NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Kept back until then: on purpose, or after the broker refused it.
    not_before   timestamptz,
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text,
    published_at timestamptz
);

-- Small whatever the table's size: what is published is not in it.
CREATE INDEX IF NOT EXISTS outbox_events_pending ON outbox_events (sequence)
 WHERE published_at IS NULL;
-- For retention. Rows are published about in the order in which they lie, so that a
-- range of blocks says enough; an entry for each would cost more than the rest of it.
CREATE INDEX IF NOT EXISTS outbox_events_published ON outbox_events USING brin (published_at);
-- For looking back.
CREATE INDEX IF NOT EXISTS outbox_events_subject ON outbox_events (subject);

-- The ids of published events whose rows were removed from the outbox by age. An event may
-- wait in a queue for longer than its outbox keeps it: without this it could not be told from
-- one that was never written. Its rows stay for good.
CREATE TABLE IF NOT EXISTS forgotten_events (
    event_id text PRIMARY KEY
);

-- What this service has handled, written with the effect.
CREATE TABLE IF NOT EXISTS inbox_events (
    queue        text NOT NULL,
    event_id     text NOT NULL,
    event_type   text NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (queue, event_id)
);

CREATE INDEX IF NOT EXISTS inbox_events_processed ON inbox_events (processed_at);

-- What could not be handled, in this round: events that are tried again later, and dead
-- letters. Each is recorded before it is published to where failures go.
CREATE TABLE IF NOT EXISTS failed_events (
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
CREATE INDEX IF NOT EXISTS failed_events_dead ON failed_events (queue)
 WHERE dead AND resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS failed_events_event ON failed_events (event_id);
CREATE INDEX IF NOT EXISTS failed_events_open ON failed_events (content)
 WHERE settled_at IS NULL AND content IS NOT NULL;
CREATE INDEX IF NOT EXISTS failed_events_resolved ON failed_events (resolved_at);
