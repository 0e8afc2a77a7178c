//! The log of a test.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::Level;
use tracing::subscriber::DefaultGuard;

/// Captures the log lines of this thread until the value is dropped.
///
/// A call site that another thread reaches first, without a subscriber, stays disabled. Other
/// tests therefore must not write the lines that a test expects, unless they capture them too.
pub(crate) struct CapturedLog {
    written: Written,
    _subscriber: DefaultGuard,
}

impl CapturedLog {
    /// Starts capturing lines of level `debug` and above.
    pub(crate) fn start() -> Self {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(Level::DEBUG)
            .with_writer(move || writer.clone())
            .finish();
        Self {
            written,
            _subscriber: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Returns the lines since the start.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let written = self.written.0.lock().unwrap();
        serde_json::Deserializer::from_slice(&written)
            .into_iter()
            .map(Result::unwrap)
            .collect()
    }
}

/// Lines in memory.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
