CREATE SEQUENCE notification_number_seq START 1000;

CREATE TABLE notifications (
    notification_id text PRIMARY KEY DEFAULT 'ntf_' || nextval('notification_number_seq'),
    user_id         text NOT NULL,
    kind            text NOT NULL,
    title           text NOT NULL,
    body            text NOT NULL,
    deep_link       text NOT NULL,
    is_read         boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL,
    read_at         timestamptz,
    -- The event it tells of.
    source_event_id text,
    CHECK (is_read = (read_at IS NOT NULL))
);

-- The newest of a user, and the newest unread.
CREATE INDEX notifications_user_created
    ON notifications (user_id, created_at DESC, notification_id DESC);
CREATE INDEX notifications_user_unread
    ON notifications (user_id, is_read, created_at DESC, notification_id DESC);
-- One event tells a user once, also where the inbox has forgotten it.
CREATE UNIQUE INDEX notifications_user_event
    ON notifications (user_id, source_event_id) WHERE source_event_id IS NOT NULL;
-- For retention.
CREATE INDEX notifications_created ON notifications (created_at);
