//! The user's browser.

use std::process::{Command, Stdio};

/// Opens an address in the browser. Returns whether a browser was started.
#[must_use]
pub fn open_url(address: &str) -> bool {
    let openers: &[&str] = if cfg!(target_os = "macos") {
        &["open"]
    } else {
        &["xdg-open", "wslview", "sensible-browser"]
    };
    let graphical = cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"]
            .iter()
            .any(|name| std::env::var_os(name).is_some());
    graphical
        && openers.iter().any(|opener| {
            Command::new(opener)
                .arg(address)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .is_ok()
        })
}
