-- Schema notifications, as `dm schema snapshot` wrote it. psql takes it, after the roles are there.

--: SCHEMA: notifications
CREATE SCHEMA notifications;

ALTER SCHEMA notifications OWNER TO notifications_owner;

--: ACL: SCHEMA notifications
GRANT USAGE ON SCHEMA notifications TO wuphf_service;

--: TABLE: event_migrations
CREATE TABLE notifications.event_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE notifications.event_migrations OWNER TO notifications_owner;

--: ACL: TABLE event_migrations
GRANT SELECT ON TABLE notifications.event_migrations TO wuphf_service;

--: TABLE: failed_events
CREATE TABLE notifications.failed_events (
    letter_id text NOT NULL,
    queue text NOT NULL,
    event_id text,
    round bigint NOT NULL,
    attempts integer NOT NULL,
    dead boolean NOT NULL,
    event_type text,
    reason text NOT NULL,
    error text NOT NULL,
    trace_id text NOT NULL,
    failed_at timestamp with time zone NOT NULL,
    content text,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    published_at timestamp with time zone,
    settled_at timestamp with time zone,
    resolved_at timestamp with time zone,
    resolution text,
    CONSTRAINT failed_events_check CHECK (((resolved_at IS NULL) = (resolution IS NULL))),
    CONSTRAINT failed_events_resolution_check CHECK ((resolution = ANY (ARRAY['replayed'::text, 'parked'::text, 'purged'::text, 'gone'::text])))
);

ALTER TABLE notifications.failed_events OWNER TO notifications_owner;

--: ACL: TABLE failed_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE notifications.failed_events TO wuphf_service;

--: TABLE: forgotten_events
CREATE TABLE notifications.forgotten_events (
    event_id text NOT NULL
);

ALTER TABLE notifications.forgotten_events OWNER TO notifications_owner;

--: ACL: TABLE forgotten_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE notifications.forgotten_events TO wuphf_service;

