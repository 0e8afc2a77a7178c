//! The commands that look at a stack and work in it.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{COMPONENTS, shared};
use crate::test_list;

test_list![
    exec_passes_input_output_and_exit_code_through,
    psql_works_in_a_schema_and_as_its_service,
    logs_are_merged_cut_and_followed,
    addresses_are_those_that_answer,
];

async fn exec_passes_input_output_and_exit_code_through() {
    let project = &shared().project;
    project
        .dm(&["exec", "postgres", "sh", "-c", "exit 7"])
        .run()
        .exits(7);
    let output = project
        .dm(&[
            "exec",
            "rabbitmq",
            "sh",
            "-c",
            "echo to stdout; echo to stderr >&2",
        ])
        .ok();
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("to stdout\n", "to stderr\n")
    );

    // Every byte, also those that are no text.
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let output = project
        .dm(&["exec", "openldap", "cat"])
        .input(bytes.clone())
        .ok();
    assert!(output.raw == bytes, "{} bytes came back", output.raw.len());

    let user = project
        .dm(&["exec", "--user", "postgres", "postgres", "id", "-un"])
        .ok();
    assert_eq!(user.text(), "postgres");
    // As a shell has it; older engines say 126 of both.
    let missing = project.dm(&["exec", "postgres", "no-such-program"]).run();
    assert!(matches!(missing.code, Some(126 | 127)), "{missing}");
}

async fn psql_works_in_a_schema_and_as_its_service() {
    let project = &shared().project;
    assert_eq!(project.sql("SELECT current_user"), "dundermifflin");
    let script = "SELECT 6 * 7;\nSELECT 'second';\n";
    let output = project.dm(&["psql", "--", "-tA"]).input(script).ok();
    assert_eq!(output.text(), "42\nsecond");

    let output = project
        .dm(&["psql", "orders", "-c", "SHOW search_path", "--", "-tA"])
        .ok();
    assert_eq!(output.text(), "orders");
    let output = project
        .dm(&[
            "psql",
            "orders",
            "--as-service",
            "-c",
            "SELECT current_user",
            "--",
            "-tA",
        ])
        .ok();
    assert_eq!(output.text(), "order_service");
    project
        .dm(&[
            "psql",
            "orders",
            "--as-service",
            "-c",
            "CREATE TABLE mine (id int)",
        ])
        .run()
        .exits(1)
        .tells("permission denied for schema orders");
    project
        .dm(&["psql", "warehouse"])
        .run()
        .exits(2)
        .tells("finance, inventory, keycloak, notifications, orders, profile, sales");
}

async fn logs_are_merged_cut_and_followed() {
    let project = &shared().project;
    let mark = |text: &str| project.sql(&format!("DO $$ BEGIN RAISE LOG 'mark {text}'; END $$"));
    mark("one");

    let output = project.dm(&["logs", "--since", "10m", "--json"]).ok();
    let lines: Vec<serde_json::Value> = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let marked = lines.iter().find(|line| {
        line["line"]
            .as_str()
            .is_some_and(|text| text.contains("mark one"))
    });
    assert_eq!(marked.unwrap()["component"], "postgres");
    let times: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["time"].as_str())
        .collect();
    assert!(times.is_sorted(), "not merged by time\n{output}");

    let tail = project
        .dm(&["logs", "--tail", "2", "rabbitmq", "openldap"])
        .ok();
    for component in ["rabbitmq", "openldap"] {
        let count = tail
            .stdout
            .lines()
            .filter(|line| line.starts_with(component))
            .count();
        assert_eq!(count, 2, "{component}\n{tail}");
    }
    assert_eq!(tail.stdout.lines().count(), 4, "{tail}");
    let none = project.dm(&["logs", "openldap", "--since", "10m"]).ok();
    assert!(!none.stdout.contains("mark one"), "{none}");

    let following = project
        .dm(&["logs", "-f", "--tail", "0", "postgres"])
        .spawn();
    // It begins to follow at a moment that nobody tells: mark until one is seen.
    let marking = std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(200)).is_err() {
                mark("two");
            }
        });
        following.prints("mark two");
        stop.send(())
    });
    assert!(marking.is_ok());
    following.signal(Signal::INT);
    following.wait().exits(130);
}

async fn addresses_are_those_that_answer() {
    let shared = shared();
    let keycloak = shared.project.dm(&["open", "--print"]).ok();
    assert_eq!(
        keycloak.text(),
        format!("{}/admin/", shared.servers.keycloak())
    );
    let rabbitmq = shared.project.dm(&["open", "--print", "rabbitmq"]).ok();
    let page = reqwest::Client::builder().no_proxy().build().unwrap();
    for address in [keycloak.text(), rabbitmq.text()] {
        let answer = page.get(address).send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{address}: {}",
            answer.status()
        );
    }
    shared
        .project
        .dm(&["open", "--print", "postgres"])
        .run()
        .exits(2)
        .tells("keycloak");

    let status = shared.project.dm(&["status", "--check"]).ok();
    for component in COMPONENTS {
        assert!(status.stdout.contains(component), "{status}");
    }
}
