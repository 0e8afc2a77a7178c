-- The catalogue: reference data, taken in from fixtures/products.csv by the
-- service at its start.
CREATE TABLE products (
    sku        text PRIMARY KEY,
    name       text NOT NULL,
    category   text NOT NULL,
    -- What one is: a ream, a box.
    unit       text NOT NULL,
    -- In US dollars.
    price      numeric(12, 2) NOT NULL CHECK (price >= 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What can be promised is on_hand - reserved.
CREATE TABLE stock (
    sku        text PRIMARY KEY REFERENCES products,
    -- In the building, what is reserved included.
    on_hand    bigint NOT NULL CHECK (on_hand >= 0),
    reserved   bigint NOT NULL DEFAULT 0 CHECK (reserved BETWEEN 0 AND on_hand),
    shipped    bigint NOT NULL DEFAULT 0 CHECK (shipped >= 0),
    -- What ever came in: nothing else can be in the building or have left it.
    received   bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (on_hand + shipped = received)
);

CREATE SEQUENCE reservation_number_seq AS bigint START 1;

CREATE TABLE reservations (
    reservation_id text PRIMARY KEY DEFAULT 'res_' || nextval('reservation_number_seq'),
    order_id       text NOT NULL UNIQUE,
    status         text NOT NULL
        CHECK (status IN ('RESERVED', 'FAILED_INSUFFICIENT_STOCK', 'DISPATCHED')),
    -- One element a SKU: {sku, quantity}.
    items          jsonb NOT NULL CHECK (jsonb_typeof(items) = 'array'),
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);

ALTER SEQUENCE reservation_number_seq OWNED BY reservations.reservation_id;
