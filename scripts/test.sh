#!/usr/bin/env bash
# Every check of the project, in the order in which a failure is cheapest: format, lints,
# documentation, then what needs an engine and images: unit and text tests, tests of services
# and of stacks. The engine is installed and started if need be, as is a browser.
#
#   ./dm test           everything
#   ./dm test --quick   only what needs no engine
set -euo pipefail
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
source scripts/build-environment.sh

quick=false
case ${1:-} in
    --quick) quick=true ;;
    '') ;;
    *) echo "usage: ./dm test [--quick]" >&2; exit 2 ;;
esac

timings=()
step() {
    local name=$1 began=$SECONDS
    shift
    printf '\n── %s\n' "$name"
    "$@"
    timings+=("$(printf '%5d s  %s' $((SECONDS - began)) "$name")")
}

# All of the workspace at once, always: cargo unifies the features of what it is asked to
# build, and compiles most dependencies again for another choice of packages.
dm=
build() {
    dm=$(cargo build --quiet --locked --workspace --all-targets \
        --message-format json-render-diagnostics \
        | sed -n '/"kind":\["bin"\].*"name":"dm".*"test":false}/s/.*"executable":"\([^"]*\)".*/\1/p')
    [[ -x $dm ]]
}
tests() {
    cargo test --locked --workspace --no-fail-fast "$@"
}
# The web apps are tested in Chromium. Debian keeps the browser and its driver at one version.
browser() {
    if command -v chromium > /dev/null && command -v chromedriver > /dev/null; then
        return
    fi
    local cause='this needs root and apt-get'
    if ((EUID == 0)) && command -v apt-get > /dev/null; then
        if apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
            --no-install-recommends chromium chromium-driver; then
            return
        fi
        cause='apt-get has failed'
    fi
    echo "could not install a browser: $cause; install the commands chromium and chromedriver," \
        'on Debian with: apt-get install chromium chromium-driver' >&2
    return 1
}

step 'format' cargo fmt --all --check
step 'lints' cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
step 'documentation' env RUSTDOCFLAGS='-D warnings' cargo doc --quiet --locked --workspace --no-deps
step 'build' build
if ! $quick; then
    # Both before the long steps, which would be in vain without an engine or a browser.
    step 'engine' "$dm" engine start --yes
    step 'browser' browser
fi
if $quick; then
    # Modules of this name start servers in containers.
    step 'unit and text tests' tests --quiet --lib --bins --test cli -- --skip server_tests
else
    # As the service tests want the services, so that they are compiled once.
    step 'images' env DM_IMAGES__FAIL_POINTS=true "$dm" images build --yes
    step 'unit and text tests' tests --quiet --lib --bins --test cli
    # They run a second engine beside the first, as root. Other ignored tests stay ignored.
    step 'engine tests' tests --quiet --lib -- --ignored managed_daemon
    step 'registry tests' tests --quiet --test images
    step 'golden images' "$dm" golden make
    step 'service tests' tests --quiet --test services
    printf '\nTimings so far:\n'
    printf '%s\n' "${timings[@]}"
    printf '\n── stack tests\n'
    # Last, so that the output ends with the runner's own summary.
    tests --test stack -- --test-threads 2
fi
