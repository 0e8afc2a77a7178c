//! Fuzz tests: any layers are loaded or rejected with a location.

use proptest::prelude::*;

use super::TestProject;

fn sample_files() -> Vec<String> {
    vec![
        "[postgres]\nport = 5433\npassword = \"paper\"\nsettings.work_mem = \"8MB\"\n".to_owned(),
        "[timeouts]\nwait = \"60s\"\nstop = \"10s\"\n\n[services.order]\nport = 9093\nenvironment.RUST_LOG = \"debug\"\n".to_owned(),
        "backup.every = \"1d\"\nbackup.keep = 7\nimages.fail_points = true\nkeycloak.realm = 'x'\n".to_owned(),
    ]
}

fn sample_assignments() -> Vec<String> {
    [
        "postgres.port=5434",
        "timeouts.wait=90s",
        "services.order.environment.A=b",
        "backup.recipients=[\"age1x\"]",
        "rabbitmq.password=a b\"c",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn lossy_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_layers_are_loaded_or_rejected_with_a_location(
        file in dm_text_mutations::mutated_bytes(sample_files()),
        local in dm_text_mutations::mutated_bytes(sample_files()),
        pair in dm_text_mutations::mutated_bytes(sample_assignments()),
        variable in dm_text_mutations::mutated_bytes(sample_assignments()),
    ) {
        let (pair, variable) = (lossy_text(&pair), lossy_text(&variable).replace('\0', ""));
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        let name = format!("DM_{}", name.to_uppercase().replace('.', "__"));
        let project = TestProject::new("")
            .with_file("dm.toml", &file)
            .with_file("dm.local.toml", &local)
            .with_variable(&name, value)
            .with_override(&pair);
        match project.load() {
            Ok(loaded) => {
                // Accepted values are within their limits.
                let wait = loaded.config.timeouts.wait.as_duration().as_secs();
                prop_assert!((1..=86_400).contains(&wait));
            }
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                // Each diagnostic has a message and valid spans.
                for diagnostic in error.diagnostics() {
                    prop_assert!(!diagnostic.message.is_empty());
                    let Some(source) = &diagnostic.source else {
                        continue;
                    };
                    for (range, _) in &diagnostic.labels {
                        prop_assert!(source.inner().get(range.clone()).is_some());
                    }
                }
            }
        }
    }
}
