//! The commands that look at a stack and work in it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{COMPONENTS, Project, run, shared};
use crate::test_list;

test_list![
    exec_passes_input_output_and_exit_code_through,
    exec_works_on_a_terminal_every_time,
    a_loop_keeps_its_input,
    a_command_in_a_container_ends_with_dm,
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
        .dm(&["exec", "--interactive", "openldap", "cat"])
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

/// What a shell script prints in which `dm` is the program under test.
#[track_caller]
fn script(project: &Project, script: &str) -> (Option<i32>, String) {
    let output = Command::new("bash")
        .args(["-c", script])
        .current_dir(project.root())
        .env_clear()
        .envs(run::environment())
        .env("DM", env!("CARGO_BIN_EXE_dm"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // `script` passes the end of its own input on, which a terminal may show.
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    (output.status.code(), text.replace("^@", ""))
}

/// The terminal is another program's: util-linux's `script` gives one to its command.
async fn exec_works_on_a_terminal_every_time() {
    let project = &shared().project;
    for _ in 0..15 {
        let call = r#"script --quiet --return --command \
            "$DM exec postgres -- sh -c 'test -t 0 && test -t 1 && echo hello; exit 3'" /dev/null"#;
        assert_eq!(script(project, call), (Some(3), "hello\n".to_owned()));
    }
    let (code, text) = script(
        project,
        r#"script --quiet --return --command "$DM psql -c 'SELECT 6 * 7' -- -tA" /dev/null"#,
    );
    assert_eq!((code, text.trim()), (Some(0), "42"));
}

async fn a_loop_keeps_its_input() {
    let project = &shared().project;
    let all = (Some(0), "1\n2\n3\n".to_owned());
    let psql = r#"printf '1\n2\n3\n' | while read n; do $DM psql -c "SELECT $n" -- -tA; done"#;
    assert_eq!(script(project, psql), all);
    let exec = r"printf '1\n2\n3\n' | while read n; do $DM exec rabbitmq -- echo $n; done";
    assert_eq!(script(project, exec), all);
    let fed = r#"printf '$DM psql -c "SELECT 1" -- -tA\necho 2\necho 3\n' | bash"#;
    assert_eq!(script(project, fed), all);
    // What is meant to be read is.
    let copied = r#"$DM psql -c 'CREATE TABLE public.copied (n int)' > /dev/null
        printf '1\n2\n3\n' | $DM psql -c 'COPY public.copied FROM STDIN' > /dev/null
        echo 'SELECT n FROM public.copied ORDER BY n; DROP TABLE public.copied' \
            | $DM psql -- -qtA"#;
    assert_eq!(script(project, copied), all);
}

/// True while a process of the container has this in its command line.
#[track_caller]
fn runs(project: &Project, container: &str, text: &str) -> bool {
    let look = "for it in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $it; echo; done 2> /dev/null";
    let processes = project
        .dm(&["exec", container, "--", "sh", "-c", look])
        .run();
    processes.stdout.contains(text)
}

async fn a_command_in_a_container_ends_with_dm() {
    let project = &shared().project;
    let ends = |text: &str| {
        let until = Instant::now() + Duration::from_secs(60);
        while runs(project, "rabbitmq", text) {
            assert!(Instant::now() < until, "`{text}` goes on");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    for (signal, seconds) in [
        (Signal::KILL, "43211"),
        (Signal::TERM, "43212"),
        (Signal::INT, "43213"),
    ] {
        // A child of its own, and no end by the softer signals.
        let command =
            format!("trap '' INT TERM HUP; echo started; sleep {seconds}; sleep {seconds}");
        let running = project
            .dm(&["exec", "rabbitmq", "--", "sh", "-c", &command])
            .spawn();
        running.prints("started");
        assert!(runs(project, "rabbitmq", &format!("sleep {seconds}")));
        running.signal(signal);
        ends(&format!("sleep {seconds}"));
    }
    let (_, line) = script(project, "$DM exec rabbitmq -- yes 43214 | head -1");
    assert_eq!(line, "43214\n");
    ends("yes 43214");

    // The server ends the query of a psql that was killed.
    let running = project
        .dm(&["psql"])
        .input("\\echo started\nSELECT pg_sleep(43215);\n")
        .spawn();
    running.prints("started");
    running.signal(Signal::KILL);
    let until = Instant::now() + Duration::from_secs(60);
    let left = "SELECT count(*) FROM pg_stat_activity
                WHERE query LIKE '%pg_sleep(43215)%' AND pid <> pg_backend_pid()";
    while project.sql(left) != "0" {
        assert!(Instant::now() < until, "the query goes on");
        std::thread::sleep(Duration::from_millis(200));
    }
    // What a command leaves in the background by itself stays.
    let leave = "sleep 43216 > /dev/null 2>&1 &";
    project
        .dm(&["exec", "rabbitmq", "--", "sh", "-c", leave])
        .ok();
    assert!(runs(project, "rabbitmq", "sleep 43216"));
    // Its own command line does not match the pattern.
    let end = "kill $(grep -l '4321[6]' /proc/[0-9]*/cmdline | cut -d/ -f3) 2> /dev/null; true";
    project
        .dm(&["exec", "rabbitmq", "--", "sh", "-c", end])
        .ok();
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
