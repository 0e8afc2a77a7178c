CREATE TABLE user_profiles (
    user_id               text PRIMARY KEY,
    full_name             text NOT NULL,
    email                 text NOT NULL,
    title                 text NOT NULL DEFAULT '',
    phone                 text NOT NULL DEFAULT '',
    default_app           text NOT NULL
        CHECK (default_app IN ('PORTAL', 'INFINITY', 'WAREHOUSE_MOBILE', 'ACCOUNTING')),
    notifications_enabled boolean NOT NULL DEFAULT true,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL
);

CREATE INDEX user_profiles_updated ON user_profiles (updated_at DESC);
