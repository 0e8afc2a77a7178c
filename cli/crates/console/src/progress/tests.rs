use dm_stack::event::{Node, NodeFailure, NodeKind, NodeState, ProgressUnit};
use dm_terminal::live::{LiveLines, ProgressTerminal};
use dm_terminal::testing::{
    CapturedOutput, TerminalEmulator, assert_fits, captured_printer, coloured_canvas, escape_sgr,
    pipe_env, terminal_canvas,
};
use dm_terminal::{Canvas, OutputFlags, OutputSettings, TerminalEnv};

use super::run_state::RunState;
use super::*;

fn node(name: &str, kind: NodeKind, after: &[&str]) -> Node {
    Node {
        name: name.into(),
        kind,
        after: after.iter().map(ToString::to_string).collect(),
    }
}

fn node_event(name: &str, state: NodeState, millis: u64) -> RunEvent {
    RunEvent::Node {
        name: name.into(),
        state,
        elapsed: Duration::from_millis(millis),
    }
}

fn working(activity: &str, detail: Option<&str>, current: u64, total: Option<u64>) -> NodeState {
    NodeState::Working {
        activity: activity.into(),
        detail: detail.map(Into::into),
        current: Some(current),
        total,
        unit: if activity == "migrating" {
            ProgressUnit::Steps
        } else {
            ProgressUnit::Bytes
        },
    }
}

fn starting(probe: Option<&str>) -> NodeState {
    NodeState::Starting {
        probe: probe.map(Into::into),
    }
}

const READY: NodeState = NodeState::Ready { unchanged: false };
const UNCHANGED: NodeState = NodeState::Ready { unchanged: true };

fn failure() -> NodeFailure {
    NodeFailure {
        name: "keycloak".into(),
        message: "the container exited before it was ready".into(),
        state: Some("exited".into()),
        exit_code: Some(1),
        out_of_memory: false,
        probe: Some("connection refused".into()),
        log: vec!["ERROR: no database".into()],
        source_errors: Vec::new(),
        blocked_nodes: vec!["gateway".into()],
        next: vec!["dm logs keycloak".into()],
        elapsed: Duration::from_millis(9_000),
    }
}

/// Returns the first half of a run: nodes of every kind are in progress.
fn first_half() -> Vec<RunEvent> {
    vec![
        RunEvent::Started {
            command: "up".into(),
            instance: "default".into(),
            nodes: vec![
                node("image/keycloak", NodeKind::Image, &[]),
                node("image/postgres", NodeKind::Image, &[]),
                node("postgres", NodeKind::Service, &["image/postgres"]),
                node("rabbitmq", NodeKind::Service, &[]),
                node("openldap", NodeKind::Service, &[]),
                node("migrations", NodeKind::Job, &["postgres"]),
                node(
                    "keycloak",
                    NodeKind::Service,
                    &["image/keycloak", "migrations", "openldap"],
                ),
                node("gateway", NodeKind::Service, &["keycloak", "rabbitmq"]),
            ],
        },
        node_event("image/postgres", UNCHANGED, 20),
        node_event(
            "image/keycloak",
            working("pulling", None, 0, Some(72_800_000)),
            30,
        ),
        node_event("postgres", NodeState::Creating, 40),
        node_event("rabbitmq", NodeState::Creating, 50),
        node_event("openldap", starting(None), 60),
        RunEvent::Note {
            name: Some("image/keycloak".into()),
            text: "not here yet: pulling".into(),
            elapsed: Duration::from_millis(70),
        },
        node_event("postgres", starting(None), 300),
        node_event(
            "rabbitmq",
            starting(Some("connection refused (127.0.0.1:5672)")),
            310,
        ),
        node_event("openldap", READY, 560),
        node_event(
            "image/keycloak",
            working("pulling", Some("layer 3/5"), 3_000_000, Some(72_800_000)),
            800,
        ),
        node_event("postgres", READY, 1_100),
        node_event(
            "migrations",
            working("migrating", Some("order/0003_outbox.sql"), 3, Some(7)),
            1_200,
        ),
        node_event(
            "image/keycloak",
            working("pulling", Some("layer 4/5"), 45_136_000, Some(72_800_000)),
            2_000,
        ),
        node_event(
            "keycloak",
            NodeState::Waiting {
                waiting_for: vec!["image/keycloak".into(), "migrations".into()],
            },
            2_000,
        ),
        node_event(
            "gateway",
            NodeState::Waiting {
                waiting_for: vec!["keycloak".into(), "rabbitmq".into()],
            },
            2_000,
        ),
    ]
}

