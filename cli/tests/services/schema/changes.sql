-- One change of each kind of object in objects.sql. The line before each change is the difference
-- that `dm schema diff` must report for it. It must report no other difference.
SET search_path = "Odd; --x", public;

--> TYPE: mood
ALTER TYPE mood ADD VALUE 'new';
--> COMMENT: TYPE mood
COMMENT ON TYPE mood IS '$$ \\ $_$';
--> TYPE: pair
ALTER TYPE pair ADD ATTRIBUTE d text CASCADE;
--> DOMAIN: positive
ALTER DOMAIN positive SET DEFAULT 2;
--> FUNCTION: body()
CREATE OR REPLACE FUNCTION body() RETURNS void LANGUAGE plpgsql AS $body$
BEGIN
  -- Name: hello; Type: TABLE; Schema: public; Owner: x
--
-- Name: hello; Type: TABLE; Schema: public; Owner: x
--
--: TABLE: hello
/*
SET default_tablespace = '';
\bar
*/
  EXECUTE $$ SELECT $_$ a ' " $_$ $$;



  -- three blank lines above
END;
$body$;
--> FUNCTION: overloaded(text)
CREATE OR REPLACE FUNCTION overloaded(text) RETURNS integer LANGUAGE sql AS 'SELECT 3';
--> FUNCTION: carriage()
CREATE OR REPLACE FUNCTION carriage() RETURNS text LANGUAGE sql AS E'SELECT ''a\nb\tc  ''::text -- end  \n\n';
--> FUNCTION: atomic(integer)
CREATE OR REPLACE FUNCTION atomic(a integer) RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT a; SELECT a + 2; END;
--> FUNCTION: line\nbreak;(integer, text[])
ALTER FUNCTION "line
break;" OWNER TO pg_monitor;
--> PROCEDURE: proceed()
ALTER PROCEDURE proceed() SECURITY DEFINER;
--> AGGREGATE: total(integer)
CREATE OR REPLACE AGGREGATE total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '1');
--> ACL: FUNCTION body()
GRANT EXECUTE ON FUNCTION body() TO pg_monitor;
--> OPERATOR: <-> (bigint, bigint)
ALTER OPERATOR <-> (bigint, bigint) OWNER TO pg_monitor;
--> OPERATOR CLASS: same_name USING hash
ALTER OPERATOR CLASS same_name USING hash OWNER TO pg_monitor;
--> OPERATOR FAMILY: family USING btree
ALTER OPERATOR FAMILY family USING btree OWNER TO pg_monitor;
--> CONVERSION: latin
ALTER CONVERSION latin OWNER TO pg_monitor;
--> COLLATION: plain_order
ALTER COLLATION plain_order OWNER TO pg_monitor;
--> TEXT SEARCH DICTIONARY: dictionary
ALTER TEXT SEARCH DICTIONARY dictionary (StopWords = english);
--> TEXT SEARCH CONFIGURATION: configuration
ALTER TEXT SEARCH CONFIGURATION configuration ADD MAPPING FOR numword WITH dictionary;
--> TEXT SEARCH PARSER: other_parser
CREATE TEXT SEARCH PARSER other_parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
--> TABLE: a b
ALTER TABLE "a b" ALTER COLUMN pk SET STATISTICS 200;
--> DEFAULT: a b own
ALTER TABLE "a b" ALTER COLUMN own SET DEFAULT 7;
--> COMMENT: COLUMN "a b"."x, (y"
COMMENT ON COLUMN "a b"."x, (y" IS 'zz';
--> SEQUENCE: a b_x, (y_seq
ALTER TABLE "a b" ALTER COLUMN "x, (y" SET INCREMENT BY 3;
--> SEQUENCE: counted
ALTER SEQUENCE counted NO CYCLE;
--> CONSTRAINT: a b excluded
ALTER TABLE "a b" DROP CONSTRAINT excluded;
--> INDEX: partial; one
DROP INDEX "partial; one";
CREATE UNIQUE INDEX "partial; one" ON "a b" (lower("Ünïcode ☕")) INCLUDE (own) WHERE pk > 2;
COMMENT ON INDEX "partial; one" IS 'i';
--> TABLE: line\nbreak
ALTER TABLE "line
break" SET (fillfactor = 80);
--> FK CONSTRAINT: line\nbreak line\nbreak_a_fkey1
ALTER TABLE "line
break" VALIDATE CONSTRAINT "line
break_a_fkey1";
--> TABLE ATTACH: parted_rest
--> INDEX ATTACH: parted_rest_at_idx
--> INDEX ATTACH: parted_rest_pkey
ALTER TABLE parted DETACH PARTITION parted_rest;
--> STATISTICS: correlated
ALTER STATISTICS correlated SET STATISTICS 50;
--> VIEW: seen
ALTER VIEW seen RESET (check_option);
--> DEFAULT: seen s;
ALTER VIEW seen ALTER COLUMN "s;" SET DEFAULT 'r';
--> RULE: seen rule ; x
CREATE OR REPLACE RULE "rule ; x" AS ON INSERT TO seen DO INSTEAD SELECT 1;
--> MATERIALIZED VIEW: kept
ALTER MATERIALIZED VIEW kept SET (fillfactor = 80);
--> RULE: grouped _RETURN
CREATE OR REPLACE VIEW grouped AS SELECT pk, "Ünïcode ☕", "x, (y" FROM "a b" GROUP BY "x, (y" HAVING count(*) > 1;
--> TRIGGER: a b before ; it
ALTER TABLE "a b" ENABLE TRIGGER "before ; it";
--> ROW SECURITY: a b
ALTER TABLE "a b" DISABLE ROW LEVEL SECURITY;
--> POLICY: a b own rows
ALTER POLICY "own rows" ON "a b" USING (true);
--> TABLE: one
ALTER TABLE one NO FORCE ROW LEVEL SECURITY;
--> ACL: TABLE one
GRANT INSERT ON one TO pg_monitor;
--> TABLE: kept_otherwise
ALTER TABLE kept_otherwise SET ACCESS METHOD heap;
--> FOREIGN TABLE: far
ALTER FOREIGN TABLE far OPTIONS (SET table_name 'u');
--> DEFAULT ACL: DEFAULT PRIVILEGES FOR TABLES OF pg_monitor
ALTER DEFAULT PRIVILEGES FOR ROLE pg_monitor IN SCHEMA "Odd; --x" GRANT INSERT ON TABLES TO PUBLIC;
--> COMMENT: SCHEMA "Odd; --x"
COMMENT ON SCHEMA "Odd; --x" IS 'another';
--> PUBLICATION TABLE: some_of_it one
ALTER PUBLICATION some_of_it DROP TABLE one;
--> CAST: CAST (integer AS "Odd; --x".pair)
DROP CAST (integer AS pair);
CREATE CAST (integer AS pair) WITH FUNCTION pair_of(integer);
--> FOREIGN DATA WRAPPER: wrap per
ALTER FOREIGN DATA WRAPPER "wrap per" OPTIONS (SET debug 'false');
--> SERVER: far; away
ALTER SERVER "far; away" VERSION '2';
--> USER MAPPING: USER MAPPING public SERVER far; away
ALTER USER MAPPING FOR PUBLIC SERVER "far; away" OPTIONS (SET user 'v');
--> PUBLICATION: some_of_it
ALTER PUBLICATION some_of_it SET (publish = 'insert');
--> SUBSCRIPTION: followed
ALTER SUBSCRIPTION followed SET (synchronous_commit = 'on');
--> EVENT TRIGGER: watching
ALTER EVENT TRIGGER watching ENABLE;
--> PROCEDURAL LANGUAGE: tongue
ALTER LANGUAGE tongue OWNER TO pg_monitor;
--> TRANSFORM: TRANSFORM FOR money LANGUAGE sql
DROP TRANSFORM FOR money LANGUAGE sql;
--> COMMENT: EXTENSION pg_stat_statements
COMMENT ON EXTENSION pg_stat_statements IS 'changed';
--> DATABASE PROPERTIES: DATABASE
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem TO ''6MB''', current_database()); END $$;
--> COMMENT: DATABASE
DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS ''changed''', current_database()); END $$;
--> ACL: DATABASE
DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO pg_monitor', current_database()); END $$;
