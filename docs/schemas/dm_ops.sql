-- Schema dm_ops, as `dm schema snapshot` wrote it. psql takes it, after the roles are there.

--: SCHEMA: dm_ops
CREATE SCHEMA dm_ops;

ALTER SCHEMA dm_ops OWNER TO dm_ops_owner;

--: TABLE: database_setup
CREATE TABLE dm_ops.database_setup (
    only_row boolean NOT NULL,
    digest text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT database_setup_only_row_check CHECK (only_row)
);

ALTER TABLE dm_ops.database_setup OWNER TO dm_ops_owner;

--: TABLE: parked_letters
CREATE TABLE dm_ops.parked_letters (
    fingerprint text NOT NULL,
    queue text NOT NULL,
    event_id text,
    event_type text,
    reason text NOT NULL,
    note text NOT NULL,
    parked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    letter text NOT NULL,
    parked_id bigint NOT NULL,
    removed_at timestamp with time zone,
    leaving_at timestamp with time zone
);

ALTER TABLE dm_ops.parked_letters OWNER TO dm_ops_owner;

--: SEQUENCE: parked_letters_parked_id_seq
ALTER TABLE dm_ops.parked_letters ALTER COLUMN parked_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME dm_ops.parked_letters_parked_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER SEQUENCE dm_ops.parked_letters_parked_id_seq OWNER TO dm_ops_owner;

--: TABLE: replay_messages
CREATE TABLE dm_ops.replay_messages (
    run_id text NOT NULL,
    number bigint NOT NULL,
    queue text NOT NULL,
    fingerprint text NOT NULL,
    event_id text,
    event_type text,
    reason text NOT NULL,
    outcome text,
    decided_at timestamp with time zone,
    edited_as text,
    edited_body text,
    CONSTRAINT replay_messages_check CHECK (((edited_as IS NULL) = (edited_body IS NULL))),
    CONSTRAINT replay_messages_outcome_check CHECK ((outcome = ANY (ARRAY['replayed'::text, 'returned'::text, 'missing'::text])))
);

ALTER TABLE dm_ops.replay_messages OWNER TO dm_ops_owner;

--: TABLE: replay_runs
CREATE TABLE dm_ops.replay_runs (
    run_id text NOT NULL,
    began_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    digest text NOT NULL,
    to_exchange boolean NOT NULL,
    selection jsonb NOT NULL
);

ALTER TABLE dm_ops.replay_runs OWNER TO dm_ops_owner;

--: TABLE: restores
CREATE TABLE dm_ops.restores (
    restore_id text NOT NULL,
    backup_id text NOT NULL,
    restored_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    schema_name text
);

ALTER TABLE dm_ops.restores OWNER TO dm_ops_owner;

--: TABLE: schema_migrations
CREATE TABLE dm_ops.schema_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

ALTER TABLE dm_ops.schema_migrations OWNER TO dm_ops_owner;

--: TABLE: seed_parts
CREATE TABLE dm_ops.seed_parts (
    run_id text NOT NULL,
    part bigint NOT NULL,
    rows bigint NOT NULL
);

ALTER TABLE dm_ops.seed_parts OWNER TO dm_ops_owner;

--: TABLE: seed_runs
CREATE TABLE dm_ops.seed_runs (
    run_id text NOT NULL,
    began_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    request jsonb NOT NULL,
    first jsonb NOT NULL,
    parts bigint NOT NULL
);

ALTER TABLE dm_ops.seed_runs OWNER TO dm_ops_owner;

--: CONSTRAINT: database_setup database_setup_pkey
ALTER TABLE ONLY dm_ops.database_setup
    ADD CONSTRAINT database_setup_pkey PRIMARY KEY (only_row);

--: CONSTRAINT: parked_letters parked_letters_pkey
ALTER TABLE ONLY dm_ops.parked_letters
    ADD CONSTRAINT parked_letters_pkey PRIMARY KEY (parked_id);

--: CONSTRAINT: replay_messages replay_messages_edited_as_key
ALTER TABLE ONLY dm_ops.replay_messages
    ADD CONSTRAINT replay_messages_edited_as_key UNIQUE (edited_as);

--: CONSTRAINT: replay_messages replay_messages_pkey
ALTER TABLE ONLY dm_ops.replay_messages
    ADD CONSTRAINT replay_messages_pkey PRIMARY KEY (run_id, number);

--: CONSTRAINT: replay_runs replay_runs_pkey
ALTER TABLE ONLY dm_ops.replay_runs
    ADD CONSTRAINT replay_runs_pkey PRIMARY KEY (run_id);

--: CONSTRAINT: restores restores_pkey
ALTER TABLE ONLY dm_ops.restores
    ADD CONSTRAINT restores_pkey PRIMARY KEY (restore_id);

--: CONSTRAINT: schema_migrations schema_migrations_pkey
ALTER TABLE ONLY dm_ops.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

--: CONSTRAINT: seed_parts seed_parts_pkey
ALTER TABLE ONLY dm_ops.seed_parts
    ADD CONSTRAINT seed_parts_pkey PRIMARY KEY (run_id, part);

--: CONSTRAINT: seed_runs seed_runs_pkey
ALTER TABLE ONLY dm_ops.seed_runs
    ADD CONSTRAINT seed_runs_pkey PRIMARY KEY (run_id);

--: INDEX: parked_letters_fingerprint
CREATE INDEX parked_letters_fingerprint ON dm_ops.parked_letters USING btree (fingerprint);

--: INDEX: replay_messages_event
CREATE INDEX replay_messages_event ON dm_ops.replay_messages USING btree (event_id);

--: FK CONSTRAINT: replay_messages replay_messages_run_id_fkey
ALTER TABLE ONLY dm_ops.replay_messages
    ADD CONSTRAINT replay_messages_run_id_fkey FOREIGN KEY (run_id) REFERENCES dm_ops.replay_runs(run_id) ON DELETE CASCADE;

--: FK CONSTRAINT: seed_parts seed_parts_run_id_fkey
ALTER TABLE ONLY dm_ops.seed_parts
    ADD CONSTRAINT seed_parts_run_id_fkey FOREIGN KEY (run_id) REFERENCES dm_ops.seed_runs(run_id) ON DELETE CASCADE;
