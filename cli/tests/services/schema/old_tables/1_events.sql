-- The events of this service, written in the transaction of the change that they report.
CREATE TABLE outbox_events (
    -- The order within an aggregate. Numbers of different aggregates commit in any order.
    sequence     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     text NOT NULL UNIQUE,
    event_type   text NOT NULL,
    routing_key  text NOT NULL,
    -- The aggregate, for example order/ord_9001.
    subject      text NOT NULL,
    traceparent  text,
    -- The complete envelope.
    payload      jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Held back until then: on purpose, or after the broker refused the event.
    not_before   timestamptz,
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text,
    published_at timestamptz
);

-- Small regardless of the size of the table, because it contains no published events.
CREATE INDEX outbox_events_pending ON outbox_events (sequence) WHERE published_at IS NULL;
-- For retention. Rows are published roughly in their physical order, so block ranges are
-- sufficient. An entry for each row would cost more than the rest of the index.
CREATE INDEX outbox_events_published ON outbox_events USING brin (published_at);
-- For finding the events of an aggregate.
CREATE INDEX outbox_events_subject ON outbox_events (subject);

-- The events that this service has processed, written in the transaction of the effect.
CREATE TABLE inbox_events (
    queue        text NOT NULL,
    event_id     text NOT NULL,
    event_type   text NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (queue, event_id)
);

CREATE INDEX inbox_events_processed ON inbox_events (processed_at);
