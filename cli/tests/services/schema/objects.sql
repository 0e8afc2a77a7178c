-- One or more objects of each kind that pg_dump writes, with names and bodies that are hard to
-- parse. Everything is in the schema "Odd; --x" or in no schema.
CREATE SCHEMA "Odd; --x";
COMMENT ON SCHEMA "Odd; --x" IS 'a comment
--: TABLE: hello
of two lines; it''s';
GRANT USAGE ON SCHEMA "Odd; --x" TO PUBLIC;
SET search_path = "Odd; --x", public;

-- Types.
CREATE TYPE mood AS ENUM ('sad', 'o''k', 'ha;ppy');
CREATE TYPE pair AS (a integer, "b ""c" text);
CREATE TYPE span AS RANGE (subtype = double precision, multirange_type_name = spans);
CREATE DOMAIN positive AS integer DEFAULT 1 CONSTRAINT "is > 0" CHECK (VALUE > 0);
CREATE TYPE shell;
CREATE COLLATION plain_order FROM "C";
CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
COMMENT ON TYPE mood IS '$$ \ $_$';

-- Functions, with bodies that look like a dump.
CREATE FUNCTION body() RETURNS void LANGUAGE plpgsql AS $body$
BEGIN
  -- Name: hello; Type: TABLE; Schema: public; Owner: x
--
-- Name: hello; Type: TABLE; Schema: public; Owner: x
--
--: TABLE: hello
/*
SET default_tablespace = '';
\foo
*/
  EXECUTE $$ SELECT $_$ a ' " $_$ $$;



  -- three blank lines above
