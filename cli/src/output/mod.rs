//! What each command shows, as pure functions of a value and a [`Canvas`](dm_terminal::Canvas).

pub mod backup;
pub mod bench;
pub mod bench_services;
pub mod ci;
pub mod comparison;
pub mod config;
pub mod dev;
pub mod dlq;
pub mod doctor;
pub mod engine;
pub mod events;
pub mod failure;
pub mod images;
pub mod inbox;
pub mod logs;
pub mod outbox;
pub mod plan;
pub mod progress;
pub mod reconcile;
pub mod retention;
pub mod schema;
pub mod seed;
pub mod smoke;
pub mod status;
pub mod timings;
