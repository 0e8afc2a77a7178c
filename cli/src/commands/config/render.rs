//! Renders the output of `dm config`.

use std::path::Path;

use dm_config::{EffectiveValue, ValueOrigin};
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use serde::Serialize;
use serde_json::Value;

/// The document [`dm_core::document::CONFIG`].
#[derive(Debug, Serialize)]
pub(crate) struct ConfigDocument<'a> {
    /// The project directory.
    pub root: &'a Path,
    /// The keys with their values and origins.
    pub values: &'a [EffectiveValue],
}

impl<'a> ConfigDocument<'a> {
    /// The document for the values of a project.
    #[must_use]
    pub(crate) fn new(root: &'a Path, values: &'a [EffectiveValue]) -> Self {
        Self { root, values }
    }
}

/// The document [`dm_core::document::CONFIG_CHECK`] of a successful check. A failed one prints
/// a `dm.error/1`.
#[derive(Debug, Serialize)]
pub(crate) struct ConfigCheckDocument<'a> {
    /// Always true.
    pub ok: bool,
    /// The project directory.
    pub root: &'a Path,
}

impl<'a> ConfigCheckDocument<'a> {
    /// The document for a project.
    #[must_use]
    pub(crate) fn new(root: &'a Path) -> Self {
        Self { ok: true, root }
    }
}

/// Renders the values as a table in which values other than the defaults stand out.
#[must_use]
pub(crate) fn render(entries: &[EffectiveValue], canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        // A truncated key cannot be copied.
        Column::new("key").min_width(usize::MAX),
        Column::new("value").min_width(12),
        Column::new("from").min_width(10).drop_priority(1),
    ]);
    for entry in entries {
        let (value, from, role) = match &entry.origin {
            None => ("-".to_owned(), String::new(), Some(StyleRole::Muted)),
            Some(ValueOrigin::Default) => {
                let from = ValueOrigin::Default.to_string();
                (format_toml(&entry.value), from, Some(StyleRole::Muted))
            }
            Some(origin) => (format_toml(&entry.value), origin.to_string(), None),
        };
        let cell = |text: &str| match role {
            Some(role) => Cell::new(text).with_role(role),
            None => Cell::new(text),
        };
        table.add_row(vec![Cell::new(&entry.key), cell(&value), cell(&from)]);
    }
    table.render(canvas)
}

/// Formats a value as TOML: strings, numbers, booleans and arrays of them have the same form
/// in JSON.
fn format_toml(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(format_toml).collect();
            format!("[{}]", items.join(", "))
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use dm_terminal::testing::{pipe_canvas, terminal_canvas};

    use super::*;

    fn entries() -> Vec<EffectiveValue> {
        let entry =
            |key: &str, value: Value, origin: Option<ValueOrigin>, secret: bool| EffectiveValue {
                key: key.to_owned(),
                value,
                origin,
                secret,
            };
        let file = |line| ValueOrigin::File {
            file: "dm.toml".to_owned(),
            line,
        };
        let variable = ValueOrigin::Variable {
            variable: "DM_POSTGRES__PASSWORD".to_owned(),
        };
        vec![
            entry("engine.host", Value::Null, None, false),
            entry(
                "timeouts.wait",
                "300s".into(),
                Some(ValueOrigin::Default),
                false,
            ),
            entry("postgres.port", 5433.into(), Some(file(12)), false),
            entry("postgres.password", "***".into(), Some(variable), true),
            entry(
                "images.extra_ca_certificates",
                vec!["ca.pem", "other.pem"].into(),
                Some(file(3)),
                false,
            ),
        ]
    }

    #[test]
    fn render_shows_values_with_their_origins() {
        insta::assert_snapshot!(render(&entries(), &terminal_canvas(80)), @r#"
    key                           value                    from
    engine.host                   -
    timeouts.wait                 "300s"                   default
    postgres.port                 5433                     dm.toml:12
    postgres.password             "***"                    env DM_POSTGRES__PASSWORD
    images.extra_ca_certificates  ["ca.pem", "other.pem"]  dm.toml:3
    "#);
    }

    #[test]
    fn render_drops_the_origin_on_a_narrow_terminal() {
        insta::assert_snapshot!(render(&entries(), &terminal_canvas(50)), @r#"
    key                           value
    engine.host                   -
    timeouts.wait                 "300s"
    postgres.port                 5433
    postgres.password             "***"
    images.extra_ca_certificates  ["ca.pem", "other.p…
    "#);
    }

    #[test]
    fn render_is_not_truncated_in_a_pipe() {
        insta::assert_snapshot!(render(&entries(), &pipe_canvas()), @r#"
    key                           value                    from
    engine.host                   -
    timeouts.wait                 "300s"                   default
    postgres.port                 5433                     dm.toml:12
    postgres.password             "***"                    env DM_POSTGRES__PASSWORD
    images.extra_ca_certificates  ["ca.pem", "other.pem"]  dm.toml:3
    "#);
    }

    #[test]
    fn document_contains_values_and_origins() {
        let entries = &entries()[2..4];
        let document = ConfigDocument::new(Path::new("/project"), entries);
        insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap(), @r#"
    {
      "root": "/project",
      "values": [
        {
          "key": "postgres.port",
          "value": 5433,
          "origin": {
            "layer": "file",
            "file": "dm.toml",
            "line": 12
          },
          "secret": false
        },
        {
          "key": "postgres.password",
          "value": "***",
          "origin": {
            "layer": "variable",
            "variable": "DM_POSTGRES__PASSWORD"
          },
          "secret": true
        }
      ]
    }
    "#);
    }
}
