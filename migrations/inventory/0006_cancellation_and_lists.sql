-- Cancellation, and lists that are read by cursor.

-- Scans of earlier versions published no event. The next scan of such a shipment does.
UPDATE shipments SET status = 'PENDING' WHERE status = 'LOADING';

-- A cancelled order has a shipment as well, also if it was cancelled before it arrived: the row
-- states that there is nothing to reserve.
ALTER TABLE shipments
    ADD CHECK (status IN ('PENDING', 'LOADING', 'DISPATCHED', 'FAILED', 'CANCELLED'));

ALTER TABLE reservations
    DROP CONSTRAINT reservations_status_check,
    ADD CHECK (status IN ('RESERVED', 'FAILED_INSUFFICIENT_STOCK', 'DISPATCHED', 'RELEASED'));

-- The list of all, and of those that are still to be shipped. Shipments of the same time are in
-- the order of their numbers.
DROP INDEX shipments_status, shipments_created;
CREATE INDEX shipments_created ON shipments (created_at, length(shipment_id), shipment_id);
CREATE INDEX shipments_open ON shipments (created_at, length(shipment_id), shipment_id)
    WHERE status IN ('PENDING', 'LOADING');
