-- Schema orders, as `dm schema snapshot` wrote it. psql takes it, after the roles are there.

--: SCHEMA: orders
CREATE SCHEMA orders;

ALTER SCHEMA orders OWNER TO orders_owner;

--: ACL: SCHEMA orders
GRANT USAGE ON SCHEMA orders TO order_service;

--: TABLE: event_migrations
CREATE TABLE orders.event_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE orders.event_migrations OWNER TO orders_owner;

--: ACL: TABLE event_migrations
GRANT SELECT ON TABLE orders.event_migrations TO order_service;

--: TABLE: failed_events
CREATE TABLE orders.failed_events (
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

ALTER TABLE orders.failed_events OWNER TO orders_owner;

--: ACL: TABLE failed_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE orders.failed_events TO order_service;

--: TABLE: forgotten_events
CREATE TABLE orders.forgotten_events (
    event_id text NOT NULL
);

ALTER TABLE orders.forgotten_events OWNER TO orders_owner;

--: ACL: TABLE forgotten_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE orders.forgotten_events TO order_service;

--: TABLE: inbox_events
CREATE TABLE orders.inbox_events (
    queue text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    processed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE orders.inbox_events OWNER TO orders_owner;

--: ACL: TABLE inbox_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE orders.inbox_events TO order_service;

--: TABLE: orders
CREATE TABLE orders.orders (
    order_id text NOT NULL,
    client_id text NOT NULL,
    requested_ship_date date NOT NULL,
    items jsonb NOT NULL,
    notes text DEFAULT ''::text NOT NULL,
    created_by text NOT NULL,
    status text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    shipment_id text,
    cancelled_at timestamp with time zone,
    cancelled_by text,
    cancel_reason text,
    CONSTRAINT orders_check CHECK (((cancelled_at IS NULL) = (cancelled_by IS NULL))),
    CONSTRAINT orders_check1 CHECK (((cancel_reason IS NULL) OR (cancelled_at IS NOT NULL))),
    CONSTRAINT orders_check2 CHECK (((status = 'SHIPPED'::text) OR ((status = 'CANCELLED'::text) = (cancelled_at IS NOT NULL)))),
    CONSTRAINT orders_items_check CHECK ((jsonb_typeof(items) = 'array'::text)),
    CONSTRAINT orders_status_check CHECK ((status = ANY (ARRAY['CREATED'::text, 'RESERVED'::text, 'PICKING'::text, 'FAILED_INSUFFICIENT_STOCK'::text, 'CANCELLED'::text, 'SHIPPED'::text])))
);

ALTER TABLE orders.orders OWNER TO orders_owner;

--: ACL: TABLE orders
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE orders.orders TO order_service;

--: SEQUENCE: order_number_seq
CREATE SEQUENCE orders.order_number_seq
    START WITH 9001
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE orders.order_number_seq OWNER TO orders_owner;

--: SEQUENCE OWNED BY: order_number_seq
ALTER SEQUENCE orders.order_number_seq OWNED BY orders.orders.order_id;

--: ACL: SEQUENCE order_number_seq
GRANT SELECT,USAGE ON SEQUENCE orders.order_number_seq TO order_service;

--: TABLE: order_timeline
CREATE TABLE orders.order_timeline (
    id bigint NOT NULL,
    order_id text NOT NULL,
    status text NOT NULL,
    at timestamp with time zone NOT NULL,
    source text NOT NULL
);

ALTER TABLE orders.order_timeline OWNER TO orders_owner;

--: ACL: TABLE order_timeline
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE orders.order_timeline TO order_service;

--: SEQUENCE: order_timeline_id_seq
CREATE SEQUENCE orders.order_timeline_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE orders.order_timeline_id_seq OWNER TO orders_owner;

--: SEQUENCE OWNED BY: order_timeline_id_seq
ALTER SEQUENCE orders.order_timeline_id_seq OWNED BY orders.order_timeline.id;

--: ACL: SEQUENCE order_timeline_id_seq
GRANT SELECT,USAGE ON SEQUENCE orders.order_timeline_id_seq TO order_service;

--: TABLE: outbox_events
CREATE TABLE orders.outbox_events (
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

ALTER TABLE orders.outbox_events OWNER TO orders_owner;

--: ACL: TABLE outbox_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE orders.outbox_events TO order_service;

--: SEQUENCE: outbox_events_sequence_seq
ALTER TABLE orders.outbox_events ALTER COLUMN sequence ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME orders.outbox_events_sequence_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER SEQUENCE orders.outbox_events_sequence_seq OWNER TO orders_owner;

--: ACL: SEQUENCE outbox_events_sequence_seq
GRANT SELECT,USAGE ON SEQUENCE orders.outbox_events_sequence_seq TO order_service;

--: TABLE: schema_migrations
CREATE TABLE orders.schema_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE orders.schema_migrations OWNER TO orders_owner;

--: ACL: TABLE schema_migrations
GRANT SELECT ON TABLE orders.schema_migrations TO order_service;

--: DEFAULT: order_timeline id
ALTER TABLE ONLY orders.order_timeline ALTER COLUMN id SET DEFAULT nextval('orders.order_timeline_id_seq'::regclass);

--: DEFAULT: orders order_id
ALTER TABLE ONLY orders.orders ALTER COLUMN order_id SET DEFAULT ('ord_'::text || nextval('orders.order_number_seq'::regclass));

--: CONSTRAINT: event_migrations event_migrations_pkey
ALTER TABLE ONLY orders.event_migrations
    ADD CONSTRAINT event_migrations_pkey PRIMARY KEY (version);

--: CONSTRAINT: failed_events failed_events_pkey
ALTER TABLE ONLY orders.failed_events
    ADD CONSTRAINT failed_events_pkey PRIMARY KEY (letter_id);

--: CONSTRAINT: forgotten_events forgotten_events_pkey
ALTER TABLE ONLY orders.forgotten_events
    ADD CONSTRAINT forgotten_events_pkey PRIMARY KEY (event_id);

--: CONSTRAINT: inbox_events inbox_events_pkey
ALTER TABLE ONLY orders.inbox_events
    ADD CONSTRAINT inbox_events_pkey PRIMARY KEY (queue, event_id);

--: CONSTRAINT: order_timeline order_timeline_pkey
ALTER TABLE ONLY orders.order_timeline
    ADD CONSTRAINT order_timeline_pkey PRIMARY KEY (id);

--: CONSTRAINT: orders orders_pkey
ALTER TABLE ONLY orders.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (order_id);

--: CONSTRAINT: outbox_events outbox_events_event_id_key
ALTER TABLE ONLY orders.outbox_events
    ADD CONSTRAINT outbox_events_event_id_key UNIQUE (event_id);

--: CONSTRAINT: outbox_events outbox_events_pkey
ALTER TABLE ONLY orders.outbox_events
    ADD CONSTRAINT outbox_events_pkey PRIMARY KEY (sequence);

--: CONSTRAINT: schema_migrations schema_migrations_pkey
ALTER TABLE ONLY orders.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

--: INDEX: failed_events_dead
CREATE INDEX failed_events_dead ON orders.failed_events USING btree (queue) WHERE (dead AND (resolved_at IS NULL));

--: INDEX: failed_events_event
CREATE INDEX failed_events_event ON orders.failed_events USING btree (event_id);

--: INDEX: failed_events_open
CREATE INDEX failed_events_open ON orders.failed_events USING btree (content) WHERE ((settled_at IS NULL) AND (content IS NOT NULL));

--: INDEX: failed_events_resolved
CREATE INDEX failed_events_resolved ON orders.failed_events USING btree (resolved_at);

--: INDEX: inbox_events_processed
CREATE INDEX inbox_events_processed ON orders.inbox_events USING btree (processed_at);

--: INDEX: order_timeline_order
CREATE INDEX order_timeline_order ON orders.order_timeline USING btree (order_id, at, id);

--: INDEX: orders_client
CREATE INDEX orders_client ON orders.orders USING btree (client_id, created_at, length(order_id), order_id);

--: INDEX: orders_client_status
CREATE INDEX orders_client_status ON orders.orders USING btree (client_id, status, created_at, length(order_id), order_id);

--: INDEX: orders_created
CREATE INDEX orders_created ON orders.orders USING btree (created_at, length(order_id), order_id);

--: INDEX: orders_status
CREATE INDEX orders_status ON orders.orders USING btree (status, created_at, length(order_id), order_id);

--: INDEX: outbox_events_pending
CREATE INDEX outbox_events_pending ON orders.outbox_events USING btree (sequence) WHERE (published_at IS NULL);

--: INDEX: outbox_events_published
CREATE INDEX outbox_events_published ON orders.outbox_events USING brin (published_at);

--: INDEX: outbox_events_subject
CREATE INDEX outbox_events_subject ON orders.outbox_events USING btree (subject);

--: FK CONSTRAINT: order_timeline order_timeline_order_id_fkey
ALTER TABLE ONLY orders.order_timeline
    ADD CONSTRAINT order_timeline_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders.orders(order_id) ON DELETE CASCADE;

--: DEFAULT ACL: DEFAULT PRIVILEGES FOR SEQUENCES OF orders_owner
ALTER DEFAULT PRIVILEGES FOR ROLE orders_owner IN SCHEMA orders GRANT SELECT,USAGE ON SEQUENCES TO order_service;

--: DEFAULT ACL: DEFAULT PRIVILEGES FOR TABLES OF orders_owner
ALTER DEFAULT PRIVILEGES FOR ROLE orders_owner IN SCHEMA orders GRANT SELECT,INSERT,DELETE,UPDATE ON TABLES TO order_service;
