#!/usr/bin/env bash
# Builds the CLI when it is stale, then becomes it. `./dm test` runs every check.
set -euo pipefail

# By way of links, from any folder, whatever CDPATH says.
self=$(readlink -f -- "${BASH_SOURCE[0]}")
root=${self%/*}

# As cargo would, but from any folder the same; and cargo can't build below a colon.
target=${CARGO_TARGET_DIR:-target}
[[ $target == /* ]] || target=$root/$target
if [[ $target == *:* ]]; then
    cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}
    target=$cache/dm/target-$(printf '%s' "$root" | cksum | tr -d ' ')
fi
if [[ -n ${CARGO_TARGET_DIR:-} || $target != "$root/target" ]]; then
    export CARGO_TARGET_DIR=$target
fi

if [[ ${1:-} == test ]]; then
    shift
    exec "$root/scripts/test.sh" "$@"
fi

# The clone that was built last, and where cargo put the program.
stamp=$target/.dm-built

# True where the program is there and nothing that it is made of is newer.
is_built() {
    local of
    [[ -f $stamp ]] || return 1
    { IFS= read -r of && IFS= read -r binary; } < "$stamp" || return 1
    [[ $of == "$root" && -f $binary && -s $binary && -x $binary ]] || return 1
    [[ -z $(find "$root/Cargo.toml" "$root/Cargo.lock" "$root/.cargo/config.toml" \
        "$root/cli/Cargo.toml" "$root/cli/src" \
        "$root/cli/crates" "$root/services/amqp" "$root/services/contracts" \
        "$root/fixtures/demo/avatars/jhalpert.png" \
        -newer "$stamp" -print -quit 2> /dev/null) ]]
}

# Reads what cargo writes for people: shows its progress bar as one line on a terminal, and
# passes on all but the names of what is compiled.
show_progress() {
    local part line bar shown=
    while IFS= read -r -d $'\r' part || [[ -n $part ]]; do
        while IFS= read -r line; do
            case $line in
                *'Building ['*'] '*/*)
                    bar=${line##*'] '}
                    [[ -t 2 && $bar =~ ^([0-9]+)/([0-9]+) ]] || continue
                    printf '\r\033[Kdm: compiling %s of %s' "${BASH_REMATCH[@]:1}" >&2
                    shown=yes
                    ;;
                '' | *' Compiling '* | *' Finished '* | *' Downloading '* | *' Downloaded '*) ;;
                *)
                    [[ -z $shown ]] || printf '\r\033[K' >&2
                    shown=
                    printf '%s\n' "$line" >&2
                    ;;
            esac
        done <<< "$part"
    done
    [[ -z $shown ]] || printf '\r\033[K' >&2
}

build() {
    if ! command -v cargo > /dev/null; then
        echo "dm: cargo is needed to build dm; install Rust (rustup), then run this again" >&2
        exit 2
    fi
    # For a fresh clone, also the services, which `dm up` needs next: one run of cargo. One that
    # does not compile is no reason to go without dm, which says more about it. Later dm alone,
    # which compiles the services where they are needed. The first `dm bench` compiles the
    # benchmarks.
    local programs=(--bin dm)
    if [[ -f $stamp ]]; then
        echo "dm: building dm" >&2
    else
        programs=(--bins)
        echo "dm: building dm and the services (some minutes the first time)" >&2
    fi
    mkdir -p -- "$target"
    # What changes during the build makes the program stale: the time is that of now.
    began=$(mktemp -- "$target/.dm-began.XXXXXX")
    trap 'rm -f -- "$began" "$began.new"' EXIT
    # Cargo says where the program is.
    binary=$(
        source "$root/scripts/build-environment.sh"
        export CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=80
        { cargo build --locked --keep-going --workspace --exclude dm-bench "${programs[@]}" \
            --manifest-path "$root/Cargo.toml" \
            --message-format json-render-diagnostics 2>&1 >&3 | show_progress; } 3>&1 \
            | sed -n '/"name":"dm"/s/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
    ) || true
    if [[ ! -x $binary ]]; then
        echo "dm: could not build dm: see cargo's message above" >&2
        echo "dm: it needs cargo and rustc 1.95 or later; rustup installs both" >&2
        exit 2
    fi
    printf '%s\n' "$root" "$binary" > "$began.new"
    touch -r "$began" -- "$began.new"
    mv -f -- "$began.new" "$stamp"
    rm -f -- "$began"
}

is_built || build

export DM_PROJECT_DIR=${DM_PROJECT_DIR:-$root}
exec "$binary" "$@"
