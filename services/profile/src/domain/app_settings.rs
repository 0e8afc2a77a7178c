//! The settings that an app keeps for a user.

use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::profile::SaveAppSettings;
use dm_contracts::validation::{MAX_APP_SETTINGS_BYTES, MAX_APP_SETTINGS_DEPTH};
use dm_kit::http::FieldIssues;

/// Validated settings of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewAppSettings {
    /// The version that the caller has read; 0 if nothing was saved.
    pub(crate) read_version: i64,
    /// The settings as JSON text.
    pub(crate) settings: String,
}

impl NewAppSettings {
    /// Validates a request.
    ///
    /// # Errors
    /// Returns an issue for each invalid field.
    pub(crate) fn from_request(request: Option<SaveAppSettings>) -> Result<Self, Vec<FieldIssue>> {
        let request =
            request.ok_or_else(|| vec![FieldIssue::new("body", "request body is required")])?;
        let mut issues = FieldIssues::default();
        match request.version {
            None => issues.add("version", "version is required"),
            Some(..0) => issues.add("version", "version must be at least 0"),
            Some(0..) => {}
        }
        let settings = request
            .settings
            .as_ref()
            .map_or("", |settings| settings.get());
        if settings.is_empty() {
            issues.add("settings", "settings is required");
        } else if !settings.starts_with('{') {
            issues.add("settings", "settings must be an object");
        } else if settings.len() > MAX_APP_SETTINGS_BYTES {
            issues.add(
                "settings",
                format!("settings must have at most {MAX_APP_SETTINGS_BYTES} bytes of JSON"),
            );
        } else if depth(settings) > MAX_APP_SETTINGS_DEPTH {
            issues.add(
                "settings",
                format!("settings must be nested at most {MAX_APP_SETTINGS_DEPTH} deep"),
            );
        }
        issues.into_result(Self {
            // Only a placeholder: without a version there is an issue.
            read_version: request.version.unwrap_or_default(),
            settings: settings.to_owned(),
        })
    }
}

/// Returns how deep the objects and arrays of a JSON text are nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut is_text = false;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => is_text = !is_text,
            b'\\' if is_text => drop(bytes.next()),
            b'{' | b'[' if !is_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn parse(body: Value) -> Result<NewAppSettings, Vec<String>> {
        NewAppSettings::from_request(serde_json::from_str(&body.to_string()).unwrap())
            .map_err(|issues| issues.into_iter().map(|issue| issue.issue).collect())
    }

    #[test]
    fn each_invalid_field_is_an_issue() {
        for (body, issues) in [
            (json!(null), &["request body is required"][..]),
            (json!({}), &["version is required", "settings is required"]),
            (
                json!({"version": -1, "settings": null}),
                &["version must be at least 0", "settings is required"],
            ),
            (
                json!({"version": 0, "settings": ["a"]}),
                &["settings must be an object"],
            ),
        ] {
            assert_eq!(parse(body.clone()).unwrap_err(), issues, "{body}");
        }
    }

    #[test]
    fn settings_of_exactly_the_maximum_size_are_accepted() {
        // The quotes, the key, the colon and the braces.
        let frame = r#"{"a":""}"#.len();
        let body = |length: usize| json!({"version": 0, "settings": {"a": "x".repeat(length)}});
        let longest = MAX_APP_SETTINGS_BYTES - frame;
        let accepted = parse(body(longest)).unwrap();
        assert_eq!(accepted.settings.len(), MAX_APP_SETTINGS_BYTES);
        assert_eq!(
            parse(body(longest + 1)).unwrap_err(),
            ["settings must have at most 16384 bytes of JSON"]
        );
    }

    #[test]
    fn settings_are_nested_at_most_100_deep() {
        let body = |depth: usize| {
            let arrays = depth - 1;
            let (open, close) = ("[".repeat(arrays), "]".repeat(arrays));
            let text =
                format!(r#"{{"version":0,"settings":{{"[\"[{{":{open}"\\\\[[",1{close}}}}}"#);
            let request = serde_json::from_str(&text).unwrap();
            NewAppSettings::from_request(Some(request))
        };
        assert!(body(100).is_ok());
        assert_eq!(
            body(101).unwrap_err()[0].issue,
            "settings must be nested at most 100 deep"
        );
    }

    #[test]
    fn numbers_are_stored_as_they_were_written() {
        let text = r#"{"n":123456789012345678901234567890,"e":1E5,"z":-0,"t":1e400}"#;
        let request = format!(r#"{{"version":1,"settings":{text}}}"#);
        let request = serde_json::from_str(&request).unwrap();
        let saved = NewAppSettings::from_request(Some(request)).unwrap();
        assert_eq!(saved.settings, text);
    }

    proptest! {
        /// The stored text has the value of the request.
        #[test]
        fn stored_text_has_the_value_of_the_request(
            version in 0_i64..,
            texts in proptest::collection::btree_map("\\PC{0,8}", "\\PC{0,20}", 0..20),
            numbers in proptest::collection::vec(any::<f64>(), 0..20),
        ) {
            let settings = json!({"texts": texts, "numbers": numbers, "open": null});
            let saved = parse(json!({"version": version, "settings": settings})).unwrap();
            prop_assert_eq!(saved.read_version, version);
            let stored: Value = serde_json::from_str(&saved.settings).unwrap();
            prop_assert_eq!(stored, settings);
        }
    }
}
