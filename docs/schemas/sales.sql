-- Schema sales, as `dm schema snapshot` wrote it. psql takes it, after the roles are there.

--: SCHEMA: sales
CREATE SCHEMA sales;

ALTER SCHEMA sales OWNER TO sales_owner;

--: ACL: SCHEMA sales
GRANT USAGE ON SCHEMA sales TO sales_service;

--: SEQUENCE: client_number_seq
CREATE SEQUENCE sales.client_number_seq
    START WITH 7001
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE sales.client_number_seq OWNER TO sales_owner;

--: ACL: SEQUENCE client_number_seq
GRANT SELECT,USAGE ON SEQUENCE sales.client_number_seq TO sales_service;

--: TABLE: clients
CREATE TABLE sales.clients (
    client_id text DEFAULT ('client_'::text || nextval('sales.client_number_seq'::regclass)) NOT NULL,
    source_lead_id text NOT NULL,
    company_name text NOT NULL,
    contact_name text NOT NULL,
    contact_email text NOT NULL,
    phone text NOT NULL,
    created_by text NOT NULL,
    created_at timestamp with time zone NOT NULL
);

ALTER TABLE sales.clients OWNER TO sales_owner;

--: ACL: TABLE clients
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE sales.clients TO sales_service;

--: TABLE: event_migrations
CREATE TABLE sales.event_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE sales.event_migrations OWNER TO sales_owner;

--: ACL: TABLE event_migrations
GRANT SELECT ON TABLE sales.event_migrations TO sales_service;

