-- The ids of published events whose rows were removed from the outbox by age. An event may
-- wait in a queue for longer than its outbox keeps it. Without this table, it could not be
-- distinguished from an event that was never written. The rows are never removed.
CREATE TABLE forgotten_events (
    event_id text PRIMARY KEY
);
