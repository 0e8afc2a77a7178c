//! How long each test took: a slow run says where its time went.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

static TIMINGS: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// A test whose duration is noted, whether it passes, fails or panics.
pub(crate) fn trial(
    name: &str,
    test: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let timing = name.to_owned();
    Trial::test(name, move || {
        let _timing = Timing(Instant::now(), timing);
        // The runner tells the reason at the end alone, which a run that is stopped never gets to.
        test().inspect_err(|failed| eprintln!("{}", failed.message().unwrap_or_default()))
    })
}

struct Timing(Instant, String);

impl Drop for Timing {
    fn drop(&mut self) {
        let timing = (self.0.elapsed(), std::mem::take(&mut self.1));
        let mut all = TIMINGS.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(timing);
    }
}

/// Prints the tests that took longest, with their seconds.
pub(crate) fn print(count: usize) {
    let mut all = TIMINGS.lock().unwrap_or_else(PoisonError::into_inner);
    all.sort_by(|one, other| other.cmp(one));
    eprintln!(
        "the {} slowest of {} tests:",
        count.min(all.len()),
        all.len()
    );
    for (took, name) in all.iter().take(count) {
        eprintln!("{:6.1} s  {name}", took.as_secs_f64());
    }
}
