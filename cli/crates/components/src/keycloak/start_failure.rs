//! Diagnoses a failed start from Keycloak's log. Keycloak exits with code 0 nevertheless, and
//! its last line only suggests `--verbose`.

use std::path::Path;

use crate::Misconfiguration;

/// The text in the log of every failed start.
const START_FAILED: &str = "ERROR: Failed to start server";

/// Reasons that are less specific than their causes.
const GENERIC_REASONS: [&str; 4] = [
    "Failed to start server",
    "Failed to run import",
    "Failed to obtain JDBC connection",
    "For more details",
];

/// The maximum length of a reason: Jackson lists all known fields.
const MAX_REASON_CHARS: usize = 200;

/// Returns the misconfiguration that the log reports, if any.
pub(super) fn diagnose(log: &[String], realm_file: &Path) -> Option<Misconfiguration> {
    let failed = log.iter().rposition(|line| line.contains(START_FAILED))?;
    let (before, after) = log.split_at(failed);
    // Since the last start: the log of a restarted container contains the earlier ones.
    let start = before
        .iter()
        .rposition(|line| line.contains("Profile prod activated"));
    let before = &before[start.unwrap_or_default()..];
    let reason = after.iter().rev().find_map(|line| parse_reason(line));
    if reason
        .as_ref()
        .is_some_and(|reason| reason.contains("password authentication failed"))
    {
        return Some(Misconfiguration {
            problem: "PostgreSQL rejects the password of Keycloak (keycloak.database_password)"
                .into(),
            suggestions: vec!["set the password of the role again: dm up".into()],
        });
    }
    let is_import = |line: &String| {
        line.contains("Importing from directory") || line.contains("importing from file")
    };
    if before.iter().any(is_import) {
        let file = realm_file.display();
        let reason = reason.unwrap_or_else(|| "no reason logged".into());
        return Some(Misconfiguration {
            problem: format!("Keycloak could not import {file} (keycloak.realm_file): {reason}"),
            suggestions: vec![format!("correct {file}, then: dm up")],
        });
    }
    Some(Misconfiguration {
        problem: format!("Keycloak could not start: {}", reason?),
        suggestions: Vec::new(),
    })
}

/// Returns the specific reason in a line, if it contains one.
fn parse_reason(line: &str) -> Option<String> {
    let (_, reason) = line.split_once("ERROR: ")?;
    if GENERIC_REASONS
        .iter()
        .any(|generic| reason.contains(generic))
    {
        return None;
    }
    let reason = reason.split(" (class ").next().unwrap_or(reason);
    Some(reason.chars().take(MAX_REASON_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(lines: &[&str]) -> Option<String> {
        let log: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        diagnose(&log, Path::new("realm.json")).map(|misconfiguration| misconfiguration.problem)
    }

    #[test]
    fn diagnose_reports_the_reason_of_a_failed_start() {
        let failed = "E ERROR: Failed to start server in (production) mode";
        let details = "E ERROR: For more details run the same command passing '--verbose'";
        let import = "I Importing from directory /opt/keycloak/data/import";
        assert_eq!(
            problem(&[
                "E at org.postgresql.Driver.connect",
                failed,
                "E ERROR: Failed to obtain JDBC connection",
                "E ERROR: FATAL: password authentication failed for user \"keycloak\"",
                details,
            ])
            .unwrap(),
            "PostgreSQL rejects the password of Keycloak (keycloak.database_password)"
        );
        assert_eq!(
            problem(&[
                import,
                failed,
                "E ERROR: Failed to run import",
                "E ERROR: Unrecognized field \"x\" (class org.keycloak.Client), not marked",
                details,
            ])
            .unwrap(),
            "Keycloak could not import realm.json (keycloak.realm_file): Unrecognized field \"x\""
        );
        assert_eq!(
            problem(&[import, failed, details]).unwrap(),
            "Keycloak could not import realm.json (keycloak.realm_file): no reason logged"
        );
        assert_eq!(
            problem(&[failed, "E ERROR: Port already bound: 8080", details]).unwrap(),
            "Keycloak could not start: Port already bound: 8080"
        );
        assert_eq!(problem(&["I Keycloak stopped in 1.0s"]), None);
        let earlier = ["I Profile prod activated.", import, failed];
        let later = [
            "I Profile prod activated.",
            failed,
            "E ERROR: other",
            details,
        ];
        assert_eq!(
            problem(&[&earlier[..], &later].concat()).unwrap(),
            "Keycloak could not start: other"
        );
    }
}
