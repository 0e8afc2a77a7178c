//! A lane is a list of tests that runs in a process and on an instance of its own. Two lanes run at
//! a time.
//!
//! Most tests change their stack, so that the tests of a lane run one after the other. While one
//! lane waits, the other uses the processors. Three lanes and the stack tests at the same time made
//! requests time out on two processors.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::{Mutex, PoisonError};

use libtest_mimic::{Arguments, Trial};

use crate::{faults, stack, timings};

/// Names the lane that a process runs. Without it, the process runs all lanes. `dm` warns about
/// unknown variables that begin with `DM_`.
const LANE_VARIABLE: &str = "SERVICES_TEST_LANE";

/// The tests of one instance.
pub(crate) struct Lane {
    /// The name of the instance.
    pub instance: &'static str,
    /// Returns the tests that may run at the same time. They come first.
    pub concurrent: fn() -> Vec<Trial>,
    /// Returns the tests that would disturb others. They run one after the other.
    pub exclusive: fn() -> Vec<Trial>,
}

impl Lane {
    fn trials(&self) -> impl Iterator<Item = Trial> {
        (self.concurrent)().into_iter().chain((self.exclusive)())
    }

    fn is_selected(&self, arguments: &Arguments) -> bool {
        self.trials()
            .any(|trial| !arguments.is_filtered_out(&trial))
    }

    /// Starts the stack, runs the tests and removes the stack. Returns whether all of it succeeded.
    fn run(&self, mut arguments: Arguments) -> bool {
        stack::begin(self.instance);
        let concurrent = libtest_mimic::run(&arguments, (self.concurrent)());
        arguments.test_threads = Some(1);
        let exclusive = libtest_mimic::run(&arguments, (self.exclusive)());
        faults::publish();
        timings::print(25);
        let is_removed = stack::end();
        !concurrent.has_failed() && !exclusive.has_failed() && is_removed
    }
}

/// Runs the selected tests of all lanes, or of the lane of [`LANE_VARIABLE`].
pub(crate) fn run(lanes: &[Lane]) -> ExitCode {
    let arguments = Arguments::from_args();
    if arguments.list {
        let all = lanes.iter().flat_map(Lane::trials).collect();
        return libtest_mimic::run(&arguments, all).exit_code();
    }
    let named = std::env::var(LANE_VARIABLE);
    #[cfg(target_os = "linux")]
    if named.is_ok() {
        // A lane must not go on without the process that reports it.
        let kill = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(kill).unwrap();
    }
    let is_wanted = |lane: &&Lane| match &named {
        Ok(name) => lane.instance == name,
        Err(_) => lane.is_selected(&arguments),
    };
    let mut wanted = lanes.iter().filter(is_wanted);
    // This process runs the first lane, so that a run of one test has its output at once.
    let Some(first) = wanted.next() else {
        return libtest_mimic::run(&arguments, Vec::new()).exit_code();
    };
    let others = Mutex::new(wanted.collect::<VecDeque<_>>());
    // Two lanes at a time: a thread starts the other lanes, one after the other, and so does this
    // one when its lane has ended.
    let run_others = || {
        let next = || {
            let mut others = others.lock().unwrap_or_else(PoisonError::into_inner);
            others.pop_front()
        };
        let mut have_passed = true;
        while let Some(lane) = next() {
            have_passed &= OtherLane::start(lane.instance).finish();
        }
        have_passed
    };
    let has_passed = std::thread::scope(|scope| {
        let thread = scope.spawn(run_others);
        let has_passed = first.run(arguments) & run_others();
        thread.join().unwrap() && has_passed
    });
    if has_passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A lane in another process. Its output goes to a file, so that it does not mix with that of
/// this process.
struct OtherLane {
    instance: &'static str,
    process: Child,
    output: PathBuf,
}

impl OtherLane {
    fn start(instance: &'static str) -> Self {
        let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{instance}.log"));
        let file = File::create(&output).unwrap();
        let process = Command::new(std::env::current_exe().unwrap())
            .args(std::env::args_os().skip(1))
            .env(LANE_VARIABLE, instance)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        eprintln!(
            "instance {instance} is tested meanwhile: {}",
            output.display()
        );
        Self {
            instance,
            process,
            output,
        }
    }

    /// Waits for the lane and prints its output. Returns whether all of it succeeded.
    fn finish(mut self) -> bool {
        let status = self.process.wait().unwrap();
        let output = std::fs::read(&self.output).unwrap();
        eprintln!(
            "\ntests of instance {}:\n{}",
            self.instance,
            String::from_utf8_lossy(&output)
        );
        status.success()
    }
}
