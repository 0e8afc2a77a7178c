//! Servers for tests. A process of tests starts the servers that it needs, in containers that
//! end with the process. Each test has a database or virtual host of its own.
//!
//! The modules of tests that need a server are called `server_tests`, so that
//! `./dm test --quick`, which needs no engine, can exclude them by name.

mod postgres;
mod rabbitmq;
mod server;
mod statements;

pub use postgres::create_database;
pub use rabbitmq::{VirtualHost, create_virtual_host};
pub use statements::{assert_error_code, set_lock_timeout};
