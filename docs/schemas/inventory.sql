-- Schema inventory, as `dm schema snapshot` wrote it. psql takes it, after the roles are there.

--: SCHEMA: inventory
CREATE SCHEMA inventory;

ALTER SCHEMA inventory OWNER TO inventory_owner;

--: ACL: SCHEMA inventory
GRANT USAGE ON SCHEMA inventory TO inventory_service;

--: TABLE: event_migrations
CREATE TABLE inventory.event_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE inventory.event_migrations OWNER TO inventory_owner;

--: ACL: TABLE event_migrations
GRANT SELECT ON TABLE inventory.event_migrations TO inventory_service;

--: TABLE: failed_events
CREATE TABLE inventory.failed_events (
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

ALTER TABLE inventory.failed_events OWNER TO inventory_owner;

--: ACL: TABLE failed_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE inventory.failed_events TO inventory_service;

--: TABLE: forgotten_events
CREATE TABLE inventory.forgotten_events (
    event_id text NOT NULL
);

ALTER TABLE inventory.forgotten_events OWNER TO inventory_owner;

--: ACL: TABLE forgotten_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE inventory.forgotten_events TO inventory_service;

--: TABLE: idempotency_records
CREATE TABLE inventory.idempotency_records (
    operation_type text NOT NULL,
    idempotency_key text NOT NULL,
    shipment_id text NOT NULL,
    response_json jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT idempotency_records_operation_type_check CHECK ((operation_type = ANY (ARRAY['SCAN'::text, 'DISPATCH'::text])))
);

ALTER TABLE inventory.idempotency_records OWNER TO inventory_owner;

--: ACL: TABLE idempotency_records
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE inventory.idempotency_records TO inventory_service;

--: TABLE: inbox_events
CREATE TABLE inventory.inbox_events (
    queue text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    processed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE inventory.inbox_events OWNER TO inventory_owner;

--: ACL: TABLE inbox_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE inventory.inbox_events TO inventory_service;

--: TABLE: outbox_events
CREATE TABLE inventory.outbox_events (
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

ALTER TABLE inventory.outbox_events OWNER TO inventory_owner;

--: ACL: TABLE outbox_events
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE inventory.outbox_events TO inventory_service;

--: SEQUENCE: outbox_events_sequence_seq
ALTER TABLE inventory.outbox_events ALTER COLUMN sequence ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME inventory.outbox_events_sequence_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER SEQUENCE inventory.outbox_events_sequence_seq OWNER TO inventory_owner;

--: ACL: SEQUENCE outbox_events_sequence_seq
GRANT SELECT,USAGE ON SEQUENCE inventory.outbox_events_sequence_seq TO inventory_service;

--: TABLE: products
CREATE TABLE inventory.products (
    sku text NOT NULL,
    name text NOT NULL,
    category text NOT NULL,
    unit text NOT NULL,
    price numeric(12,2) NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT products_price_check CHECK ((price >= (0)::numeric))
);

ALTER TABLE inventory.products OWNER TO inventory_owner;

--: ACL: TABLE products
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE inventory.products TO inventory_service;

--: TABLE: reservations
CREATE TABLE inventory.reservations (
    reservation_id text NOT NULL,
    order_id text NOT NULL,
    status text NOT NULL,
    items jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT reservations_items_check CHECK ((jsonb_typeof(items) = 'array'::text)),
    CONSTRAINT reservations_status_check CHECK ((status = ANY (ARRAY['RESERVED'::text, 'FAILED_INSUFFICIENT_STOCK'::text, 'DISPATCHED'::text, 'RELEASED'::text])))
);

ALTER TABLE inventory.reservations OWNER TO inventory_owner;

--: ACL: TABLE reservations
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE inventory.reservations TO inventory_service;

--: SEQUENCE: reservation_number_seq
CREATE SEQUENCE inventory.reservation_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE inventory.reservation_number_seq OWNER TO inventory_owner;

--: SEQUENCE OWNED BY: reservation_number_seq
ALTER SEQUENCE inventory.reservation_number_seq OWNED BY inventory.reservations.reservation_id;

--: ACL: SEQUENCE reservation_number_seq
GRANT SELECT,USAGE ON SEQUENCE inventory.reservation_number_seq TO inventory_service;

--: TABLE: schema_migrations
CREATE TABLE inventory.schema_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE inventory.schema_migrations OWNER TO inventory_owner;

--: ACL: TABLE schema_migrations
GRANT SELECT ON TABLE inventory.schema_migrations TO inventory_service;

--: TABLE: shipment_scan_log
CREATE TABLE inventory.shipment_scan_log (
    id bigint NOT NULL,
    shipment_id text NOT NULL,
    barcode text NOT NULL,
    quantity integer NOT NULL,
    scanned_by text NOT NULL,
    scanned_at timestamp with time zone NOT NULL,
    idempotency_key text
);

ALTER TABLE inventory.shipment_scan_log OWNER TO inventory_owner;

--: ACL: TABLE shipment_scan_log
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE inventory.shipment_scan_log TO inventory_service;

--: SEQUENCE: shipment_scan_log_id_seq
CREATE SEQUENCE inventory.shipment_scan_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE inventory.shipment_scan_log_id_seq OWNER TO inventory_owner;

--: SEQUENCE OWNED BY: shipment_scan_log_id_seq
ALTER SEQUENCE inventory.shipment_scan_log_id_seq OWNED BY inventory.shipment_scan_log.id;

--: ACL: SEQUENCE shipment_scan_log_id_seq
GRANT SELECT,USAGE ON SEQUENCE inventory.shipment_scan_log_id_seq TO inventory_service;

--: TABLE: shipments
CREATE TABLE inventory.shipments (
    shipment_id text NOT NULL,
    order_id text NOT NULL,
    client_id text NOT NULL,
    requested_ship_date date NOT NULL,
    items jsonb NOT NULL,
    status text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    dispatched_at timestamp with time zone,
    dispatched_by text,
    truck_id text,
    dispatch_id text,
    CONSTRAINT shipments_check CHECK ((num_nulls(dispatched_at, dispatched_by, truck_id, dispatch_id) =
CASE status
    WHEN 'DISPATCHED'::text THEN 0
    ELSE 4
END)),
    CONSTRAINT shipments_items_check CHECK ((jsonb_typeof(items) = 'array'::text)),
    CONSTRAINT shipments_status_check CHECK ((status = ANY (ARRAY['PENDING'::text, 'LOADING'::text, 'DISPATCHED'::text, 'FAILED'::text, 'CANCELLED'::text])))
);

ALTER TABLE inventory.shipments OWNER TO inventory_owner;

--: ACL: TABLE shipments
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE inventory.shipments TO inventory_service;

--: TABLE: stock
CREATE TABLE inventory.stock (
    sku text NOT NULL,
    on_hand bigint NOT NULL,
    reserved bigint DEFAULT 0 NOT NULL,
    shipped bigint DEFAULT 0 NOT NULL,
    received bigint NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT stock_check CHECK (((reserved >= 0) AND (reserved <= on_hand))),
    CONSTRAINT stock_check1 CHECK (((on_hand + shipped) = received)),
    CONSTRAINT stock_on_hand_check CHECK ((on_hand >= 0)),
    CONSTRAINT stock_shipped_check CHECK ((shipped >= 0))
);

ALTER TABLE inventory.stock OWNER TO inventory_owner;

--: ACL: TABLE stock
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE inventory.stock TO inventory_service;

--: DEFAULT: reservations reservation_id
ALTER TABLE ONLY inventory.reservations ALTER COLUMN reservation_id SET DEFAULT ('res_'::text || nextval('inventory.reservation_number_seq'::regclass));

--: DEFAULT: shipment_scan_log id
ALTER TABLE ONLY inventory.shipment_scan_log ALTER COLUMN id SET DEFAULT nextval('inventory.shipment_scan_log_id_seq'::regclass);

--: CONSTRAINT: event_migrations event_migrations_pkey
ALTER TABLE ONLY inventory.event_migrations
    ADD CONSTRAINT event_migrations_pkey PRIMARY KEY (version);

--: CONSTRAINT: failed_events failed_events_pkey
ALTER TABLE ONLY inventory.failed_events
    ADD CONSTRAINT failed_events_pkey PRIMARY KEY (letter_id);

--: CONSTRAINT: forgotten_events forgotten_events_pkey
ALTER TABLE ONLY inventory.forgotten_events
    ADD CONSTRAINT forgotten_events_pkey PRIMARY KEY (event_id);

--: CONSTRAINT: idempotency_records idempotency_records_pkey
ALTER TABLE ONLY inventory.idempotency_records
    ADD CONSTRAINT idempotency_records_pkey PRIMARY KEY (operation_type, idempotency_key);

--: CONSTRAINT: inbox_events inbox_events_pkey
ALTER TABLE ONLY inventory.inbox_events
    ADD CONSTRAINT inbox_events_pkey PRIMARY KEY (queue, event_id);

--: CONSTRAINT: outbox_events outbox_events_event_id_key
ALTER TABLE ONLY inventory.outbox_events
    ADD CONSTRAINT outbox_events_event_id_key UNIQUE (event_id);

--: CONSTRAINT: outbox_events outbox_events_pkey
ALTER TABLE ONLY inventory.outbox_events
    ADD CONSTRAINT outbox_events_pkey PRIMARY KEY (sequence);

--: CONSTRAINT: products products_pkey
ALTER TABLE ONLY inventory.products
    ADD CONSTRAINT products_pkey PRIMARY KEY (sku);

--: CONSTRAINT: reservations reservations_order_id_key
ALTER TABLE ONLY inventory.reservations
    ADD CONSTRAINT reservations_order_id_key UNIQUE (order_id);

--: CONSTRAINT: reservations reservations_pkey
ALTER TABLE ONLY inventory.reservations
    ADD CONSTRAINT reservations_pkey PRIMARY KEY (reservation_id);

--: CONSTRAINT: schema_migrations schema_migrations_pkey
ALTER TABLE ONLY inventory.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

--: CONSTRAINT: shipment_scan_log shipment_scan_log_pkey
ALTER TABLE ONLY inventory.shipment_scan_log
    ADD CONSTRAINT shipment_scan_log_pkey PRIMARY KEY (id);

--: CONSTRAINT: shipments shipments_dispatch_id_key
ALTER TABLE ONLY inventory.shipments
    ADD CONSTRAINT shipments_dispatch_id_key UNIQUE (dispatch_id);

--: CONSTRAINT: shipments shipments_order_id_key
ALTER TABLE ONLY inventory.shipments
    ADD CONSTRAINT shipments_order_id_key UNIQUE (order_id);

--: CONSTRAINT: shipments shipments_pkey
ALTER TABLE ONLY inventory.shipments
    ADD CONSTRAINT shipments_pkey PRIMARY KEY (shipment_id);

--: CONSTRAINT: stock stock_pkey
ALTER TABLE ONLY inventory.stock
    ADD CONSTRAINT stock_pkey PRIMARY KEY (sku);

--: INDEX: failed_events_dead
CREATE INDEX failed_events_dead ON inventory.failed_events USING btree (queue) WHERE (dead AND (resolved_at IS NULL));

--: INDEX: failed_events_event
CREATE INDEX failed_events_event ON inventory.failed_events USING btree (event_id);

--: INDEX: failed_events_open
CREATE INDEX failed_events_open ON inventory.failed_events USING btree (content) WHERE ((settled_at IS NULL) AND (content IS NOT NULL));

--: INDEX: failed_events_resolved
CREATE INDEX failed_events_resolved ON inventory.failed_events USING btree (resolved_at);

--: INDEX: inbox_events_processed
CREATE INDEX inbox_events_processed ON inventory.inbox_events USING btree (processed_at);

--: INDEX: outbox_events_pending
CREATE INDEX outbox_events_pending ON inventory.outbox_events USING btree (sequence) WHERE (published_at IS NULL);

--: INDEX: outbox_events_published
CREATE INDEX outbox_events_published ON inventory.outbox_events USING brin (published_at);

--: INDEX: outbox_events_subject
CREATE INDEX outbox_events_subject ON inventory.outbox_events USING btree (subject);

--: INDEX: shipment_scan_log_key
CREATE UNIQUE INDEX shipment_scan_log_key ON inventory.shipment_scan_log USING btree (shipment_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);

--: INDEX: shipment_scan_log_latest
CREATE INDEX shipment_scan_log_latest ON inventory.shipment_scan_log USING btree (shipment_id, scanned_at DESC);

--: INDEX: shipments_created
CREATE INDEX shipments_created ON inventory.shipments USING btree (created_at, length(shipment_id), shipment_id);

--: INDEX: shipments_open
CREATE INDEX shipments_open ON inventory.shipments USING btree (created_at, length(shipment_id), shipment_id) WHERE (status = ANY (ARRAY['PENDING'::text, 'LOADING'::text]));

--: FK CONSTRAINT: shipment_scan_log shipment_scan_log_shipment_id_fkey
ALTER TABLE ONLY inventory.shipment_scan_log
    ADD CONSTRAINT shipment_scan_log_shipment_id_fkey FOREIGN KEY (shipment_id) REFERENCES inventory.shipments(shipment_id) ON DELETE CASCADE;

--: FK CONSTRAINT: stock stock_sku_fkey
ALTER TABLE ONLY inventory.stock
    ADD CONSTRAINT stock_sku_fkey FOREIGN KEY (sku) REFERENCES inventory.products(sku);

--: DEFAULT ACL: DEFAULT PRIVILEGES FOR SEQUENCES OF inventory_owner
ALTER DEFAULT PRIVILEGES FOR ROLE inventory_owner IN SCHEMA inventory GRANT SELECT,USAGE ON SEQUENCES TO inventory_service;

--: DEFAULT ACL: DEFAULT PRIVILEGES FOR TABLES OF inventory_owner
ALTER DEFAULT PRIVILEGES FOR ROLE inventory_owner IN SCHEMA inventory GRANT SELECT,INSERT,DELETE,UPDATE ON TABLES TO inventory_service;
