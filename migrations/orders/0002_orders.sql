CREATE SEQUENCE order_number_seq AS bigint START 9001;

CREATE TABLE orders (
    order_id            text PRIMARY KEY DEFAULT 'ord_' || nextval('order_number_seq'),
    -- Free text: sales owns the clients, and is not asked.
    client_id           text NOT NULL,
    requested_ship_date date NOT NULL,
    items               jsonb NOT NULL CHECK (jsonb_typeof(items) = 'array'),
    notes               text NOT NULL DEFAULT '',
    created_by          text NOT NULL,
    status              text NOT NULL,
    created_at          timestamptz NOT NULL,
    -- Null until it was sent off.
    shipment_id         text
);

ALTER SEQUENCE order_number_seq OWNED BY orders.order_id;

CREATE INDEX orders_client ON orders (client_id, created_at);
CREATE INDEX orders_created ON orders (created_at);

CREATE TABLE order_timeline (
    id       bigserial PRIMARY KEY,
    order_id text NOT NULL REFERENCES orders ON DELETE CASCADE,
    status   text NOT NULL,
    at       timestamptz NOT NULL,
    source   text NOT NULL
);

CREATE INDEX order_timeline_order ON order_timeline (order_id, at, id);
