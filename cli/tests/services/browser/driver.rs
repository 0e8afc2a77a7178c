//! A headless Chromium and its chromedriver, for one test.

use std::env;
use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use thirtyfour::{
    ChromeCapabilities, ChromiumLikeCapabilities as _, LoggingPrefsLogLevel, WebDriver,
};

use super::super::stack::client;
use super::page::Page;

/// The arguments of the browser, beside the directory of its profile.
const ARGUMENTS: [&str; 9] = [
    "--headless=new",
    // The tests may run as root, in a container with a small /dev/shm.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--force-prefers-reduced-motion",
    "--lang=en-US",
    "--window-size=1280,900",
];

/// A browser with an empty profile. It ends when it is dropped.
pub(super) struct Browser {
    /// Dropped first: chromedriver ends the browser.
    driver: WebDriver,
    _process: Chromedriver,
    /// Dropped last: the browser writes to it.
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser.
    ///
    /// # Errors
    /// Returns the packages to install if a program is missing.
    pub(super) async fn start() -> Result<Self, Failed> {
        let process = Chromedriver::start()?;
        let profile = tempfile::tempdir()?;
        // Chromedriver knows Chromium under this name, too.
        let mut capabilities = ChromeCapabilities::new();
        capabilities.set_binary(&find_program("chromium")?.to_string_lossy())?;
        for argument in ARGUMENTS {
            capabilities.add_arg(argument)?;
        }
        capabilities.add_arg(&format!("--user-data-dir={}", profile.path().display()))?;
        capabilities.set_browser_log_level(LoggingPrefsLogLevel::All)?;
        let url = format!("http://127.0.0.1:{}", process.port);
        let driver = WebDriver::builder(url, capabilities)
            .client(client())
            .await?;
        Ok(Self {
            driver,
            _process: process,
            _profile: profile,
        })
    }

    /// Returns the page in the window of the browser.
    pub(super) fn page(&self) -> Page {
        Page::new(self.driver.clone())
    }

    /// Ends the browser. This is the same as dropping it, but does not block the thread.
    pub(super) async fn quit(self) -> Result<(), Failed> {
        Ok(self.driver.quit().await?)
    }
}

/// A running chromedriver, in a process group with its browser.
struct Chromedriver {
    process: Child,
    port: u16,
    /// The pipe stays open: chromedriver may write more.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Chromedriver {
    /// Starts chromedriver on a port that it chooses.
    fn start() -> Result<Self, Failed> {
        let mut process = Command::new(find_program("chromedriver")?)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = output.by_ref().find_map(|line| parse_port(&line.ok()?));
        // Also without a port: dropping it ends the process.
        let started = Self {
            process,
            port: port.unwrap_or_default(),
            _output: output,
        };
        port.ok_or("chromedriver ended before it listened")?;
        Ok(started)
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        let _ = self.process.wait();
    }
}

/// Returns the port in the line `ChromeDriver was started successfully on port 39547.`
fn parse_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_once("started successfully on port ")?;
    port.trim_end_matches('.').parse().ok()
}

/// Returns the path of a program in `PATH`.
fn find_program(name: &str) -> Result<PathBuf, Failed> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    found.ok_or_else(|| {
        format!(
            "could not start a browser: there is no `{name}` in PATH; install Chromium and its \
             driver, on Debian with `apt-get install chromium chromium-driver`"
        )
        .into()
    })
}