END;
$body$;
CREATE FUNCTION overloaded(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION overloaded(text) RETURNS integer LANGUAGE sql AS 'SELECT 2';
CREATE FUNCTION atomic(a integer) RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT a; SELECT a + 1; END;
CREATE FUNCTION "line
break;"(a integer DEFAULT 1, OUT b text, VARIADIC c text[] DEFAULT '{}') LANGUAGE sql AS 'SELECT ''x''::text';
CREATE PROCEDURE proceed() LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION carriage() RETURNS text LANGUAGE sql AS E'SELECT ''a\r\nb\tc  ''::text -- end  \n\n';
CREATE AGGREGATE total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE FUNCTION on_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION on_command() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE DEBUG ''x''; END';
CREATE FUNCTION pair_of(integer) RETURNS pair LANGUAGE sql IMMUTABLE AS 'SELECT $1, ''x''::text';
COMMENT ON FUNCTION body() IS 'x';
REVOKE ALL ON FUNCTION body() FROM PUBLIC;

-- Operators: two with the same name, and classes with the same name for two access methods.
CREATE OPERATOR <-> (FUNCTION = int4mi, LEFTARG = integer, RIGHTARG = integer);
CREATE OPERATOR <-> (FUNCTION = int8mi, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR FAMILY family USING btree;
CREATE OPERATOR CLASS same_name FOR TYPE integer USING btree AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(integer, integer);
CREATE OPERATOR CLASS same_name FOR TYPE integer USING hash AS
    OPERATOR 1 =, FUNCTION 1 hashint4(integer);
COMMENT ON OPERATOR CLASS same_name USING hash IS 'y';

-- Text search.
CREATE TEXT SEARCH PARSER parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH TEMPLATE template (LEXIZE = dsimple_lexize, INIT = dsimple_init);
CREATE TEXT SEARCH DICTIONARY dictionary (TEMPLATE = template);
CREATE TEXT SEARCH CONFIGURATION configuration (PARSER = parser);
ALTER TEXT SEARCH CONFIGURATION configuration ADD MAPPING FOR asciiword WITH dictionary;

-- Tables.
CREATE TABLE "a b" (
    "x, (y" integer GENERATED ALWAYS AS IDENTITY,
    "quote""d" mood DEFAULT 'sad',
    doubled integer GENERATED ALWAYS AS (1 + 1) STORED,
    pk positive NOT NULL,
    "Ünïcode ☕" text COLLATE "C" DEFAULT 'a,b);' NOT NULL,
    own serial,
    CONSTRAINT "c d" CHECK (pk > 0),
    CONSTRAINT "b_pkey" PRIMARY KEY ("x, (y"),
    CONSTRAINT excluded EXCLUDE USING gist (int4range(pk::integer, pk::integer, '[]') WITH &&) DEFERRABLE
);
ALTER TABLE "a b" ALTER COLUMN "quote""d" DROP DEFAULT;
ALTER TABLE "a b" DROP COLUMN "quote""d";
ALTER TABLE "a b" ADD COLUMN "quote""d" mood;
ALTER TABLE "a b" ALTER COLUMN pk SET STATISTICS 100, ALTER COLUMN "Ünïcode ☕" SET STORAGE EXTERNAL, ALTER COLUMN pk SET (n_distinct = 5);
COMMENT ON TABLE "a b" IS E'tab\tand \\ backslash';
COMMENT ON COLUMN "a b"."x, (y" IS 'z';
COMMENT ON CONSTRAINT "c d" ON "a b" IS 'z';
CREATE TABLE "ATTACH x" (a integer);
CREATE TABLE "line
break" (a integer REFERENCES "a b", "b
c" text) WITH (fillfactor = 70);
CREATE UNLOGGED TABLE unlogged (b text) INHERITS ("ATTACH x");
CREATE TABLE typed OF pair (PRIMARY KEY (a));
CREATE TABLE one (many integer, "to" text);
CREATE TABLE parted (id integer NOT NULL, at date NOT NULL, note text DEFAULT 'x') PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (id);
CREATE TABLE parted_2_1 PARTITION OF parted_2 (note DEFAULT 'y') FOR VALUES IN (1, 2);
CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
CREATE INDEX parted_at ON parted (at);
ALTER TABLE parted ADD PRIMARY KEY (at, id);
CREATE UNIQUE INDEX "partial; one" ON "a b" (lower("Ünïcode ☕")) INCLUDE (own) WHERE pk > 1;
COMMENT ON INDEX "partial; one" IS 'i';
ALTER TABLE "a b" CLUSTER ON b_pkey;
ALTER TABLE "a b" REPLICA IDENTITY USING INDEX b_pkey;
CREATE STATISTICS correlated (dependencies) ON pk, own FROM "a b";
CREATE SEQUENCE counted AS smallint INCREMENT 5 CYCLE;
ALTER TABLE "line
break" ADD FOREIGN KEY (a) REFERENCES "a b" NOT VALID;

-- Views and rules, two of which depend on each other.
CREATE VIEW seen AS SELECT "x, (y", ';--'::text AS "s;" FROM "a b" WITH LOCAL CHECK OPTION;
ALTER VIEW seen ALTER COLUMN "s;" SET DEFAULT 'q';
CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM "a b" WITH NO DATA;
CREATE UNIQUE INDEX kept_n ON kept (n);
CREATE RULE "rule ; x" AS ON INSERT TO seen DO INSTEAD NOTHING;
CREATE VIEW grouped AS SELECT pk, "Ünïcode ☕", "x, (y" FROM "a b" GROUP BY "x, (y";
CREATE RECURSIVE VIEW counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 3;

-- Triggers, row level security, policies.
CREATE TRIGGER "before ; it" BEFORE UPDATE ON "a b" FOR EACH ROW WHEN (OLD.pk IS DISTINCT FROM NEW.pk) EXECUTE FUNCTION on_change('a''b');
ALTER TABLE "a b" DISABLE TRIGGER "before ; it";
CREATE TRIGGER on_parts AFTER INSERT ON parted FOR EACH ROW EXECUTE FUNCTION on_change();
ALTER TABLE "a b" ENABLE ROW LEVEL SECURITY;
ALTER TABLE one ENABLE ROW LEVEL SECURITY;
ALTER TABLE one FORCE ROW LEVEL SECURITY;
CREATE POLICY "own rows" ON "a b" AS RESTRICTIVE FOR SELECT TO PUBLIC USING ("Ünïcode ☕" = CURRENT_USER::text);
COMMENT ON POLICY "own rows" ON "a b" IS 'p';

-- Permissions.
GRANT SELECT ("x, (y"), UPDATE (pk) ON "a b" TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA "Odd; --x" TO pg_monitor WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA "Odd; --x" GRANT SELECT ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE pg_monitor IN SCHEMA "Odd; --x" GRANT SELECT ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- Objects that belong to no schema.
CREATE CAST (integer AS pair) WITH FUNCTION pair_of(integer) AS ASSIGNMENT;
CREATE FOREIGN DATA WRAPPER "wrap per" OPTIONS (debug 'true');
CREATE SERVER "far; away" TYPE 'x' VERSION '1' FOREIGN DATA WRAPPER "wrap per" OPTIONS (host 'h''h');
CREATE USER MAPPING FOR PUBLIC SERVER "far; away" OPTIONS (user 'u', password 'geheim''s');
CREATE FOREIGN TABLE far (a integer OPTIONS (column_name 'z'), b text) SERVER "far; away" OPTIONS (table_name 't;t');
GRANT USAGE ON FOREIGN SERVER "far; away" TO PUBLIC;
CREATE PUBLICATION "all of it" FOR TABLES IN SCHEMA "Odd; --x" WITH (publish = 'insert');
CREATE PUBLICATION some_of_it FOR TABLE one (many), ONLY "ATTACH x" WHERE (a > 1);
CREATE SUBSCRIPTION followed CONNECTION 'host=nowhere user=u password=geheim' PUBLICATION p WITH (connect = false, slot_name = NONE);
CREATE EVENT TRIGGER watching ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION on_command();
ALTER EVENT TRIGGER watching DISABLE;
CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE kept_otherwise (a integer) USING other;
CREATE LANGUAGE tongue HANDLER plpgsql_call_handler INLINE plpgsql_inline_handler VALIDATOR plpgsql_validator;
CREATE TRANSFORM FOR money LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal));
CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA "Odd; --x";
COMMENT ON EXTENSION pg_stat_statements IS 'another comment';
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem TO ''5MB''', current_database()); END $$;
DO $$ BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE %I SET "app.token" TO ''geheim''', CURRENT_USER, current_database()); END $$;
DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS ''the database''', current_database()); END $$;
