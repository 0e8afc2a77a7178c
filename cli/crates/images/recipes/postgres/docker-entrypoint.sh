#!/bin/bash
# Start PostgreSQL as the official image does: same variables, same paths, same arguments.
#
# The first start builds the cluster in $PGDATA/.initialising and moves it up entry by entry,
# PG_VERSION last. So PG_VERSION at the top of $PGDATA means "complete", whenever the container
# is killed; a start that finds none, but finds .initialising, throws the remains away and begins
# again. Anything else without PG_VERSION is the user's data and is not touched.
set -Eeuo pipefail

readonly staging="$PGDATA/.initialising"

# A golden image holds a complete cluster here. It is copied instead of made: the engine would fill
# a new volume from the image's content at $PGDATA by itself, but takes ten times as long.
readonly golden=/var/lib/dm-golden/pgdata

# A reset of the stack has the cluster begin anew at the next start: `docker-entrypoint.sh
# begin-anew`, while the server still runs, lays a copy of the golden one ready and leaves a file
# that marks it. The file goes when the new cluster is in its place; a start that is killed before
# begins again. What was there goes beside the server that runs: that takes longer than its start.
readonly anew="$PGDATA/.begin-anew" prepared="$PGDATA/.prepared" discarded="$PGDATA/.discarded"

# The first process of a container ignores every signal that it has no handler for: without this a
# stop in the middle of an initialisation would take until the kill.
trap 'exit 130' INT TERM

fail() {
    printf 'postgres entrypoint: %s\n' "$*" >&2
    exit 1
}

# VAR, or the content of the file that VAR_FILE names.
setting() {
    local name="$1" file="$1_FILE"
    if [[ -n "${!file:-}" ]]; then
        [[ -z "${!name:-}" ]] || fail "both $name and $file are set"
        cat -- "${!file}"
    else
        printf '%s' "${!name:-$2}"
    fi
}

# psql against the initialisation server, which listens on its socket only.
run_sql() {
    psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 --no-password --username "$POSTGRES_USER" "$@"
}

begin_anew() {
    [[ -s "$golden/PG_VERSION" ]] || fail 'this image has no golden cluster'
    rm -rf -- "$prepared"
    cp -a -- "$golden" "$prepared"
    sync -f "$prepared"
    touch "$anew"
}

run_init_scripts() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh)
                printf 'postgres entrypoint: running %s\n' "$file"
                if [[ -x "$file" ]]; then "$file"; else . "$file"; fi ;;
            *.sql)
                printf 'postgres entrypoint: running %s\n' "$file"
                run_sql --dbname "$POSTGRES_DB" --file "$file" ;;
            *.sql.gz)
                printf 'postgres entrypoint: running %s\n' "$file"
                gunzip -c "$file" | run_sql --dbname "$POSTGRES_DB" ;;
            *) printf 'postgres entrypoint: ignoring %s\n' "$file" ;;
        esac
    done
}

# Moves what is in $staging up, PG_VERSION last.
complete() {
    # The data must be on disk before the entry that declares it complete.
    [[ "${POSTGRES_INITDB_ARGS:-}" == *--no-sync* ]] || sync -f "$staging"
    find "$staging" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" -- {} +
    mv -- "$staging/PG_VERSION" "$PGDATA/PG_VERSION"
    rmdir -- "$staging"
}

initialise() {
    if [[ -s "$golden/PG_VERSION" ]]; then
        cp -a -- "$golden" "$staging"
        complete
        return
    fi
    POSTGRES_USER="$(setting POSTGRES_USER postgres)"
    POSTGRES_DB="$(setting POSTGRES_DB "$POSTGRES_USER")"
    POSTGRES_PASSWORD="$(setting POSTGRES_PASSWORD '')"
    POSTGRES_INITDB_ARGS="${POSTGRES_INITDB_ARGS:-}"
    local auth="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}"
    [[ -n "$POSTGRES_PASSWORD" || "$auth" == trust ]] || fail \
        'the database is not initialised and POSTGRES_PASSWORD is empty: set it for the first start'
    export POSTGRES_USER POSTGRES_DB PGPASSWORD="$POSTGRES_PASSWORD"

    mkdir -m 0700 "$staging"
    # The builtin provider needs no operating system locale, sorts alike everywhere and never
    # changes with a library upgrade. Written out once at the end instead of file by file.
    eval 'initdb --pgdata="$staging" --username="$POSTGRES_USER" \
        --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") \
        --encoding=UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C.UTF-8 \
        --auth=trust --no-sync --no-instructions '"$POSTGRES_INITDB_ARGS"
    printf '\nhost all all all %s\n' "$auth" >> "$staging/pg_hba.conf"

    if [[ "$POSTGRES_DB" != postgres ]]; then
        # Single-user mode: no server to start and stop for one statement.
        printf 'CREATE DATABASE "%s"\n' "${POSTGRES_DB//\"/\"\"}" |
            postgres --single -D "$staging" -c fsync=off template1 > /dev/null
    fi
    if compgen -G '/docker-entrypoint-initdb.d/*' > /dev/null; then
        # Socket only, so that no client takes this server for the real one.
        PGDATA="$staging" pg_ctl --wait --silent -o "-c listen_addresses='' -c fsync=off $*" start
        PGHOST=/var/run/postgresql run_init_scripts
        PGDATA="$staging" pg_ctl --wait --silent --mode=fast stop
    fi
    unset PGPASSWORD

    complete
}

if [[ "${1:-}" == begin-anew ]]; then
    begin_anew
    exit
fi
# Options alone are options of the server.
[[ "${1:-}" == -* ]] && set -- postgres "$@"
[[ "${1:-}" == postgres ]] || exec "$@"

if [[ "$(id -u)" == 0 ]]; then
    mkdir -p "$PGDATA"
    find "$PGDATA" ! -user postgres -exec chown -h postgres:postgres {} +
    chmod 0700 "$PGDATA"
    find /var/run/postgresql -maxdepth 0 ! -user postgres -exec chown postgres:postgres {} +
    exec setpriv --reuid=postgres --regid=postgres --init-groups --no-new-privs -- "$BASH_SOURCE" "$@"
fi

if [[ -e "$anew" ]]; then
    mkdir -p -- "$discarded"
    pile="$(mktemp -d -- "$discarded/XXXXXX")"
    find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name lost+found \
        ! -path "$anew" ! -path "$prepared" ! -path "$discarded" -exec mv -t "$pile" -- {} +
    cp -al -- "$prepared" "$staging"
    complete
    rm -- "$anew"
    mv -t "$pile" -- "$prepared"
elif [[ -s "$PGDATA/PG_VERSION" ]]; then
    # Killed after the last move: the empty directory is all that is left to clear.
    [[ ! -d "$staging" ]] || rmdir -- "$staging"
elif [[ -d "$staging" ]]; then
    printf 'postgres entrypoint: an initialisation was interrupted, beginning again\n'
    find "$PGDATA" -mindepth 1 -delete
    initialise "${@:2}"
elif [[ -z "$(find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name lost+found -print -quit)" ]]; then
    initialise "${@:2}"
else
    fail "$PGDATA holds files but no PG_VERSION: not an empty directory and not a cluster; left as it is"
fi

if [[ -d "$discarded" ]]; then
    (rm -rf -- "$discarded" || true) &
fi
exec "$@"