--: TABLE: inbox_events
CREATE TABLE notifications.inbox_events (
    queue text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    processed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE notifications.inbox_events OWNER TO notifications_owner;

--: ACL: TABLE inbox_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE notifications.inbox_events TO wuphf_service;

--: SEQUENCE: notification_number_seq
CREATE SEQUENCE notifications.notification_number_seq
    START WITH 1000
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE notifications.notification_number_seq OWNER TO notifications_owner;

--: ACL: SEQUENCE notification_number_seq
GRANT SELECT,USAGE ON SEQUENCE notifications.notification_number_seq TO wuphf_service;

--: TABLE: notifications
CREATE TABLE notifications.notifications (
    notification_id text DEFAULT ('ntf_'::text || nextval('notifications.notification_number_seq'::regclass)) NOT NULL,
    user_id text NOT NULL,
    kind text NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    deep_link text NOT NULL,
    is_read boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone NOT NULL,
    read_at timestamp with time zone,
    source_event_id text,
    CONSTRAINT notifications_check CHECK ((is_read = (read_at IS NOT NULL)))
);

ALTER TABLE notifications.notifications OWNER TO notifications_owner;

--: ACL: TABLE notifications
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE notifications.notifications TO wuphf_service;

--: TABLE: outbox_events
CREATE TABLE notifications.outbox_events (
    sequence bigint NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    routing_key text NOT NULL,
    subject text NOT NULL,
    traceparent text,
    payload json NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    not_before timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    last_error text,
    published_at timestamp with time zone
);

ALTER TABLE notifications.outbox_events OWNER TO notifications_owner;

--: ACL: TABLE outbox_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE notifications.outbox_events TO wuphf_service;

--: SEQUENCE: outbox_events_sequence_seq
ALTER TABLE notifications.outbox_events ALTER COLUMN sequence ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME notifications.outbox_events_sequence_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER SEQUENCE notifications.outbox_events_sequence_seq OWNER TO notifications_owner;

--: ACL: SEQUENCE outbox_events_sequence_seq
GRANT SELECT,USAGE ON SEQUENCE notifications.outbox_events_sequence_seq TO wuphf_service;

--: TABLE: schema_migrations
CREATE TABLE notifications.schema_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE notifications.schema_migrations OWNER TO notifications_owner;

--: ACL: TABLE schema_migrations
GRANT SELECT ON TABLE notifications.schema_migrations TO wuphf_service;

--: CONSTRAINT: event_migrations event_migrations_pkey
ALTER TABLE ONLY notifications.event_migrations
    ADD CONSTRAINT event_migrations_pkey PRIMARY KEY (version);

--: CONSTRAINT: failed_events failed_events_pkey
ALTER TABLE ONLY notifications.failed_events
    ADD CONSTRAINT failed_events_pkey PRIMARY KEY (letter_id);

--: CONSTRAINT: forgotten_events forgotten_events_pkey
ALTER TABLE ONLY notifications.forgotten_events
    ADD CONSTRAINT forgotten_events_pkey PRIMARY KEY (event_id);

--: CONSTRAINT: inbox_events inbox_events_pkey
ALTER TABLE ONLY notifications.inbox_events
    ADD CONSTRAINT inbox_events_pkey PRIMARY KEY (queue, event_id);

--: CONSTRAINT: notifications notifications_pkey
ALTER TABLE ONLY notifications.notifications
    ADD CONSTRAINT notifications_pkey PRIMARY KEY (notification_id);

--: CONSTRAINT: outbox_events outbox_events_event_id_key
ALTER TABLE ONLY notifications.outbox_events
    ADD CONSTRAINT outbox_events_event_id_key UNIQUE (event_id);

--: CONSTRAINT: outbox_events outbox_events_pkey
ALTER TABLE ONLY notifications.outbox_events
    ADD CONSTRAINT outbox_events_pkey PRIMARY KEY (sequence);

--: CONSTRAINT: schema_migrations schema_migrations_pkey
ALTER TABLE ONLY notifications.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

--: INDEX: failed_events_dead
CREATE INDEX failed_events_dead ON notifications.failed_events USING btree (queue) WHERE (dead AND (resolved_at IS NULL));

--: INDEX: failed_events_event
CREATE INDEX failed_events_event ON notifications.failed_events USING btree (event_id);

--: INDEX: failed_events_open
CREATE INDEX failed_events_open ON notifications.failed_events USING btree (content) WHERE ((settled_at IS NULL) AND (content IS NOT NULL));

--: INDEX: failed_events_resolved
CREATE INDEX failed_events_resolved ON notifications.failed_events USING btree (resolved_at);

--: INDEX: inbox_events_processed
CREATE INDEX inbox_events_processed ON notifications.inbox_events USING btree (processed_at);

--: INDEX: notifications_created
CREATE INDEX notifications_created ON notifications.notifications USING btree (created_at);

--: INDEX: notifications_user_created
CREATE INDEX notifications_user_created ON notifications.notifications USING btree (user_id, created_at DESC, notification_id DESC);

--: INDEX: notifications_user_event
CREATE UNIQUE INDEX notifications_user_event ON notifications.notifications USING btree (user_id, source_event_id) WHERE (source_event_id IS NOT NULL);

--: INDEX: notifications_user_unread
CREATE INDEX notifications_user_unread ON notifications.notifications USING btree (user_id, is_read, created_at DESC, notification_id DESC);

--: INDEX: outbox_events_pending
CREATE INDEX outbox_events_pending ON notifications.outbox_events USING btree (sequence) WHERE (published_at IS NULL);

--: INDEX: outbox_events_published
CREATE INDEX outbox_events_published ON notifications.outbox_events USING brin (published_at);

--: INDEX: outbox_events_subject
CREATE INDEX outbox_events_subject ON notifications.outbox_events USING btree (subject);

--: DEFAULT ACL: DEFAULT PRIVILEGES FOR SEQUENCES OF notifications_owner
ALTER DEFAULT PRIVILEGES FOR ROLE notifications_owner IN SCHEMA notifications GRANT SELECT,USAGE ON SEQUENCES TO wuphf_service;

--: DEFAULT ACL: DEFAULT PRIVILEGES FOR TABLES OF notifications_owner
ALTER DEFAULT PRIVILEGES FOR ROLE notifications_owner IN SCHEMA notifications GRANT SELECT,INSERT,DELETE,UPDATE ON TABLES TO wuphf_service;
