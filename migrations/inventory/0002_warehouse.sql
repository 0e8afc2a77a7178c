CREATE TABLE shipments (
    shipment_id         text PRIMARY KEY,
    order_id            text NOT NULL UNIQUE,
    client_id           text NOT NULL,
    requested_ship_date date NOT NULL,
    items               jsonb NOT NULL CHECK (jsonb_typeof(items) = 'array'),
    status              text NOT NULL,
    -- Of the order.
    created_at          timestamptz NOT NULL,
    created_by          text NOT NULL,
    updated_at          timestamptz NOT NULL,
    -- Null until it was sent off; then all of them are there.
    dispatched_at       timestamptz,
    dispatched_by       text,
    truck_id            text,
    dispatch_id         text UNIQUE,
    CHECK (num_nulls(dispatched_at, dispatched_by, truck_id, dispatch_id)
           = CASE status WHEN 'DISPATCHED' THEN 0 ELSE 4 END)
);

CREATE INDEX shipments_status ON shipments (status, created_at);
CREATE INDEX shipments_created ON shipments (created_at);

CREATE TABLE shipment_scan_log (
    id              bigserial PRIMARY KEY,
    shipment_id     text NOT NULL REFERENCES shipments ON DELETE CASCADE,
    barcode         text NOT NULL,
    quantity        integer NOT NULL,
    scanned_by      text NOT NULL,
    scanned_at      timestamptz NOT NULL,
    idempotency_key text
);

CREATE INDEX shipment_scan_log_latest ON shipment_scan_log (shipment_id, scanned_at DESC);
CREATE UNIQUE INDEX shipment_scan_log_key ON shipment_scan_log (shipment_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- What a request with a key was answered: kept for good, for a phone may have been
-- offline for long.
CREATE TABLE idempotency_records (
    operation_type  text NOT NULL CHECK (operation_type IN ('SCAN', 'DISPATCH')),
    idempotency_key text NOT NULL,
    shipment_id     text NOT NULL,
    response_json   jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (operation_type, idempotency_key)
);
