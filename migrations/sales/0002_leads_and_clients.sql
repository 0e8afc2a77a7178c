CREATE SEQUENCE lead_number_seq START 4001;
CREATE SEQUENCE client_number_seq START 7001;

CREATE TABLE leads (
    lead_id             text PRIMARY KEY DEFAULT 'lead_' || nextval('lead_number_seq'),
    company_name        text NOT NULL,
    contact_name        text NOT NULL,
    contact_email       text NOT NULL,
    phone               text NOT NULL,
    status              text NOT NULL
        CHECK (status IN ('NEW', 'CONTACTED', 'QUALIFIED', 'DISQUALIFIED', 'CONVERTED')),
    notes               text NOT NULL DEFAULT '',
    created_by          text NOT NULL,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    converted_client_id text,
    converted_at        timestamptz,
    CHECK ((converted_client_id IS NULL) = (converted_at IS NULL))
);

-- The list, with a status and without.
CREATE INDEX leads_status_created ON leads (status, created_at DESC, lead_id DESC);
CREATE INDEX leads_created ON leads (created_at DESC, lead_id DESC);

CREATE TABLE clients (
    client_id      text PRIMARY KEY DEFAULT 'client_' || nextval('client_number_seq'),
    -- A lead becomes one client at most, whatever its status says later.
    source_lead_id text NOT NULL UNIQUE REFERENCES leads ON DELETE RESTRICT,
    company_name   text NOT NULL,
    contact_name   text NOT NULL,
    contact_email  text NOT NULL,
    phone          text NOT NULL,
    created_by     text NOT NULL,
    created_at     timestamptz NOT NULL
);

CREATE INDEX clients_created ON clients (created_at DESC, client_id DESC);
