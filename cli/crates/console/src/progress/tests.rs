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
        at: Duration::from_millis(millis),
    }
}

fn working(doing: &str, detail: Option<&str>, current: u64, total: Option<u64>) -> NodeState {
    NodeState::Working {
        doing: doing.into(),
        detail: detail.map(Into::into),
        current: Some(current),
        total,
        unit: if doing == "migrating" {
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

const READY: NodeState = NodeState::Ready { kept: false };
const KEPT: NodeState = NodeState::Ready { kept: true };

fn failure() -> NodeFailure {
    NodeFailure {
        name: "keycloak".into(),
        what: "the container exited before it was ready".into(),
        state: Some("exited".into()),
        exit_code: Some(1),
        out_of_memory: false,
        probe: Some("connection refused".into()),
        log: vec!["ERROR: no database".into()],
        source_errors: Vec::new(),
        blocks: vec!["gateway".into()],
        next: vec!["dm logs keycloak".into()],
        at: Duration::from_millis(9_000),
    }
}

/// The first half of a run: something of every kind is under way.
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
        node_event("image/postgres", KEPT, 20),
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
            at: Duration::from_millis(70),
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
                on: vec!["image/keycloak".into(), "migrations".into()],
            },
            2_000,
        ),
        node_event(
            "gateway",
            NodeState::Waiting {
                on: vec!["keycloak".into(), "rabbitmq".into()],
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
            at: Duration::from_millis(9_160),
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
                by: "keycloak".into(),
            },
            9_010,
        ),
        RunEvent::Diagnostics {
            path: "/home/jim/dm-diagnostics-default.tar.gz".into(),
        },
        RunEvent::Finished {
            ok: false,
            at: Duration::from_millis(9_160),
        },
    ]
}

fn run_state(events: &[RunEvent]) -> RunState {
    let mut board = RunState::default();
    for event in events {
        board.apply(event);
    }
    board
}

