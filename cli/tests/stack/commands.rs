//! Tests of the commands that inspect a stack and run programs in it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{COMPONENTS, Project, run, shared};
use crate::test_list;

test_list![
    exec_passes_through_input_output_and_exit_code,
    exec_on_a_terminal_passes_output_and_exit_code,
    exec_and_psql_in_a_shell_loop_leave_its_input,
    exec_process_ends_when_dm_ends,
    psql_uses_the_schema_and_the_role_of_its_service,
    logs_are_merged_limited_and_followed,
    followed_logs_continue_over_a_restart_and_a_new_container,
    open_prints_addresses_that_answer,
];

async fn exec_passes_through_input_output_and_exit_code() {
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
    // The command closes its output and still runs.
    let close_output = "exec >&- 2>&-; sleep 1; exit 3";
    project
        .dm(&["exec", "rabbitmq", "sh", "-c", close_output])
        .run()
        .exits(3);

    // All byte values, including those that are not text.
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
    // 127 as in a shell. Older engines return 126 for both.
    let missing = project.dm(&["exec", "postgres", "no-such-program"]).run();
    assert!(matches!(missing.code, Some(126 | 127)), "{missing}");
}

/// Returns the exit code and the output of a shell script, which finds `dm` in `$DM`.
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
    // `script` forwards the end of its own input, which a terminal may show as `^@`.
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    (output.status.code(), text.replace("^@", ""))
}

/// The program `script` of util-linux gives its command a terminal.
async fn exec_on_a_terminal_passes_output_and_exit_code() {
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

async fn exec_and_psql_in_a_shell_loop_leave_its_input() {
    let project = &shared().project;
    let expected = (Some(0), "1\n2\n3\n".to_owned());
    let psql = r#"printf '1\n2\n3\n' | while read n; do $DM psql -c "SELECT $n" -- -tA; done"#;
    assert_eq!(script(project, psql), expected);
    let exec = r"printf '1\n2\n3\n' | while read n; do $DM exec rabbitmq -- echo $n; done";
    assert_eq!(script(project, exec), expected);
    let from_stdin = r#"printf '$DM psql -c "SELECT 1" -- -tA\necho 2\necho 3\n' | bash"#;
    assert_eq!(script(project, from_stdin), expected);
    // Input that a command is meant to read still arrives.
    let copied = r#"$DM psql -c 'CREATE TABLE public.copied (n int)' > /dev/null
        printf '1\n2\n3\n' | $DM psql -c 'COPY public.copied FROM STDIN' > /dev/null
        echo 'SELECT n FROM public.copied ORDER BY n; DROP TABLE public.copied' \
            | $DM psql -- -qtA"#;
    assert_eq!(script(project, copied), expected);
}

/// Returns whether the command line of a process in the container contains this text.
#[track_caller]
fn has_process(project: &Project, container: &str, text: &str) -> bool {
    let list = "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f; echo; done 2> /dev/null";
    let processes = project
        .dm(&["exec", container, "--", "sh", "-c", list])
        .run();
    processes.stdout.contains(text)
}

async fn exec_process_ends_when_dm_ends() {
    let project = &shared().project;
    let wait_until_ended = |container: &str, text: &str| {
        let until = Instant::now() + Duration::from_secs(60);
        while has_process(project, container, text) {
            assert!(Instant::now() < until, "`{text}` is still running");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    for (signal, seconds) in [
        (Signal::KILL, "43211"),
        (Signal::TERM, "43212"),
        (Signal::INT, "43213"),
    ] {
        // The shell has a child process, another one in a session of its own, and one of that one
        // in a third session. All ignore the softer signals.
        let command = format!(
            "trap '' INT TERM HUP
            setsid sh -c 'setsid sleep {seconds} & sleep {seconds}; sleep {seconds}' &
            sleep 1; echo started; sleep {seconds}; sleep {seconds}"
        );
        let running = project
            .dm(&["exec", "rabbitmq", "--", "sh", "-c", &command])
            .spawn();
        running.wait_for_stdout("started");
        assert!(has_process(
            project,
            "rabbitmq",
            &format!("sleep {seconds}")
        ));
        running.signal(signal);
        wait_until_ended("rabbitmq", &format!("sleep {seconds}"));
    }
    // A shell that starts its next command when one is killed. The id of that command's process
    // has one more digit than the shell's, so that the list of processes, which is sorted as
    // text, contains it before the shell, and many other processes between them.
    let restart = "trap '' INT TERM HUP
        limit=10
        while [ $limit -le $$ ]; do limit=${limit}0; done
        [ $limit -lt $(cat /proc/sys/kernel/pid_max) ] || exit 1
        until [ $(sh -c 'echo $$') -ge $limit ]; do :; done
        (sleep 1; n=0
        while [ $n -lt 100 ]; do sleep 43217 & n=$((n + 1)); done
        echo started; wait) &
        while :; do sleep 43217; done";
    let running = project
        .dm(&["exec", "openldap", "--", "sh", "-c", restart])
        .spawn();
    running.wait_for_stdout("started");
    assert!(has_process(project, "openldap", "sleep 43217"));
    running.signal(Signal::TERM);
    wait_until_ended("openldap", "sleep 43217");
    let (_, line) = script(project, "$DM exec rabbitmq -- yes 43214 | head -1");
    assert_eq!(line, "43214\n");
    wait_until_ended("rabbitmq", "yes 43214");

    // The server ends the query of a psql that was killed.
    let running = project
        .dm(&["psql"])
        .input("\\echo started\nSELECT pg_sleep(43215);\n")
        .spawn();
    running.wait_for_stdout("started");
    running.signal(Signal::KILL);
    let until = Instant::now() + Duration::from_secs(60);
    let running_queries = "SELECT count(*) FROM pg_stat_activity
                WHERE query LIKE '%pg_sleep(43215)%' AND pid <> pg_backend_pid()";
    while project.sql(running_queries) != "0" {
        assert!(Instant::now() < until, "the query is still running");
        std::thread::sleep(Duration::from_millis(200));
    }
    // A background process that the command starts itself keeps running.
    let leave = "sleep 43216 > /dev/null 2>&1 &";
    project
        .dm(&["exec", "rabbitmq", "--", "sh", "-c", leave])
        .ok();
    assert!(has_process(project, "rabbitmq", "sleep 43216"));
    // The pattern does not match the command line of this command itself.
    let end = "kill $(grep -l '4321[6]' /proc/[0-9]*/cmdline | cut -d/ -f3) 2> /dev/null; true";
    project
        .dm(&["exec", "rabbitmq", "--", "sh", "-c", end])
        .ok();
}

async fn psql_uses_the_schema_and_the_role_of_its_service() {
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
        .stderr_contains("permission denied for schema orders");
    project
        .dm(&["psql", "warehouse"])
        .run()
        .exits(2)
        .stderr_contains("finance, inventory, keycloak, notifications, orders, profile, sales");
}

async fn logs_are_merged_limited_and_followed() {
    let project = &shared().project;
    let log_marker =
        |text: &str| project.sql(&format!("DO $$ BEGIN RAISE LOG 'mark {text}'; END $$"));
    log_marker("one");

    let output = project.dm(&["logs", "--since", "10m", "--json"]).ok();
    let lines: Vec<serde_json::Value> = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let marked_line = lines.iter().find(|line| {
        line["line"]
            .as_str()
            .is_some_and(|text| text.contains("mark one"))
    });
    assert_eq!(marked_line.unwrap()["component"], "postgres");
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
    let other_component = project.dm(&["logs", "openldap", "--since", "10m"]).ok();
    assert!(
        !other_component.stdout.contains("mark one"),
        "{other_component}"
    );

    // The engine stores a line of more than 16 KiB in parts. With these settings the server logs
    // neither the statement nor its context after the line.
    let log_long_line = "SET log_min_error_statement = 'panic'; SET log_error_verbosity = 'terse';
        DO $$ BEGIN RAISE LOG 'long % end', repeat('x', 40000); END $$";
    let long_line = format!("LOG:  long {} end", "x".repeat(40_000));
    let until = Instant::now() + Duration::from_secs(60);
    // Other tests may log lines in between.
    loop {
        project.sql(log_long_line);
        let last = project.dm(&["logs", "--tail", "1", "postgres"]).ok();
        assert_eq!(last.stdout.lines().count(), 1, "{last}");
        if last.text().ends_with(&long_line) {
            break;
        }
        assert!(Instant::now() < until, "no whole line\n{last}");
    }

    let following = project
        .dm(&["logs", "-f", "--tail", "0", "postgres"])
        .spawn();
    // The start of following is not visible from outside, so the test logs until a line arrives.
    let marking = std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(200)).is_err() {
                log_marker("two");
            }
        });
        following.wait_for_stdout("mark two");
        stop.send(())
    });
    assert!(marking.is_ok());
    following.signal(Signal::INT);
    following.wait().exits(130);
}

