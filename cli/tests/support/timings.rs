//! The durations of the tests. A run prints the slowest ones at its end.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

static TIMINGS: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// Makes a [`Trial`] of each of these functions. Its printed name is the name of the function, so
/// that the name in a failed run can be searched for in the sources.
macro_rules! trials {
    ($($test:path),+ $(,)?) => {
        vec![$($crate::timings::trial(stringify!($test), $test)),+]
    };
}
pub(crate) use trials;

/// Returns a test that is named after the last segment of `path`. Its duration is recorded even if
/// it fails or panics.
pub(crate) fn trial(
    path: &str,
    test: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let name = path.rsplit("::").next().unwrap_or(path).trim();
    let timing = name.to_owned();
    Trial::test(name, move || {
        let _timing = Timing(Instant::now(), timing);
        // The runner prints failures only at the end of the run. A run that is aborted would lose
        // them.
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

/// Prints the slowest tests with their durations in seconds.
pub(crate) fn print(count: usize) {
    let mut all = TIMINGS.lock().unwrap_or_else(PoisonError::into_inner);
    all.sort_by(|one, other| other.cmp(one));
    eprintln!(
        "the {} slowest of {} tests:",
        count.min(all.len()),
        all.len()
    );
    for (duration, name) in all.iter().take(count) {
        eprintln!("{:6.1} s  {name}", duration.as_secs_f64());
    }
}
