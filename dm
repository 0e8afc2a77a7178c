#!/usr/bin/env bash
# Builds the CLI when it is stale, then becomes it. `./dm test` runs every check.
set -euo pipefail

root=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
binary=${CARGO_TARGET_DIR:-$root/target}/debug/dm

if [[ ${1:-} == test ]]; then
    shift
    exec "$root/scripts/test.sh" "$@"
fi

stale() {
    [[ ! -x $binary ]] || [[ -n $(find "$root/Cargo.toml" "$root/Cargo.lock" "$root/cli/Cargo.toml" \
        "$root/cli/src" "$root/cli/images" "$root/services/contracts" -newer "$binary" -print -quit) ]]
}

if stale; then
    if ! command -v cargo > /dev/null; then
        echo "dm: cargo is needed to build dm; install Rust (rustup), then run this again" >&2
        exit 2
    fi
    echo "dm: building the command line tool (a few minutes the first time)" >&2
    cargo build --quiet --locked --manifest-path "$root/Cargo.toml" --package dm --bin dm >&2
    # cargo leaves the time stamp alone where the change made no difference.
    touch -- "$binary"
fi

export DM_PROJECT_DIR=${DM_PROJECT_DIR:-$root}
exec "$binary" "$@"