fn good_end() -> Vec<RunEvent> {
    vec![
        node_event("migrations", READY, 2_300),
        node_event("image/keycloak", READY, 3_000),
        node_event("keycloak", NodeState::Creating, 3_010),
        node_event("rabbitmq", READY, 4_400),
        node_event("keycloak", starting(None), 3_300),
        node_event("keycloak", READY, 9_000),
        node_event("gateway", starting(None), 9_100),
        node_event("gateway", READY, 9_150),
        RunEvent::Finished {
            ok: true,
            elapsed: Duration::from_millis(9_160),
        },
    ]
}

fn bad_end() -> Vec<RunEvent> {
    vec![
        node_event("migrations", READY, 2_300),
        node_event("image/keycloak", READY, 3_000),
        node_event("keycloak", starting(None), 3_300),
        node_event("rabbitmq", READY, 4_400),
        node_event("keycloak", NodeState::Failed, 9_000),
        RunEvent::Failed(failure()),
        node_event(
            "gateway",
            NodeState::Blocked {
                blocked_by: "keycloak".into(),
            },
            9_010,
        ),
        RunEvent::Diagnostics {
            path: "/home/jim/dm-diagnostics-default.tar.gz".into(),
        },
        RunEvent::Finished {
            ok: false,
            elapsed: Duration::from_millis(9_160),
        },
    ]
}

fn run_state(events: &[RunEvent]) -> RunState {
    let mut state = RunState::default();
    for event in events {
        state.apply(event);
    }
    state
}

/// Renders the frame as a terminal receives it.
fn frame(events: &[RunEvent], canvas: &Canvas, rows: usize) -> String {
    let now = Duration::from_millis(2_500);
    let deadline = Some(Duration::from_secs(300));
    let frame = layout::render_frame(&run_state(events), now, deadline, canvas, rows);
    let size = [rows, canvas.width].map(|size| u16::try_from(size).unwrap());
    let captured = CapturedOutput::default();
    let terminal = ProgressTerminal::new(
        Box::new(captured.clone()),
        Box::new(move || Some((size[0], size[1]))),
    );
    let lines = LiveLines::new(terminal);
    lines.draw(frame, canvas.style, true).unwrap();
    let text = captured
        .contents()
        .replace("\x1b[2K", "")
        .replace("\x1b[J", "");
    text.trim_end().to_owned()
}

#[test]
fn frame_fits_each_width() {
    let events = first_half();
    insta::assert_snapshot!("frame_40", frame(&events, &terminal_canvas(40), 24));
    insta::assert_snapshot!("frame_80", frame(&events, &terminal_canvas(80), 24));
    insta::assert_snapshot!("frame_200", frame(&events, &terminal_canvas(200), 24));
    insta::assert_snapshot!(
        "frame_colour",
        escape_sgr(&frame(&events, &coloured_canvas(80), 24))
    );
    for width in [3, 7, 20, 40, 80, 200] {
        // Narrower than the terminal, so that nothing ever touches the edge.
        assert_fits(&frame(&events, &coloured_canvas(width), 24), width - 1);
    }
}

#[test]
fn frame_collapses_rows_to_fit_the_height() {
    let events = first_half();
    insta::assert_snapshot!("collapse_8_rows", frame(&events, &terminal_canvas(80), 8));
    insta::assert_snapshot!("collapse_6_rows", frame(&events, &terminal_canvas(80), 6));
    for rows in 2..12 {
        let lines = frame(&events, &terminal_canvas(40), rows).lines().count();
        assert!(lines < rows, "{lines} lines on {rows} rows");
    }
}

#[test]
fn frame_of_many_nodes_shows_the_failed_one() {
    let nodes = (0..200)
        .map(|n| node(&format!("n{n}"), NodeKind::Service, &[]))
        .collect();
    let mut events = vec![RunEvent::Started {
        command: "up".into(),
        instance: "default".into(),
        nodes,
    }];
    events.extend((0..100).map(|n| node_event(&format!("n{n}"), starting(None), 10)));
    events.push(node_event("n77", NodeState::Failed, 20));
    insta::assert_snapshot!(frame(&events, &terminal_canvas(60), 8));
}

