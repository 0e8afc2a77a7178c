-- Schema profile, as `dm schema snapshot` wrote it. psql takes it, after the roles are there.

--: SCHEMA: profile
CREATE SCHEMA profile;

ALTER SCHEMA profile OWNER TO profile_owner;

--: ACL: SCHEMA profile
GRANT USAGE ON SCHEMA profile TO profile_service;

--: TABLE: app_settings
CREATE TABLE profile.app_settings (
    user_id text NOT NULL,
    app text NOT NULL,
    version bigint NOT NULL,
    settings json NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT app_settings_app_check CHECK ((app = ANY (ARRAY['PORTAL'::text, 'INFINITY'::text, 'WAREHOUSE_MOBILE'::text, 'ACCOUNTING'::text]))),
    CONSTRAINT app_settings_settings_check CHECK ((json_typeof(settings) = 'object'::text)),
    CONSTRAINT app_settings_version_check CHECK ((version > 0))
);

ALTER TABLE profile.app_settings OWNER TO profile_owner;

--: ACL: TABLE app_settings
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE profile.app_settings TO profile_service;

--: TABLE: avatars
CREATE TABLE profile.avatars (
    user_id text NOT NULL,
    png bytea NOT NULL,
    etag text GENERATED ALWAYS AS (encode(sha256(png), 'hex'::text)) STORED NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT avatars_png_check CHECK (((octet_length(png) >= 1) AND (octet_length(png) <= 1048576)))
);

ALTER TABLE profile.avatars OWNER TO profile_owner;

--: ACL: TABLE avatars
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE profile.avatars TO profile_service;

--: TABLE: event_migrations
CREATE TABLE profile.event_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE profile.event_migrations OWNER TO profile_owner;

--: ACL: TABLE event_migrations
GRANT SELECT ON TABLE profile.event_migrations TO profile_service;

