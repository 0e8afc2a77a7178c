-- How much of a set was restored: one schema, or all of it where there is none. Only all of
-- it can be cut short: a schema is replaced in the transaction that writes its row.
ALTER TABLE restores ADD COLUMN schema_name text;
