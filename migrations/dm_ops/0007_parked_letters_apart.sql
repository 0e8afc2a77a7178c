-- Letters can be alike to the last byte and are still as many as they are: each parked one
-- has a row of its own.
ALTER TABLE parked_letters DROP CONSTRAINT parked_letters_pkey;
ALTER TABLE parked_letters
    ADD COLUMN parked_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Null while it may still be among the dead letters: it is written first.
    ADD COLUMN removed_at timestamptz,
    -- Since when it may be among them again: it is deleted last.
    ADD COLUMN leaving_at timestamptz,
    -- As text, because jsonb takes no U+0000.
    ALTER COLUMN letter TYPE text;
CREATE INDEX parked_letters_fingerprint ON parked_letters (fingerprint);
