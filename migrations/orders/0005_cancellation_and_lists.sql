-- Cancellation, and lists that are read by cursor.

ALTER TABLE orders
    -- Null until the order is cancelled. The reason is optional. A cancelled order is shipped only
    -- if its shipment left first.
    ADD COLUMN cancelled_at  timestamptz,
    ADD COLUMN cancelled_by  text,
    ADD COLUMN cancel_reason text,
    ADD CHECK (status IN ('CREATED', 'RESERVED', 'PICKING', 'FAILED_INSUFFICIENT_STOCK',
                          'CANCELLED', 'SHIPPED')),
    ADD CHECK ((cancelled_at IS NULL) = (cancelled_by IS NULL)),
    ADD CHECK (cancel_reason IS NULL OR cancelled_at IS NOT NULL),
    ADD CHECK (status = 'SHIPPED' OR (status = 'CANCELLED') = (cancelled_at IS NOT NULL));

-- The list, with each combination of a client and a status. Orders of the same time are in the
-- order of their numbers.
DROP INDEX orders_client, orders_created;
CREATE INDEX orders_created ON orders (created_at, length(order_id), order_id);
CREATE INDEX orders_client ON orders (client_id, created_at, length(order_id), order_id);
CREATE INDEX orders_status ON orders (status, created_at, length(order_id), order_id);
CREATE INDEX orders_client_status
    ON orders (client_id, status, created_at, length(order_id), order_id);
