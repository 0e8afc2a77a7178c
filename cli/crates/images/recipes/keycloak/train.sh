#!/bin/bash
# Brings the server up once while its image is built, against a database that is thrown away, and
# keeps two things of that first start, below the folder of the server:
#   aot/keycloak.aot      the ahead-of-time cache of the JVM (see docker-entrypoint.sh)
#   schema/keycloak.sql   the empty tables, as the server's own migrations leave them
# Whatever goes wrong here fails the build.
set -Eeuo pipefail

home=/opt/keycloak
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH

# Long enough for a busy machine: nothing but a hang is to be caught.
readonly patience=900

export PGOPTIONS='-c client_min_messages=warning'

scratch=$(mktemp -d)
chown postgres "$scratch"
chmod 0711 "$scratch"
log=$scratch/keycloak.log

fail() {
    printf 'training: %s\n' "$*" >&2
    tail -n 40 "$scratch"/*.log >&2 || true
    exit 1
}
trap 'fail "line $LINENO failed"' ERR

postgres() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }
sql() { postgres psql -X -q -h "$scratch" -d keycloak -v ON_ERROR_STOP=1 "$@"; }

# A request, whose answer has to be a good one: METHOD PATH [HEADER [BODY]]. Prints the answer.
request() {
    local status header="${3:-}" body="${4:-}"
    [[ -z $header ]] || header+=$'\r\n'
    exec 3<> /dev/tcp/127.0.0.1/8080 || return 1
    printf '%s %s HTTP/1.0\r\nHost: localhost:8080\r\nContent-Length: %d\r\n%s\r\n%s' \
        "$1" "$2" "${#body}" "$header" "$body" >&3
    read -r _ status _ <&3 || status=
    cat <&3
    exec 3>&-
    [[ $status == 20[0-9] ]]
}

get() { request GET "$1" > /dev/null; }

# The tables without a row, and Liquibase's own record. Not what depends on the server's version
# (search path, timeouts), on the day, or on rights beyond the schema's owner's.
dump() {
    {
        postgres pg_dump -h "$scratch" -d keycloak --schema=keycloak \
            --schema-only --no-owner --no-privileges
        postgres pg_dump -h "$scratch" -d keycloak --data-only --inserts \
            --table=keycloak.databasechangelog --table=keycloak.databasechangeloglock
    } | sed -E '/^(--|$|\\(un)?restrict |SET |SELECT pg_catalog\.set_config|CREATE SCHEMA )/d'
}

# With a password over TCP, as in the stack: the classes for that are to be in the cache.
postgres initdb -D "$scratch/data" --auth=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C \
    --no-sync > /dev/null
postgres pg_ctl -D "$scratch/data" -w -s -l "$scratch/postgres.log" \
    -o "-c fsync=off -c unix_socket_directories='$scratch'" start
postgres createdb -h "$scratch" keycloak
sql -c "CREATE ROLE keycloak LOGIN PASSWORD 'keycloak'" -c "CREATE SCHEMA keycloak AUTHORIZATION keycloak" \
    -c "ALTER ROLE keycloak SET search_path = keycloak"

install -o 1000 -g 0 "$(dirname -- "$0")/training-realm.json" "$home/data/import/"
# The variables and arguments of a usual start (see components/keycloak of dm).
DM_AOT=train KC_DB=postgres KC_DB_URL_HOST=127.0.0.1 KC_DB_URL_DATABASE=keycloak \
    KC_DB_SCHEMA=keycloak KC_DB_USERNAME=keycloak KC_DB_PASSWORD=keycloak \
    KC_BOOTSTRAP_ADMIN_USERNAME=training KC_BOOTSTRAP_ADMIN_PASSWORD=training \
    KC_HTTP_ENABLED=true KC_HOSTNAME_STRICT=false KC_CACHE=local \
    setpriv --reuid=1000 --regid=0 --clear-groups \
    "$home/bin/docker-entrypoint.sh" start --optimized --import-realm > "$log" 2>&1 &
server=$!

until get /realms/training/.well-known/openid-configuration 2> /dev/null; do
    kill -0 "$server" 2> /dev/null || fail 'the server ended before it was ready'
    ((SECONDS < patience)) || fail 'the server was not ready in time'
    sleep 0.1
done
# What every user who signs in requests.
console='client_id=security-admin-console&response_type=code&scope=openid'
console+='&redirect_uri=http://localhost:8080/admin/master/console/'
console+='&code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
get "/realms/master/protocol/openid-connect/auth?$console" || fail 'there is no page to sign in'
get /realms/training/protocol/openid-connect/certs || fail 'there are no keys'

# What dm asks for: the realm as a file, and that what was read of the database is forgotten.
token=$(request POST /realms/master/protocol/openid-connect/token \
    'Content-Type: application/x-www-form-urlencoded' \
    'grant_type=password&client_id=admin-cli&username=training&password=training' |
    sed -En 's/.*"access_token":"([^"]+)".*/\1/p')
[[ -n $token ]] || fail 'the administrator could not sign in'
export='training/partial-export?exportClients=true&exportGroupsAndRoles=true'
for path in "$export" training/logout-all master/clear-{user,keys,realm}-cache; do
    request POST "/admin/realms/$path" "Authorization: Bearer $token" > /dev/null ||
        fail "the administrator could not have $path"
done

# A graceful stop, at whose end the cache is written. The exit code is that of the signal.
kill -TERM "$server"
wait "$server" || [[ $? == 143 ]] || fail 'the server did not stop gracefully'
[[ -s $home/aot/keycloak.aot ]] || fail 'no ahead-of-time cache was written'

mkdir "$home/schema"
sql <<'END'
-- The same file from every build: no times, and rows in order.
CREATE TEMPORARY TABLE log AS TABLE keycloak.databasechangelog;
UPDATE log SET dateexecuted = 'epoch', deployment_id = '0';
CREATE TEMPORARY TABLE locks AS TABLE keycloak.databasechangeloglock;
TRUNCATE keycloak.databasechangelog, keycloak.databasechangeloglock;
INSERT INTO keycloak.databasechangelog SELECT * FROM log ORDER BY orderexecuted, id;
INSERT INTO keycloak.databasechangeloglock SELECT * FROM locks ORDER BY id;
END
dump > "$home/schema/keycloak.sql"
# Does it lead to the same tables?
sql -c "DROP SCHEMA keycloak CASCADE" -c "CREATE SCHEMA keycloak AUTHORIZATION keycloak"
sql --single-transaction -U keycloak -f "$home/schema/keycloak.sql" > /dev/null
dump | diff - "$home/schema/keycloak.sql" >&2 || fail 'the recorded schema does not lead to itself'
chown -R 1000:0 "$home/schema"

postgres pg_ctl -D "$scratch/data" -w -s -m immediate stop
rm -rf "$scratch"
