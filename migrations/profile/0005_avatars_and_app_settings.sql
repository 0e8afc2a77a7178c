-- Uploaded avatars, as they are served. Neither table refers to user_profiles: a user can upload
-- an avatar before the profile was first read.
CREATE TABLE avatars (
    user_id    text PRIMARY KEY,
    png        bytea NOT NULL CHECK (octet_length(png) BETWEEN 1 AND 1048576),
    -- The entity tag of the image.
    etag       text NOT NULL GENERATED ALWAYS AS (encode(sha256(png), 'hex')) STORED,
    updated_at timestamptz NOT NULL
);

-- Settings that the apps keep for a user.
CREATE TABLE app_settings (
    user_id    text NOT NULL,
    app        text NOT NULL
        CHECK (app IN ('PORTAL', 'INFINITY', 'WAREHOUSE_MOBILE', 'ACCOUNTING')),
    -- Each save adds 1. No row is version 0.
    version    bigint NOT NULL CHECK (version > 0),
    -- The text that the service wrote. jsonb would write its numbers anew.
    settings   json NOT NULL CHECK (json_typeof(settings) = 'object'),
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, app)
);
