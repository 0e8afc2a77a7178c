//! Recompiles the crate if the migrations of outbox and inbox change, which are compiled in.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/events");
}
