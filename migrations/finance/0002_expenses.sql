CREATE SEQUENCE expense_number_seq START 6001;

CREATE TABLE expenses (
    expense_id        text PRIMARY KEY DEFAULT 'exp_' || nextval('expense_number_seq'),
    submitter_user_id text NOT NULL,
    category          text NOT NULL,
    amount            numeric(12, 2) NOT NULL CHECK (amount > 0),
    currency          text NOT NULL,
    description       text NOT NULL,
    receipt_url       text,
    status            text NOT NULL CHECK (status IN ('PENDING', 'APPROVED', 'REJECTED')),
    created_at        timestamptz NOT NULL,
    -- All three are there once it is decided, and not before.
    decided_by        text,
    decided_at        timestamptz,
    decision_comment  text,
    CHECK ((status = 'PENDING') = (decided_by IS NULL)),
    CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    CHECK ((decided_by IS NULL) = (decision_comment IS NULL))
);

-- The list, with a status and without.
CREATE INDEX expenses_status_created ON expenses (status, created_at DESC, expense_id DESC);
CREATE INDEX expenses_created ON expenses (created_at DESC, expense_id DESC);
