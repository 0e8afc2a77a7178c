//! Property tests of layers and values.

use dm_core::mask::{self, MASK};
use proptest::prelude::*;

use super::TestProject;
use crate::values::{BoundedDuration, ImageReference, MemorySize, PortNumber, ProjectName, Secret};

/// A layer that may set a key, lowest first.
const LAYERS: [&str; 5] = [
    "dm.toml",
    "dm.local.toml",
    "environment",
    "--set",
    "later --set",
];

/// Sets `key` to `value` in one layer of `project`. `quoted` is the value in TOML.
fn set_in_layer(
    project: TestProject,
    layer: &str,
    key: &str,
    value: &str,
    quoted: &str,
) -> TestProject {
    let line = format!("{key} = {quoted}\n");
    match layer {
        "dm.toml" | "dm.local.toml" => project.with_file(layer, line),
        "environment" => {
            let name = format!("DM_{}", key.to_uppercase().replace('.', "__"));
            project.with_variable(&name, value)
        }
        _ => project.with_override(&format!("{key}={value}")),
    }
}

const KEYS: [&str; 9] = [
    "postgres",
    "postgres.port",
    "postgres.prot",
    "postgres.settings.a.b",
    "images.extra_ca_certificates",
    "images.credentials.username",
    "services.order",
    "services.order.port",
    "port",
];

const VALUES: [&str; 9] = [
    "1",
    "-1.5",
    "true",
    "\"host\"",
    "\"\"",
    "[1, \"a\"]",
    "{ port = \"x\" }",
    "1979-05-27",
    "99999999999999999999",
];