/// The frame as it comes to a terminal.
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
fn a_frame_at_each_width() {
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
fn a_long_run_collapses() {
    let events = first_half();
    insta::assert_snapshot!("collapse_8_rows", frame(&events, &terminal_canvas(80), 8));
    insta::assert_snapshot!("collapse_6_rows", frame(&events, &terminal_canvas(80), 6));
    for rows in 2..12 {
        let lines = frame(&events, &terminal_canvas(40), rows).lines().count();
        assert!(lines < rows, "{lines} lines on {rows} rows");
    }
}

#[test]
fn a_great_many_nodes_still_show_the_failed_one() {
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
fn the_list_that_stays() {
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

/// A printer to a terminal of the given size, for the whole of a run.
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

/// Feeds events one by one, with time for the reporter to draw in between.
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
    // Time that stands still until all wait for it: no test waits.
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn a_terminal_ends_with_a_neat_list() {
    let (printer, emulator) = terminal_printer(80, 24);
    let recording = block_on(run(&printer, [first_half(), good_end()].concat()));
    assert_eq!(recording.ok, Some(true));
    insta::assert_snapshot!("screen_good", emulator.contents());
}

#[test]
fn a_terminal_ends_with_the_failure_and_the_list() {
    let (printer, emulator) = terminal_printer(80, 40);
    let recording = block_on(run(&printer, [first_half(), bad_end()].concat()));
    assert_eq!(recording.failures.len(), 1);
    insta::assert_snapshot!("screen_bad", emulator.contents());
}

#[test]
fn an_interrupted_run_says_that_it_winds_down() {
    let (printer, emulator) = terminal_printer(80, 24);
    let (sender, receiver) = mpsc::unbounded_channel();
    for event in first_half() {
        sender.send(event).unwrap();
    }
    sender.send(RunEvent::Interrupted).unwrap();
    let contents = || emulator.contents();
    block_on(async {
        let look = async {
            tokio::time::sleep(REDRAW_INTERVAL * 3).await;
            assert!(contents().contains("Ctrl-C again"), "{}", contents());
            sender
                .send(RunEvent::Finished {
                    ok: false,
                    at: Duration::from_secs(3),
                })
                .unwrap();
        };
        tokio::join!(
            report_run(&printer, receiver, ReportOptions::default()),
            look
        );
    });
    assert!(
        contents().contains("up interrupted after 3.0s"),
        "{}",
        contents()
    );
}

#[test]
fn a_pipe_gets_a_line_an_event() {
    let (printer, out, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    block_on(run(&printer, [first_half(), good_end()].concat()));
    insta::assert_snapshot!("plain_good", err.contents());
    assert_eq!(out.contents(), "", "progress is no data");

    let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    block_on(run(&printer, [first_half(), bad_end()].concat()));
    insta::assert_snapshot!("plain_bad", err.contents());
}

#[test]
fn a_pipe_is_not_flooded_with_progress() {
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
fn a_pipe_hears_of_a_long_wait() {
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
fn json_lines_can_be_read() {
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
fn quiet_tells_of_failures_alone() {
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
fn a_run_of_many_nodes_keeps_to_the_window() {
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
        let look = async {
            for event in events {
                sender.send(event).unwrap();
                tokio::time::sleep(REDRAW_INTERVAL).await;
                // A frame that is too high scrolls, and the next one leaves
                // what scrolled away where it is.
                let seen = emulator.contents();
                assert!(seen.lines().count() < 8, "{seen}");
                assert!(seen.matches(" done").count() <= 1, "{seen}");
            }
            insta::assert_snapshot!("many_nodes", emulator.contents());
            drop(sender);
        };
        tokio::join!(
            report_run(&printer, receiver, ReportOptions::default()),
            look
        );
    });
}

/// A run of which nothing has to be done.
fn kept_run() -> Vec<RunEvent> {
    let names = ["postgres", "database", "keycloak"];
    let nodes = names.map(|name| node(name, NodeKind::Service, &[]));
    let checking = NodeState::Working {
        doing: "checking".into(),
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
        node_event("postgres", KEPT, 20),
        node_event("database", checking, 30),
        node_event("keycloak", KEPT, 40),
        node_event("database", KEPT, 210),
        RunEvent::Finished {
            ok: true,
            at: Duration::from_millis(220),
        },
    ]
}

#[test]
fn a_run_with_nothing_to_do_says_just_that() {
    let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    let quickly = |events: Vec<RunEvent>| {
        let (sender, receiver) = mpsc::unbounded_channel();
        for event in events {
            sender.send(event).unwrap();
        }
        receiver
    };
    block_on(report_run(
        &printer,
        quickly(kept_run()),
        ReportOptions::default(),
    ));
    assert_eq!(err.contents(), "everything is already ready (0.2s)\n");

    let (printer, emulator) = terminal_printer(80, 24);
    block_on(run(&printer, kept_run()));
    assert_eq!(emulator.contents(), "✓ everything is already ready (0.2s)");

    let flags = OutputFlags {
        verbose: true,
        ..OutputFlags::default()
    };
    let (printer, _, err) = captured_printer(&flags, &pipe_env());
    block_on(report_run(
        &printer,
        quickly(kept_run()),
        ReportOptions::default(),
    ));
    assert_eq!(err.contents().matches("ready (kept)").count(), 3);

    // What fails after all is told with all that was held back.
    let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    let mut events = kept_run();
    events.insert(4, node_event("database", NodeState::Failed, 50));
    block_on(report_run(
        &printer,
        quickly(events),
        ReportOptions::default(),
    ));
    assert!(
        err.contents().contains("postgres ready (kept)"),
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
fn a_run_without_a_node_says_nothing() {
    let events = vec![
        RunEvent::Started {
            command: "down".into(),
            instance: "default".into(),
            nodes: vec![],
        },
        RunEvent::Finished {
            ok: true,
            at: Duration::from_millis(20),
        },
    ];
    let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    block_on(run(&printer, events.clone()));
    assert_eq!(err.contents(), "");
    let (printer, emulator) = terminal_printer(80, 24);
    block_on(run(&printer, events));
    assert_eq!(emulator.contents(), "");
}

/// A reset: the same nodes go, and come again.
#[test]
fn nodes_that_are_announced_again_count_once() {
    let started = || RunEvent::Started {
        command: "reset".into(),
        instance: "default".into(),
        nodes: vec![
            node("postgres", NodeKind::Service, &[]),
            node("keycloak", NodeKind::Service, &[]),
        ],
    };
    let gone = run_state(&[
        started(),
        node_event("postgres", NodeState::Gone, 10),
        node_event("keycloak", NodeState::Gone, 20),
        started(),
    ]);
    assert_eq!(gone.status_counts(), "2 not started");
    let mut events = vec![
        started(),
        node_event("postgres", NodeState::Gone, 10),
        node_event("keycloak", NodeState::Gone, 20),
        started(),
        node_event("postgres", READY, 900),
        node_event("keycloak", READY, 7_000),
    ];
    let at = Duration::from_millis(7_100);
    assert_eq!(
        run_state(&events).outcome_sentence(true, at).unwrap(),
        "reset finished after 7.1s: 2 ready"
    );
    events.truncate(3);
    events.push(RunEvent::Started {
        command: "golden make".into(),
        instance: "golden".into(),
        nodes: vec![node("postgres-image", NodeKind::Image, &[])],
    });
    events.push(node_event("postgres-image", READY, 30));
    assert_eq!(run_state(&events).status_counts(), "1 image, 2 gone");
}

#[test]
fn each_step_of_a_build_is_a_line_and_its_output_now_and_then() {
    let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
    let step = |step, detail: &str, millis| {
        let state = NodeState::Working {
            doing: "building".into(),
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
