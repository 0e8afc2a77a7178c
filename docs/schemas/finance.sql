-- Schema finance, as `dm schema snapshot` wrote it. psql takes it, after the roles are there.

--: SCHEMA: finance
CREATE SCHEMA finance;

ALTER SCHEMA finance OWNER TO finance_owner;

--: ACL: SCHEMA finance
GRANT USAGE ON SCHEMA finance TO finance_service;

--: TABLE: event_migrations
CREATE TABLE finance.event_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE finance.event_migrations OWNER TO finance_owner;

--: ACL: TABLE event_migrations
GRANT SELECT ON TABLE finance.event_migrations TO finance_service;

--: SEQUENCE: expense_number_seq
CREATE SEQUENCE finance.expense_number_seq
    START WITH 6001
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE finance.expense_number_seq OWNER TO finance_owner;

--: ACL: SEQUENCE expense_number_seq
GRANT SELECT,USAGE ON SEQUENCE finance.expense_number_seq TO finance_service;

--: TABLE: expenses
CREATE TABLE finance.expenses (
    expense_id text DEFAULT ('exp_'::text || nextval('finance.expense_number_seq'::regclass)) NOT NULL,
    submitter_user_id text NOT NULL,
    category text NOT NULL,
    amount numeric(12,2) NOT NULL,
    currency text NOT NULL,
    description text NOT NULL,
    receipt_url text,
    status text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    decided_by text,
    decided_at timestamp with time zone,
    decision_comment text,
    CONSTRAINT expenses_amount_check CHECK ((amount > (0)::numeric)),
    CONSTRAINT expenses_check CHECK (((status = 'PENDING'::text) = (decided_by IS NULL))),
    CONSTRAINT expenses_check1 CHECK (((decided_by IS NULL) = (decided_at IS NULL))),
    CONSTRAINT expenses_check2 CHECK (((decided_by IS NULL) = (decision_comment IS NULL))),
    CONSTRAINT expenses_status_check CHECK ((status = ANY (ARRAY['PENDING'::text, 'APPROVED'::text, 'REJECTED'::text])))
);

ALTER TABLE finance.expenses OWNER TO finance_owner;

--: ACL: TABLE expenses
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE finance.expenses TO finance_service;

--: TABLE: failed_events
CREATE TABLE finance.failed_events (
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

ALTER TABLE finance.failed_events OWNER TO finance_owner;

--: ACL: TABLE failed_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE finance.failed_events TO finance_service;

--: TABLE: forgotten_events
CREATE TABLE finance.forgotten_events (
    event_id text NOT NULL
);

ALTER TABLE finance.forgotten_events OWNER TO finance_owner;

--: ACL: TABLE forgotten_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE finance.forgotten_events TO finance_service;

--: TABLE: inbox_events
CREATE TABLE finance.inbox_events (
    queue text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    processed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE finance.inbox_events OWNER TO finance_owner;

--: ACL: TABLE inbox_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE finance.inbox_events TO finance_service;

--: TABLE: outbox_events
CREATE TABLE finance.outbox_events (
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

ALTER TABLE finance.outbox_events OWNER TO finance_owner;

--: ACL: TABLE outbox_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE finance.outbox_events TO finance_service;

--: SEQUENCE: outbox_events_sequence_seq
ALTER TABLE finance.outbox_events ALTER COLUMN sequence ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME finance.outbox_events_sequence_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER SEQUENCE finance.outbox_events_sequence_seq OWNER TO finance_owner;

--: ACL: SEQUENCE outbox_events_sequence_seq
GRANT SELECT,USAGE ON SEQUENCE finance.outbox_events_sequence_seq TO finance_service;

--: TABLE: schema_migrations
CREATE TABLE finance.schema_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE finance.schema_migrations OWNER TO finance_owner;

--: ACL: TABLE schema_migrations
GRANT SELECT ON TABLE finance.schema_migrations TO finance_service;

--: CONSTRAINT: event_migrations event_migrations_pkey
ALTER TABLE ONLY finance.event_migrations
    ADD CONSTRAINT event_migrations_pkey PRIMARY KEY (version);

--: CONSTRAINT: expenses expenses_pkey
ALTER TABLE ONLY finance.expenses
    ADD CONSTRAINT expenses_pkey PRIMARY KEY (expense_id);

--: CONSTRAINT: failed_events failed_events_pkey
ALTER TABLE ONLY finance.failed_events
    ADD CONSTRAINT failed_events_pkey PRIMARY KEY (letter_id);

--: CONSTRAINT: forgotten_events forgotten_events_pkey
ALTER TABLE ONLY finance.forgotten_events
    ADD CONSTRAINT forgotten_events_pkey PRIMARY KEY (event_id);

--: CONSTRAINT: inbox_events inbox_events_pkey
ALTER TABLE ONLY finance.inbox_events
    ADD CONSTRAINT inbox_events_pkey PRIMARY KEY (queue, event_id);

--: CONSTRAINT: outbox_events outbox_events_event_id_key
ALTER TABLE ONLY finance.outbox_events
    ADD CONSTRAINT outbox_events_event_id_key UNIQUE (event_id);

--: CONSTRAINT: outbox_events outbox_events_pkey
ALTER TABLE ONLY finance.outbox_events
    ADD CONSTRAINT outbox_events_pkey PRIMARY KEY (sequence);

--: CONSTRAINT: schema_migrations schema_migrations_pkey
ALTER TABLE ONLY finance.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

--: INDEX: expenses_created
CREATE INDEX expenses_created ON finance.expenses USING btree (created_at DESC, expense_id DESC);

--: INDEX: expenses_status_created
CREATE INDEX expenses_status_created ON finance.expenses USING btree (status, created_at DESC, expense_id DESC);

--: INDEX: failed_events_dead
CREATE INDEX failed_events_dead ON finance.failed_events USING btree (queue) WHERE (dead AND (resolved_at IS NULL));

--: INDEX: failed_events_event
CREATE INDEX failed_events_event ON finance.failed_events USING btree (event_id);

--: INDEX: failed_events_open
CREATE INDEX failed_events_open ON finance.failed_events USING btree (content) WHERE ((settled_at IS NULL) AND (content IS NOT NULL));

--: INDEX: failed_events_resolved
CREATE INDEX failed_events_resolved ON finance.failed_events USING btree (resolved_at);

--: INDEX: inbox_events_processed
CREATE INDEX inbox_events_processed ON finance.inbox_events USING btree (processed_at);

--: INDEX: outbox_events_pending
CREATE INDEX outbox_events_pending ON finance.outbox_events USING btree (sequence) WHERE (published_at IS NULL);

--: INDEX: outbox_events_published
CREATE INDEX outbox_events_published ON finance.outbox_events USING brin (published_at);

--: INDEX: outbox_events_subject
CREATE INDEX outbox_events_subject ON finance.outbox_events USING btree (subject);

--: DEFAULT ACL: DEFAULT PRIVILEGES FOR SEQUENCES OF finance_owner
ALTER DEFAULT PRIVILEGES FOR ROLE finance_owner IN SCHEMA finance GRANT SELECT,USAGE ON SEQUENCES TO finance_service;

--: DEFAULT ACL: DEFAULT PRIVILEGES FOR TABLES OF finance_owner
ALTER DEFAULT PRIVILEGES FOR ROLE finance_owner IN SCHEMA finance GRANT SELECT,INSERT,DELETE,UPDATE ON TABLES TO finance_service;