--: TABLE: failed_events
CREATE TABLE sales.failed_events (
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

ALTER TABLE sales.failed_events OWNER TO sales_owner;

--: ACL: TABLE failed_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE sales.failed_events TO sales_service;

--: TABLE: forgotten_events
CREATE TABLE sales.forgotten_events (
    event_id text NOT NULL
);

ALTER TABLE sales.forgotten_events OWNER TO sales_owner;

--: ACL: TABLE forgotten_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE sales.forgotten_events TO sales_service;

--: TABLE: inbox_events
CREATE TABLE sales.inbox_events (
    queue text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    processed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE sales.inbox_events OWNER TO sales_owner;

--: ACL: TABLE inbox_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE sales.inbox_events TO sales_service;

--: SEQUENCE: lead_number_seq
CREATE SEQUENCE sales.lead_number_seq
    START WITH 4001
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE sales.lead_number_seq OWNER TO sales_owner;

--: ACL: SEQUENCE lead_number_seq
GRANT SELECT,USAGE ON SEQUENCE sales.lead_number_seq TO sales_service;

--: TABLE: leads
CREATE TABLE sales.leads (
    lead_id text DEFAULT ('lead_'::text || nextval('sales.lead_number_seq'::regclass)) NOT NULL,
    company_name text NOT NULL,
    contact_name text NOT NULL,
    contact_email text NOT NULL,
    phone text NOT NULL,
    status text NOT NULL,
    notes text DEFAULT ''::text NOT NULL,
    created_by text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    converted_client_id text,
    converted_at timestamp with time zone,
    CONSTRAINT leads_check CHECK (((converted_client_id IS NULL) = (converted_at IS NULL))),
    CONSTRAINT leads_status_check CHECK ((status = ANY (ARRAY['NEW'::text, 'CONTACTED'::text, 'QUALIFIED'::text, 'DISQUALIFIED'::text, 'CONVERTED'::text])))
);

ALTER TABLE sales.leads OWNER TO sales_owner;

--: ACL: TABLE leads
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE sales.leads TO sales_service;

--: TABLE: outbox_events
CREATE TABLE sales.outbox_events (
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

ALTER TABLE sales.outbox_events OWNER TO sales_owner;

--: ACL: TABLE outbox_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE sales.outbox_events TO sales_service;

--: SEQUENCE: outbox_events_sequence_seq
ALTER TABLE sales.outbox_events ALTER COLUMN sequence ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sales.outbox_events_sequence_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER SEQUENCE sales.outbox_events_sequence_seq OWNER TO sales_owner;

--: ACL: SEQUENCE outbox_events_sequence_seq
GRANT SELECT,USAGE ON SEQUENCE sales.outbox_events_sequence_seq TO sales_service;

--: TABLE: schema_migrations
CREATE TABLE sales.schema_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE sales.schema_migrations OWNER TO sales_owner;

--: ACL: TABLE schema_migrations
GRANT SELECT ON TABLE sales.schema_migrations TO sales_service;

--: CONSTRAINT: clients clients_pkey
ALTER TABLE ONLY sales.clients
    ADD CONSTRAINT clients_pkey PRIMARY KEY (client_id);

--: CONSTRAINT: clients clients_source_lead_id_key
ALTER TABLE ONLY sales.clients
    ADD CONSTRAINT clients_source_lead_id_key UNIQUE (source_lead_id);

--: CONSTRAINT: event_migrations event_migrations_pkey
ALTER TABLE ONLY sales.event_migrations
    ADD CONSTRAINT event_migrations_pkey PRIMARY KEY (version);

--: CONSTRAINT: failed_events failed_events_pkey
ALTER TABLE ONLY sales.failed_events
    ADD CONSTRAINT failed_events_pkey PRIMARY KEY (letter_id);

--: CONSTRAINT: forgotten_events forgotten_events_pkey
ALTER TABLE ONLY sales.forgotten_events
    ADD CONSTRAINT forgotten_events_pkey PRIMARY KEY (event_id);

--: CONSTRAINT: inbox_events inbox_events_pkey
ALTER TABLE ONLY sales.inbox_events
    ADD CONSTRAINT inbox_events_pkey PRIMARY KEY (queue, event_id);

--: CONSTRAINT: leads leads_pkey
ALTER TABLE ONLY sales.leads
    ADD CONSTRAINT leads_pkey PRIMARY KEY (lead_id);

--: CONSTRAINT: outbox_events outbox_events_event_id_key
ALTER TABLE ONLY sales.outbox_events
    ADD CONSTRAINT outbox_events_event_id_key UNIQUE (event_id);

--: CONSTRAINT: outbox_events outbox_events_pkey
ALTER TABLE ONLY sales.outbox_events
    ADD CONSTRAINT outbox_events_pkey PRIMARY KEY (sequence);

--: CONSTRAINT: schema_migrations schema_migrations_pkey
ALTER TABLE ONLY sales.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

--: INDEX: clients_created
CREATE INDEX clients_created ON sales.clients USING btree (created_at DESC, client_id DESC);

--: INDEX: failed_events_dead
CREATE INDEX failed_events_dead ON sales.failed_events USING btree (queue) WHERE (dead AND (resolved_at IS NULL));

--: INDEX: failed_events_event
CREATE INDEX failed_events_event ON sales.failed_events USING btree (event_id);

--: INDEX: failed_events_open
CREATE INDEX failed_events_open ON sales.failed_events USING btree (content) WHERE ((settled_at IS NULL) AND (content IS NOT NULL));

--: INDEX: failed_events_resolved
CREATE INDEX failed_events_resolved ON sales.failed_events USING btree (resolved_at);

--: INDEX: inbox_events_processed
CREATE INDEX inbox_events_processed ON sales.inbox_events USING btree (processed_at);

--: INDEX: leads_created
CREATE INDEX leads_created ON sales.leads USING btree (created_at DESC, lead_id DESC);

--: INDEX: leads_status_created
CREATE INDEX leads_status_created ON sales.leads USING btree (status, created_at DESC, lead_id DESC);

--: INDEX: outbox_events_pending
CREATE INDEX outbox_events_pending ON sales.outbox_events USING btree (sequence) WHERE (published_at IS NULL);

--: INDEX: outbox_events_published
CREATE INDEX outbox_events_published ON sales.outbox_events USING brin (published_at);

--: INDEX: outbox_events_subject
CREATE INDEX outbox_events_subject ON sales.outbox_events USING btree (subject);

--: FK CONSTRAINT: clients clients_source_lead_id_fkey
ALTER TABLE ONLY sales.clients
    ADD CONSTRAINT clients_source_lead_id_fkey FOREIGN KEY (source_lead_id) REFERENCES sales.leads(lead_id) ON DELETE RESTRICT;

--: DEFAULT ACL: DEFAULT PRIVILEGES FOR SEQUENCES OF sales_owner
ALTER DEFAULT PRIVILEGES FOR ROLE sales_owner IN SCHEMA sales GRANT SELECT,USAGE ON SEQUENCES TO sales_service;

--: DEFAULT ACL: DEFAULT PRIVILEGES FOR TABLES OF sales_owner
ALTER DEFAULT PRIVILEGES FOR ROLE sales_owner IN SCHEMA sales GRANT SELECT,INSERT,DELETE,UPDATE ON TABLES TO sales_service;
