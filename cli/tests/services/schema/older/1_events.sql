-- What this service tells the others, written with the change that it tells of.
CREATE TABLE outbox_events (
    -- The order within an aggregate. Across aggregates numbers commit in any order.
    sequence     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     text NOT NULL UNIQUE,
    event_type   text NOT NULL,
    routing_key  text NOT NULL,
    -- The aggregate, e.g. order/ord_9001.
    subject      text NOT NULL,
    traceparent  text,
    -- The whole envelope.
    payload      jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Kept back until then: on purpose, or after the broker refused it.
    not_before   timestamptz,
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text,
    published_at timestamptz
);

-- Small whatever the table's size: what is published is not in it.
CREATE INDEX outbox_events_pending ON outbox_events (sequence) WHERE published_at IS NULL;
-- For retention. Rows are published about in the order in which they lie, so that a
-- range of blocks says enough; an entry for each would cost more than the rest of it.
CREATE INDEX outbox_events_published ON outbox_events USING brin (published_at);
-- For looking back.
CREATE INDEX outbox_events_subject ON outbox_events (subject);

-- What this service has handled, written with the effect.
CREATE TABLE inbox_events (
    queue        text NOT NULL,
    event_id     text NOT NULL,
    event_type   text NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (queue, event_id)
);

CREATE INDEX inbox_events_processed ON inbox_events (processed_at);
