# The flags and the target of .cargo/config.toml, whatever the environment sets: another
# choice would compile every dependency again. Sourced by ./dm and scripts/test.sh.
export CARGO_ENCODED_RUSTFLAGS=-Ctarget-feature=+crt-static
export CARGO_BUILD_TARGET=host-tuple