#[test]
fn summary_lists_nodes_of_good_and_failed_runs() {
    let at = Duration::from_millis(9_160);
    let good = run_state(&[first_half(), good_end()].concat());
    insta::assert_snapshot!(
        "summary_80",
        layout::render_summary(&good, at, &terminal_canvas(80)).join("\n")
    );
    let bad = run_state(&[first_half(), bad_end()].concat());
    insta::assert_snapshot!(
        "summary_failed_40",
        layout::render_summary(&bad, at, &terminal_canvas(40)).join("\n")
    );
}

/// Returns a printer to an emulated terminal of the given size.
fn terminal_printer(columns: u16, rows: u16) -> (Printer, TerminalEmulator) {
    let env = TerminalEnv {
        stderr_is_terminal: true,
        term: Some("xterm".into()),
        ..pipe_env()
    };
    let emulator = TerminalEmulator::new(rows, columns);
    let printer = Printer::with_size_queries(
        OutputSettings::resolve(&OutputFlags::default(), &env),
        Box::new(CapturedOutput::default()),
        Box::new(emulator.clone()),
        Box::new(|| None),
        Box::new(move || Some((rows, columns))),
    );
    (printer, emulator)
}

/// Sends events one by one, with time for the reporter to draw in between.
async fn run(printer: &Printer, events: Vec<RunEvent>) -> RunRecording {
    let (sender, receiver) = mpsc::channel(1);
    let feed = async move {
        for event in events {
            let _ = sender.send(event).await;
            tokio::time::sleep(REDRAW_INTERVAL * 2).await;
        }
    };
    let (recording, ()) = tokio::join!(
        report_run(printer, receiver, ReportOptions::default()),
        feed
    );
    recording
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    // Paused time advances when all tasks wait for it: no test waits.
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn live_run_ends_with_the_summary() {
    let (printer, emulator) = terminal_printer(80, 24);
    let recording = block_on(run(&printer, [first_half(), good_end()].concat()));
    assert_eq!(recording.ok, Some(true));
    insta::assert_snapshot!("screen_good", emulator.contents());
}

#[test]
fn failed_live_run_ends_with_the_failure_and_the_summary() {
    let (printer, emulator) = terminal_printer(80, 40);
    let recording = block_on(run(&printer, [first_half(), bad_end()].concat()));
    assert_eq!(recording.failures.len(), 1);
    insta::assert_snapshot!("screen_bad", emulator.contents());
}

#[test]
fn interrupted_live_run_reports_the_interrupt() {
    let (printer, emulator) = terminal_printer(80, 24);
    let (sender, receiver) = mpsc::unbounded_channel();
    for event in first_half() {
        sender.send(event).unwrap();
    }
    sender.send(RunEvent::Interrupted).unwrap();
    let contents = || emulator.contents();
    block_on(async {
        let check = async {
            tokio::time::sleep(REDRAW_INTERVAL * 3).await;
            assert!(contents().contains("Ctrl-C again"), "{}", contents());
            sender
                .send(RunEvent::Finished {
                    ok: false,
                    elapsed: Duration::from_secs(3),
                })
                .unwrap();
        };
        tokio::join!(
            report_run(&printer, receiver, ReportOptions::default()),
            check
        );
    });
    assert!(
        contents().contains("up interrupted after 3.0s"),
        "{}",
        contents()
    );
}

#[test]
fn plain_run_writes_a_line_per_event() {
    let (printer, out, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    block_on(run(&printer, [first_half(), good_end()].concat()));
    insta::assert_snapshot!("plain_good", err.contents());
    assert_eq!(out.contents(), "", "progress is not data");

    let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    block_on(run(&printer, [first_half(), bad_end()].concat()));
    insta::assert_snapshot!("plain_bad", err.contents());
}

#[test]
fn plain_run_limits_progress_lines() {
    let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    let events = (0..=1000)
        .map(|n| {
            node_event(
                "image/x",
                working("pulling", None, n * 1000, Some(1_000_000)),
                n * 2,
            )
        })
        .collect();
    let recording = block_on(run(&printer, events));
    // 0 %, 10 %, … 100 %.
    assert_eq!(err.contents().matches("pulling").count(), 11);
    assert_eq!(recording.events.len(), 1, "and neither is the recording");
}

#[test]
fn plain_run_reports_a_long_wait() {
    let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    let (sender, receiver) = mpsc::channel(8);
    block_on(async {
        let feed = async {
            sender
                .send(node_event(
                    "keycloak",
                    starting(Some("connection refused")),
                    100,
                ))
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_secs(25)).await;
            drop(sender);
        };
        tokio::join!(
            report_run(&printer, receiver, ReportOptions::default()),
            feed
        );
    });
    insta::assert_snapshot!("plain_wait", err.contents());
}

#[test]
fn json_run_writes_an_object_per_line() {
    let flags = OutputFlags {
        progress: ProgressChoice::Json,
        ..OutputFlags::default()
    };
    let (printer, out, err) = captured_printer(&flags, &pipe_env());
    block_on(run(&printer, [first_half(), bad_end()].concat()));
    insta::assert_snapshot!("json", err.contents());
    for line in err.contents().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["event"].is_string(), "{line}");
    }
    assert_eq!(out.contents(), "");
}

