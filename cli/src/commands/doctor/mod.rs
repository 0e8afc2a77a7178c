//! `dm doctor`.

mod render;

use std::path::PathBuf;

use clap::Args;
use dm_core::error::{ExitStatus, Result};
use dm_doctor::{CheckStatus, bundle};
use dm_operations::doctor;

use crate::context::Context;

/// Check this machine and suggest fixes.
///
/// Exit code 1 if a check reports an error.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm doctor
  dm doctor --bundle
  dm doctor --bundle report.tar.zst")]
pub(crate) struct Arguments {
    /// Also write a diagnostics bundle, for a bug report.
    ///
    /// Passwords and tokens are redacted. The default file is dm-bundle-TIME.tar.zst in the
    /// current directory.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "absent, without a value, with one")]
    bundle: Option<Option<PathBuf>>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let run = doctor::examine(&context.session).await;
    let findings = run.findings();
    let printer = &context.printer;
    printer.print_result(
        &dm_core::document::DOCTOR,
        &render::DoctorDocument::new(findings),
        |canvas| render::render(findings, canvas),
    )?;
    if let Some(path) = arguments.bundle {
        let path = path.unwrap_or_else(|| bundle::default_path(chrono::Utc::now()));
        run.write_bundle(&path).await?;
        printer.done(&format!(
            "wrote {}; review it before you share it",
            path.display()
        ));
    }
    let has_error = findings
        .iter()
        .any(|finding| finding.status == CheckStatus::Error);
    Ok(if has_error {
        ExitStatus::Findings
    } else {
        ExitStatus::Success
    })
}
