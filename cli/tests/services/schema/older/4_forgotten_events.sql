-- The ids of published events whose rows were removed from the outbox by age. An event may
-- wait in a queue for longer than its outbox keeps it: without this it could not be told from
-- one that was never written. Its rows stay for good.
CREATE TABLE forgotten_events (
    event_id text PRIMARY KEY
);