--: TABLE: failed_events
CREATE TABLE profile.failed_events (
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

ALTER TABLE profile.failed_events OWNER TO profile_owner;

--: ACL: TABLE failed_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE profile.failed_events TO profile_service;

--: TABLE: forgotten_events
CREATE TABLE profile.forgotten_events (
    event_id text NOT NULL
);

ALTER TABLE profile.forgotten_events OWNER TO profile_owner;

--: ACL: TABLE forgotten_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE profile.forgotten_events TO profile_service;

--: TABLE: inbox_events
CREATE TABLE profile.inbox_events (
    queue text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    processed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE profile.inbox_events OWNER TO profile_owner;

--: ACL: TABLE inbox_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE profile.inbox_events TO profile_service;

--: TABLE: outbox_events
CREATE TABLE profile.outbox_events (
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

ALTER TABLE profile.outbox_events OWNER TO profile_owner;

--: ACL: TABLE outbox_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE profile.outbox_events TO profile_service;

--: SEQUENCE: outbox_events_sequence_seq
ALTER TABLE profile.outbox_events ALTER COLUMN sequence ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME profile.outbox_events_sequence_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER SEQUENCE profile.outbox_events_sequence_seq OWNER TO profile_owner;

--: ACL: SEQUENCE outbox_events_sequence_seq
GRANT SELECT,USAGE ON SEQUENCE profile.outbox_events_sequence_seq TO profile_service;

--: TABLE: schema_migrations
CREATE TABLE profile.schema_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE profile.schema_migrations OWNER TO profile_owner;

--: ACL: TABLE schema_migrations
GRANT SELECT ON TABLE profile.schema_migrations TO profile_service;

--: TABLE: user_profiles
CREATE TABLE profile.user_profiles (
    user_id text NOT NULL,
    full_name text NOT NULL,
    email text NOT NULL,
    title text DEFAULT ''::text NOT NULL,
    phone text DEFAULT ''::text NOT NULL,
    default_app text NOT NULL,
    notifications_enabled boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT user_profiles_default_app_check CHECK ((default_app = ANY (ARRAY['PORTAL'::text, 'INFINITY'::text, 'WAREHOUSE_MOBILE'::text, 'ACCOUNTING'::text])))
);

ALTER TABLE profile.user_profiles OWNER TO profile_owner;

--: ACL: TABLE user_profiles
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE profile.user_profiles TO profile_service;

--: CONSTRAINT: app_settings app_settings_pkey
ALTER TABLE ONLY profile.app_settings
    ADD CONSTRAINT app_settings_pkey PRIMARY KEY (user_id, app);

--: CONSTRAINT: avatars avatars_pkey
ALTER TABLE ONLY profile.avatars
    ADD CONSTRAINT avatars_pkey PRIMARY KEY (user_id);

--: CONSTRAINT: event_migrations event_migrations_pkey
ALTER TABLE ONLY profile.event_migrations
    ADD CONSTRAINT event_migrations_pkey PRIMARY KEY (version);

--: CONSTRAINT: failed_events failed_events_pkey
ALTER TABLE ONLY profile.failed_events
    ADD CONSTRAINT failed_events_pkey PRIMARY KEY (letter_id);

--: CONSTRAINT: forgotten_events forgotten_events_pkey
ALTER TABLE ONLY profile.forgotten_events
    ADD CONSTRAINT forgotten_events_pkey PRIMARY KEY (event_id);

--: CONSTRAINT: inbox_events inbox_events_pkey
ALTER TABLE ONLY profile.inbox_events
    ADD CONSTRAINT inbox_events_pkey PRIMARY KEY (queue, event_id);

--: CONSTRAINT: outbox_events outbox_events_event_id_key
ALTER TABLE ONLY profile.outbox_events
    ADD CONSTRAINT outbox_events_event_id_key UNIQUE (event_id);

--: CONSTRAINT: outbox_events outbox_events_pkey
ALTER TABLE ONLY profile.outbox_events
    ADD CONSTRAINT outbox_events_pkey PRIMARY KEY (sequence);

--: CONSTRAINT: schema_migrations schema_migrations_pkey
ALTER TABLE ONLY profile.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

--: CONSTRAINT: user_profiles user_profiles_pkey
ALTER TABLE ONLY profile.user_profiles
    ADD CONSTRAINT user_profiles_pkey PRIMARY KEY (user_id);

--: INDEX: failed_events_dead
CREATE INDEX failed_events_dead ON profile.failed_events USING btree (queue) WHERE (dead AND (resolved_at IS NULL));

--: INDEX: failed_events_event
CREATE INDEX failed_events_event ON profile.failed_events USING btree (event_id);

--: INDEX: failed_events_open
CREATE INDEX failed_events_open ON profile.failed_events USING btree (content) WHERE ((settled_at IS NULL) AND (content IS NOT NULL));

--: INDEX: failed_events_resolved
CREATE INDEX failed_events_resolved ON profile.failed_events USING btree (resolved_at);

--: INDEX: inbox_events_processed
CREATE INDEX inbox_events_processed ON profile.inbox_events USING btree (processed_at);

--: INDEX: outbox_events_pending
CREATE INDEX outbox_events_pending ON profile.outbox_events USING btree (sequence) WHERE (published_at IS NULL);

--: INDEX: outbox_events_published
CREATE INDEX outbox_events_published ON profile.outbox_events USING brin (published_at);

--: INDEX: outbox_events_subject
CREATE INDEX outbox_events_subject ON profile.outbox_events USING btree (subject);

--: INDEX: user_profiles_updated
CREATE INDEX user_profiles_updated ON profile.user_profiles USING btree (updated_at DESC);

--: DEFAULT ACL: DEFAULT PRIVILEGES FOR SEQUENCES OF profile_owner
ALTER DEFAULT PRIVILEGES FOR ROLE profile_owner IN SCHEMA profile GRANT SELECT,USAGE ON SEQUENCES TO profile_service;

--: DEFAULT ACL: DEFAULT PRIVILEGES FOR TABLES OF profile_owner
ALTER DEFAULT PRIVILEGES FOR ROLE profile_owner IN SCHEMA profile GRANT SELECT,INSERT,DELETE,UPDATE ON TABLES TO profile_service;