/// A line of a file with a key and a value that is or is not valid for it.
fn arbitrary_line() -> impl Strategy<Value = String> {
    (
        prop::sample::select(KEYS.to_vec()),
        prop::sample::select(VALUES.to_vec()),
    )
        .prop_map(|(key, value)| format!("{key} = {value}\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The highest layer that sets a key wins and is its origin.
    #[test]
    fn highest_layer_wins(layers in prop::array::uniform5(prop::option::of(2000u16..5000))) {
        let mut project = TestProject::new("");
        for (layer, port) in LAYERS.iter().zip(&layers) {
            if let Some(port) = port {
                let port = port.to_string();
                project = set_in_layer(project, layer, "postgres.port", &port, &port);
            }
        }
        let loaded = project.load_valid();
        let winner = layers.iter().rposition(Option::is_some);
        let expected = winner.and_then(|index| layers[index]).unwrap_or(5432);
        prop_assert_eq!(loaded.config.postgres.port.get(), expected);
        let origin = loaded.origin("postgres.port").unwrap().to_string();
        let expected_origin = match winner {
            None => "default",
            Some(0) => "dm.toml:1",
            Some(1) => "dm.local.toml:1",
            Some(2) => "env DM_POSTGRES__PORT",
            Some(_) => "flag --set",
        };
        prop_assert_eq!(origin, expected_origin);
    }

    /// A value in one layer does not change another key.
    #[test]
    fn other_keys_keep_their_values(layer in 0..4usize, port in 2000u16..5000) {
        let port = port.to_string();
        let changed = set_in_layer(TestProject::new(""), LAYERS[layer], "openldap.port", &port, &port).load_valid();
        let mut expected = TestProject::new("").load_valid().config;
        expected.openldap.port = changed.config.openldap.port;
        prop_assert_eq!(changed.config, expected);
    }

    /// The same text has the same value in every layer, for every type.
    #[test]
    fn value_is_the_same_in_every_layer(
        name in "[a-z][a-z0-9-]{0,20}[a-z0-9]",
        password in "[ -~]{1,40}",
        seconds in 1u64..=86_400,
        mebibytes in 128u64..100_000,
        source in prop::sample::select(vec!["auto", "pull", "build"]),
    ) {
        let values = [
            ("project.name", name),
            ("keycloak.admin_password", password),
            ("timeouts.wait", format!("{seconds}s")),
            ("keycloak.heap", format!("{mebibytes}MiB")),
            ("images.source", source.to_owned()),
        ];
        for (key, value) in &values {
            let quoted = toml::Value::from(value.as_str()).to_string();
            let configs: Vec<_> = LAYERS[..4]
                .iter()
                .map(|layer| set_in_layer(TestProject::new(""), layer, key, value, &quoted).load_valid().config)
                .collect();
            prop_assert!(configs.windows(2).all(|pair| pair[0] == pair[1]), "{key} = {quoted}");
        }
    }

    /// The revealed effective values, written to a file, load as the same configuration.
    #[test]
    fn effective_values_load_as_the_same_configuration(
        port in 2000u16..5000,
        password in "[ -~]{1,40}",
        connections in 1i64..1000,
    ) {
        let password = toml::Value::from(password).to_string();
        let loaded = TestProject::new(&format!(
            "rabbitmq.port = {port}\npostgres.password = {password}\n\
             [postgres.settings]\nmax_connections = {connections}\nauto_explain.log = true\n",
        ))
        .load_valid();
        let written: String = loaded
            .effective_values(None, true)
            .unwrap()
            .into_iter()
            .filter(|entry| !entry.value.is_null() && !entry.value.is_object())
            .map(|entry| format!("{} = {}\n", entry.key, entry.value))
            .collect();
        prop_assert_eq!(TestProject::new(&written).load_valid().config, loaded.config);
    }

    /// No text makes loading panic, and an error always has a diagnostic.
    #[test]
    fn any_file_is_loaded_or_rejected(text in "(?s).{0,200}") {
        if let Err(error) = TestProject::new(&text).load() {
            prop_assert!(!error.diagnostics().is_empty());
        }
    }

    /// For any mix of keys and values, every diagnostic has a valid location and is reported
    /// once.
    #[test]
    fn any_mix_of_keys_and_values_is_loaded_or_rejected(
        lines in prop::collection::vec(arbitrary_line(), 1..8),
        local in prop::collection::vec(arbitrary_line(), 0..3),
        value in prop::sample::select(VALUES.to_vec()),
    ) {
        let project = TestProject::new(&lines.concat())
            .with_local_config(&local.concat())
            .with_variable("DM_TIMEOUTS__WAIT", value)
            .with_override(&format!("services.order={value}"));
        if let Err(error) = project.load() {
            let report = super::diagnostics::render(&error);
            prop_assert!(!report.contains("out of bounds"), "{}", report);
            let mut reported: Vec<_> = error
                .diagnostics()
                .iter()
                .map(|diagnostic| {
                    format!("{diagnostic} {:?} {:?}", diagnostic.position, diagnostic.labels)
                })
                .collect();
            let count = reported.len();
            reported.sort();
            reported.dedup();
            prop_assert_eq!(count, reported.len(), "{}", report);
        }
    }

    /// A password is neither in a diagnostic nor in the effective values.
    #[test]
    fn password_is_never_shown(password in "[a-z]{12,20}", is_invalid in any::<bool>()) {
        let invalid_line = if is_invalid { "prot = 1\n" } else { "" };
        let project = TestProject::new(&format!("[postgres]\npassword = \"{password}\"\n{invalid_line}"))
            .with_variable("DM_RABBITMQ__PASSWORD", &password);
        match project.load() {
            Ok(loaded) => {
                let shown = serde_json::to_string(&loaded.effective_values(None, false).unwrap()).unwrap();
                prop_assert!(!shown.contains(&password));
                let debug = format!("{:?}", loaded.config);
                prop_assert!(!debug.contains(&password));
                let json = serde_json::to_string(&loaded.config).unwrap();
                prop_assert!(!json.contains(&password));
            }
            Err(error) => {
                let report = super::diagnostics::render(&error);
                prop_assert!(report.contains("prot"));
                prop_assert!(!report.contains(&password), "{}", report);
            }
        }
    }

    #[test]
    fn port_number_is_from_1_to_65535(number in any::<i64>()) {
        let valid = (1..=65535).contains(&number);
        prop_assert_eq!(PortNumber::try_from(number).is_ok(), valid);
    }

    #[test]
    fn bounded_duration_is_parsed_back(milliseconds in 1u64..=86_400_000) {
        type AnyDuration = BoundedDuration<1, 86_400_000>;
        let duration = AnyDuration::try_from(format!("{milliseconds}ms")).unwrap();
        prop_assert_eq!(duration.as_duration().as_millis(), u128::from(milliseconds));
        prop_assert_eq!(AnyDuration::try_from(duration.to_string()), Ok(duration));
    }

    #[test]
    fn memory_size_is_parsed_back(bytes in (1u64 << 20)..(1u64 << 45)) {
        let size = MemorySize::<1>::try_from(format!("{bytes}B")).unwrap();
        prop_assert_eq!(size.bytes(), bytes);
        prop_assert_eq!(MemorySize::<1>::try_from(size.to_string()), Ok(size));
    }

    #[test]
    fn image_reference_of_the_grammar_is_valid(
        text in "([a-z]{1,9}\\.example(:[1-9][0-9]{1,3})?/)?[a-z0-9]{1,9}([._-][a-z0-9]{1,9}){0,2}(/[a-z0-9]{1,9})?(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?(@sha256:[0-9a-f]{64})?",
    ) {
        prop_assert!(ImageReference::try_from(text.clone()).is_ok(), "{}", text);
    }

    /// A suggested project name is valid.
    #[test]
    fn suggested_project_name_is_valid(text in ".{0,60}") {
        if let Err(error) = ProjectName::try_from(text)
            && let Some(help) = error.help
        {
            let suggestion = help.trim_start_matches("write `").trim_end_matches('`');
            prop_assert!(ProjectName::try_from(suggestion.to_owned()).is_ok(), "{}", help);
        }
    }

    #[test]
    fn secret_is_masked_in_display_and_debug(text in "[ -~]{1,40}") {
        let secret = Secret::try_from(text.clone()).unwrap();
        prop_assert_eq!(secret.reveal(), text);
        prop_assert_eq!(secret.to_string(), MASK);
        prop_assert_eq!(format!("{secret:?}"), format!("Secret({MASK})"));
    }

    #[test]
    fn mask_url_passwords_masks_only_the_password(password in "[a-z]{10,20}", path in "[A-Z/]{0,9}") {
        let url = format!("https://user:{password}@mirror.example/{path}");
        let masked = mask::mask_url_passwords(&url);
        prop_assert_eq!(masked, format!("https://user:{MASK}@mirror.example/{path}"));
    }
}