#[test]
fn quiet_run_prints_only_failures() {
    let flags = OutputFlags {
        quiet: true,
        ..OutputFlags::default()
    };
    let (printer, _, err) = captured_printer(&flags, &pipe_env());
    block_on(run(&printer, [first_half(), good_end()].concat()));
    assert_eq!(err.contents(), "");
    block_on(run(&printer, [first_half(), bad_end()].concat()));
    assert!(err.contents().contains("keycloak failed"));
}

#[test]
fn live_run_of_many_nodes_stays_within_the_window() {
    let names: Vec<String> = (0..60).map(|n| format!("service-{n}")).collect();
    let nodes = names.iter().map(|name| node(name, NodeKind::Service, &[]));
    let mut events = vec![RunEvent::Started {
        command: "up".into(),
        instance: "default".into(),
        nodes: nodes.collect(),
    }];
    events.extend(
        names
            .iter()
            .map(|name| node_event(name, starting(None), 10)),
    );
    events.extend(
        names
            .iter()
            .take(30)
            .map(|name| node_event(name, READY, 900)),
    );
    let (printer, emulator) = terminal_printer(60, 8);
    block_on(async {
        let (sender, receiver) = mpsc::unbounded_channel();
        let check = async {
            for event in events {
                sender.send(event).unwrap();
                tokio::time::sleep(REDRAW_INTERVAL).await;
                // A frame that is too high scrolls, and the next one does not
                // overwrite the rows that scrolled away.
                let contents = emulator.contents();
                assert!(contents.lines().count() < 8, "{contents}");
                assert!(contents.matches(" done").count() <= 1, "{contents}");
            }
            insta::assert_snapshot!("many_nodes", emulator.contents());
            drop(sender);
        };
        tokio::join!(
            report_run(&printer, receiver, ReportOptions::default()),
            check
        );
    });
}

/// Returns a run for which nothing has to be done.
fn unchanged_run() -> Vec<RunEvent> {
    let names = ["postgres", "database", "keycloak"];
    let nodes = names.map(|name| node(name, NodeKind::Service, &[]));
    let checking = NodeState::Working {
        activity: "checking".into(),
        detail: Some("roles, schemas, migrations".into()),
        current: None,
        total: None,
        unit: ProgressUnit::Steps,
    };
    vec![
        RunEvent::Started {
            command: "up".into(),
            instance: "default".into(),
            nodes: nodes.into(),
        },
        node_event("postgres", UNCHANGED, 20),
        node_event("database", checking, 30),
        node_event("keycloak", UNCHANGED, 40),
        node_event("database", UNCHANGED, 210),
        RunEvent::Finished {
            ok: true,
            elapsed: Duration::from_millis(220),
        },
    ]
}

