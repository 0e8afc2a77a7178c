-- Schema public, as `dm schema snapshot` wrote it. psql takes it, after the roles are there.

--: ACL: SCHEMA public
REVOKE USAGE ON SCHEMA public FROM PUBLIC;