async fn followed_logs_continue_over_a_restart_and_a_new_container() {
    let project = Project::new("follow");
    project
        .dm(&["logs", "postgres"])
        .run()
        .exits(4)
        .stderr_contains("dm up --only postgres");

    let following = project.dm(&["logs", "-f", "postgres"]).spawn();
    let wait_for_note = |text: &str| {
        let is_printed = following.wait_for_stderr(|line| line.contains(text));
        assert!(is_printed, "{text}");
    };
    // The statement is logged, too, without this prefix.
    let marked_line = |mark: &str| format!("LOG:  mark {mark}");
    let log_mark = |mark: &str| {
        project.sql(&format!("DO $$ BEGIN RAISE LOG 'mark {mark}'; END $$"));
        following.wait_for_stdout(&marked_line(mark));
    };
    wait_for_note("no component is running; waiting for a start");
    project.up(&["--only", "postgres"]).ok();
    log_mark("started");
    let first = project.objects().await.ids();

    project.dm(&["restart", "postgres"]).ok();
    log_mark("restarted");
    wait_for_note("postgres has stopped; waiting for it");
    assert_eq!(project.objects().await.ids(), first);

    let changed = [
        "--only",
        "postgres",
        "--set",
        "postgres.settings.work_mem=8MB",
    ];
    project.up(&changed).ok();
    log_mark("recreated");
    assert_ne!(project.objects().await.ids(), first);

    following.signal(Signal::INT);
    let output = following.wait().exits(130);
    // A log that is opened again repeats no line.
    for mark in ["started", "restarted", "recreated"] {
        let count = output.stdout.matches(&marked_line(mark)).count();
        assert_eq!(count, 1, "{mark}\n{output}");
    }
}

async fn open_prints_addresses_that_answer() {
    let shared = shared();
    let keycloak = shared.project.dm(&["open", "--print"]).ok();
    assert_eq!(
        keycloak.text(),
        format!("{}/admin/", shared.servers.keycloak())
    );
    let rabbitmq = shared.project.dm(&["open", "--print", "rabbitmq"]).ok();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for address in [keycloak.text(), rabbitmq.text()] {
        let answer = client.get(address).send().await.unwrap();
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
        .stderr_contains("keycloak");

    let status = shared.project.dm(&["status", "--check"]).ok();
    for component in COMPONENTS {
        assert!(status.stdout.contains(component), "{status}");
    }
}
