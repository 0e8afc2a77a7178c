//! What Keycloak's log says of a start that fails. It ends with exit code 0 all the same, and
//! its last line is a hint at `--verbose`.

use std::path::Path;

use crate::Misconfiguration;

/// The line that every failed start has.
const START_FAILED: &str = "ERROR: Failed to start server";

/// Reasons that say less than what they come from.
const GENERIC_REASONS: [&str; 4] = [
    "Failed to start server",
    "Failed to run import",
    "Failed to obtain JDBC connection",
    "For more details",
];

/// A reason is cut there: Jackson lists all fields that it knows.
const MAX_REASON_CHARS: usize = 200;

/// What is wrong, where the log says it.
pub(super) fn diagnose(log: &[String], realm_file: &Path) -> Option<Misconfiguration> {
    let failed = log.iter().rposition(|line| line.contains(START_FAILED))?;
    let (before, after) = log.split_at(failed);
    // Since the last start: a restarted container has the lines of those before.
    let begun = before
        .iter()
        .rposition(|line| line.contains("Profile prod activated"));
    let before = &before[begun.unwrap_or_default()..];
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
    let imports = |line: &String| {
        line.contains("Importing from directory") || line.contains("importing from file")
    };
    if before.iter().any(imports) {
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

/// The reason that a line gives.
fn parse_reason(line: &str) -> Option<String> {
    let (_, said) = line.split_once("ERROR: ")?;
    if GENERIC_REASONS.iter().any(|general| said.contains(general)) {
        return None;
    }
    let said = said.split(" (class ").next().unwrap_or(said);
    Some(said.chars().take(MAX_REASON_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(lines: &[&str]) -> Option<String> {
        let log: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        diagnose(&log, Path::new("realm.json")).map(|refused| refused.problem)
    }

    #[test]
    fn a_failed_start_is_named_as_what_it_is() {
        let failed = "E ERROR: Failed to start server in (production) mode";
        let details = "E ERROR: For more details run the same command passing '--verbose'";
        let import = "I Importing from directory /opt/keycloak/data/import";
        assert_eq!(
            what(&[
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
            what(&[
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
            what(&[import, failed, details]).unwrap(),
            "Keycloak could not import realm.json (keycloak.realm_file): no reason logged"
        );
        assert_eq!(
            what(&[failed, "E ERROR: Port already bound: 8080", details]).unwrap(),
            "Keycloak could not start: Port already bound: 8080"
        );
        assert_eq!(what(&["I Keycloak stopped in 1.0s"]), None);
        let earlier = ["I Profile prod activated.", import, failed];
        let later = [
            "I Profile prod activated.",
            failed,
            "E ERROR: other",
            details,
        ];
        assert_eq!(
            what(&[&earlier[..], &later].concat()).unwrap(),
            "Keycloak could not start: other"
        );
    }
}