#[test]
fn unchanged_run_is_reported_in_one_line() {
    let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    let send_at_once = |events: Vec<RunEvent>| {
        let (sender, receiver) = mpsc::unbounded_channel();
        for event in events {
            sender.send(event).unwrap();
        }
        receiver
    };
    block_on(report_run(
        &printer,
        send_at_once(unchanged_run()),
        ReportOptions::default(),
    ));
    assert_eq!(err.contents(), "everything is already ready (0.2s)\n");

    let (printer, emulator) = terminal_printer(80, 24);
    block_on(run(&printer, unchanged_run()));
    assert_eq!(emulator.contents(), "✓ everything is already ready (0.2s)");

    let flags = OutputFlags {
        verbose: true,
        ..OutputFlags::default()
    };
    let (printer, _, err) = captured_printer(&flags, &pipe_env());
    block_on(report_run(
        &printer,
        send_at_once(unchanged_run()),
        ReportOptions::default(),
    ));
    assert_eq!(err.contents().matches("ready (unchanged)").count(), 3);

    // A later failure also prints the lines that were held back.
    let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    let mut events = unchanged_run();
    events.insert(4, node_event("database", NodeState::Failed, 50));
    block_on(report_run(
        &printer,
        send_at_once(events),
        ReportOptions::default(),
    ));
    assert!(
        err.contents().contains("postgres ready (unchanged)"),
        "{}",
        err.contents()
    );
    assert!(
        err.contents().contains("database failed"),
        "{}",
        err.contents()
    );
}

#[test]
fn run_without_nodes_prints_nothing() {
    let events = vec![
        RunEvent::Started {
            command: "down".into(),
            instance: "default".into(),
            nodes: vec![],
        },
        RunEvent::Finished {
            ok: true,
            elapsed: Duration::from_millis(20),
        },
    ];
    let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    block_on(run(&printer, events.clone()));
    assert_eq!(err.contents(), "");
    let (printer, emulator) = terminal_printer(80, 24);
    block_on(run(&printer, events));
    assert_eq!(emulator.contents(), "");
}

/// A reset removes the same nodes and creates them again.
#[test]
fn nodes_announced_again_are_counted_once() {
    let started = || RunEvent::Started {
        command: "reset".into(),
        instance: "default".into(),
        nodes: vec![
            node("postgres", NodeKind::Service, &[]),
            node("keycloak", NodeKind::Service, &[]),
        ],
    };
    let removed = run_state(&[
        started(),
        node_event("postgres", NodeState::Removed, 10),
        node_event("keycloak", NodeState::Removed, 20),
        started(),
    ]);
    assert_eq!(removed.status_counts(), "2 not started");
    let mut events = vec![
        started(),
        node_event("postgres", NodeState::Removed, 10),
        node_event("keycloak", NodeState::Removed, 20),
        started(),
        node_event("postgres", READY, 900),
        node_event("keycloak", READY, 7_000),
    ];
    let elapsed = Duration::from_millis(7_100);
    assert_eq!(
        run_state(&events).outcome_sentence(true, elapsed).unwrap(),
        "reset finished after 7.1s: 2 ready"
    );
    events.truncate(3);
    events.push(RunEvent::Started {
        command: "golden make".into(),
        instance: "golden".into(),
        nodes: vec![node("postgres-image", NodeKind::Image, &[])],
    });
    events.push(node_event("postgres-image", READY, 30));
    assert_eq!(run_state(&events).status_counts(), "1 image, 2 removed");
}

#[test]
fn build_step_is_a_line_and_its_output_is_limited() {
    let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    let step = |step, detail: &str, millis| {
        let state = NodeState::Working {
            activity: "building".into(),
            detail: Some(detail.into()),
            current: Some(step),
            total: Some(17),
            unit: ProgressUnit::Steps,
        };
        node_event("keycloak-image", state, millis)
    };
    let events = vec![
        step(1, "FROM dm/base:1", 0),
        step(2, "RUN", 100),
        step(2, "RUN: Get:1 trixie", 200),
        step(2, "RUN: Setting up libpq5", 5_300),
        step(3, "COPY start.sh /", 5_400),
        node_event("keycloak-image", READY, 5_500),
    ];
    block_on(run(&printer, events));
    insta::assert_snapshot!(err.contents(), @r"
    0.0s keycloak-image building step 1/17 FROM dm/base:1
    0.1s keycloak-image building step 2/17 RUN
    5.3s keycloak-image building step 2/17 RUN: Setting up libpq5
    5.4s keycloak-image building step 3/17 COPY start.sh /
    5.5s keycloak-image ready (5.5s)
    ");
}
