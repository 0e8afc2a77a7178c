//! Whatever the layers say, the configuration is read or refused with its place.

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
    fn any_layers_are_read_or_refused_with_their_place(
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
                // What was taken is what it says it is, and is shown without its secrets.
                let wait = loaded.config.timeouts.wait.as_duration().as_secs();
                prop_assert!((1..=86_400).contains(&wait));
            }
            Err(error) => {
                let told = error.to_string();
                prop_assert!(!told.is_empty());
                // Each problem says where it is.
                for problem in error.diagnostics() {
                    prop_assert!(!problem.message.is_empty());
                    let Some(source) = &problem.source else {
                        continue;
                    };
                    for (range, _) in &problem.labels {
                        prop_assert!(source.inner().get(range.clone()).is_some());
                    }
                }
            }
        }
    }
}
