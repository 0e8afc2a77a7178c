use dm_stack::event::{Failure, Node, NodeKind, NodeState, Unit};
use dm_terminal::live::{Lines, Terminal};
use dm_terminal::testing::{
    Captured, Emulator, assert_fits, captured, coloured, pipe_env, terminal, visible,
};
use dm_terminal::{Canvas, Env, Flags, Settings};

use super::board::Board;
use super::*;

fn node(name: &str, kind: NodeKind, after: &[&str]) -> Node {
    Node {
        name: name.into(),
        kind,
        after: after.iter().map(ToString::to_string).collect(),
    }
}

fn change(name: &str, state: NodeState, millis: u64) -> Event {
    Event::Node {
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
            Unit::Steps
        } else {
            Unit::Bytes
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

fn failure() -> Failure {
    Failure {
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
fn first_half() -> Vec<Event> {
    vec![
        Event::Started {
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
        change("image/postgres", KEPT, 20),
        change(
            "image/keycloak",
            working("pulling", None, 0, Some(72_800_000)),
            30,
        ),
        change("postgres", NodeState::Creating, 40),
        change("rabbitmq", NodeState::Creating, 50),
        change("openldap", starting(None), 60),
        Event::Note {
            name: Some("image/keycloak".into()),
            text: "not here yet: pulling".into(),
            at: Duration::from_millis(70),
        },
        change("postgres", starting(None), 300),
        change(
            "rabbitmq",
            starting(Some("connection refused (127.0.0.1:5672)")),
            310,
        ),
        change("openldap", READY, 560),
        change(
            "image/keycloak",
            working("pulling", Some("layer 3/5"), 3_000_000, Some(72_800_000)),
            800,
        ),
        change("postgres", READY, 1_100),
        change(
            "migrations",
            working("migrating", Some("order/0003_outbox.sql"), 3, Some(7)),
            1_200,
        ),
        change(
            "image/keycloak",
            working("pulling", Some("layer 4/5"), 45_136_000, Some(72_800_000)),
            2_000,
        ),
        change(
            "keycloak",
            NodeState::Waiting {
                on: vec!["image/keycloak".into(), "migrations".into()],
            },
            2_000,
        ),
        change(
            "gateway",
            NodeState::Waiting {
                on: vec!["keycloak".into(), "rabbitmq".into()],
            },
            2_000,
        ),
    ]
}

fn good_end() -> Vec<Event> {
    vec![
        change("migrations", READY, 2_300),
        change("image/keycloak", READY, 3_000),
        change("keycloak", NodeState::Creating, 3_010),
        change("rabbitmq", READY, 4_400),
        change("keycloak", starting(None), 3_300),
        change("keycloak", READY, 9_000),
        change("gateway", starting(None), 9_100),
        change("gateway", READY, 9_150),
        Event::Finished {
            ok: true,
            at: Duration::from_millis(9_160),
        },
    ]
}

fn bad_end() -> Vec<Event> {
    vec![
        change("migrations", READY, 2_300),
        change("image/keycloak", READY, 3_000),
        change("keycloak", starting(None), 3_300),
        change("rabbitmq", READY, 4_400),
        change("keycloak", NodeState::Failed, 9_000),
        Event::Failed(failure()),
        change(
            "gateway",
            NodeState::Blocked {
                by: "keycloak".into(),
            },
            9_010,
        ),
        Event::Diagnostics {
            path: "/home/jim/dm-diagnostics-default.tar.gz".into(),
        },
        Event::Finished {
            ok: false,
            at: Duration::from_millis(9_160),
        },
    ]
}

fn board(events: &[Event]) -> Board {
    let mut board = Board::default();
    for event in events {
        board.apply(event);
    }
    board
}

/// The frame as it comes to a terminal.
fn frame(events: &[Event], canvas: &Canvas, rows: usize) -> String {
    let now = Duration::from_millis(2_500);
    let deadline = Some(Duration::from_secs(300));
    let frame = view::frame(&board(events), now, deadline, canvas, rows);
    let size = [rows, canvas.width].map(|size| u16::try_from(size).unwrap());
    let captured = Captured::default();
    let terminal = Terminal::new(
        Box::new(captured.clone()),
        Box::new(move || Some((size[0], size[1]))),
    );
    let lines = Lines::new(terminal);
    lines.show(frame, canvas.style, true).unwrap();
    let text = captured.text().replace("\x1b[2K", "").replace("\x1b[J", "");
    text.trim_end().to_owned()
}

#[test]
fn a_frame_at_each_width() {
    let events = first_half();
    insta::assert_snapshot!("frame_40", frame(&events, &terminal(40), 24));
    insta::assert_snapshot!("frame_80", frame(&events, &terminal(80), 24));
    insta::assert_snapshot!("frame_200", frame(&events, &terminal(200), 24));
    insta::assert_snapshot!("frame_colour", visible(&frame(&events, &coloured(80), 24)));
    for width in [3, 7, 20, 40, 80, 200] {
        // Narrower than the terminal, so that nothing ever touches the edge.
        assert_fits(&frame(&events, &coloured(width), 24), width - 1);
    }
}

#[test]
fn a_long_run_collapses() {
    let events = first_half();
    insta::assert_snapshot!("collapse_8_rows", frame(&events, &terminal(80), 8));
    insta::assert_snapshot!("collapse_6_rows", frame(&events, &terminal(80), 6));
    for rows in 2..12 {
        let lines = frame(&events, &terminal(40), rows).lines().count();
        assert!(lines < rows, "{lines} lines on {rows} rows");
    }
}

#[test]
fn a_great_many_nodes_still_show_the_failed_one() {
    let nodes = (0..200)
        .map(|n| node(&format!("n{n}"), NodeKind::Service, &[]))
        .collect();
    let mut events = vec![Event::Started {
        command: "up".into(),
        instance: "default".into(),
        nodes,
    }];
    events.extend((0..100).map(|n| change(&format!("n{n}"), starting(None), 10)));
    events.push(change("n77", NodeState::Failed, 20));
    insta::assert_snapshot!(frame(&events, &terminal(60), 8));
}

#[test]
fn the_list_that_stays() {
    let at = Duration::from_millis(9_160);
    let good = board(&[first_half(), good_end()].concat());
    insta::assert_snapshot!(
        "summary_80",
        view::summary(&good, at, &terminal(80)).join("\n")
    );
    let bad = board(&[first_half(), bad_end()].concat());
    insta::assert_snapshot!(
        "summary_failed_40",
        view::summary(&bad, at, &terminal(40)).join("\n")
    );
}

/// A printer to a terminal of the given size, for the whole of a run.
fn terminal_printer(columns: u16, rows: u16) -> (Printer, Emulator) {
    let env = Env {
        stderr_terminal: true,
        term: Some("xterm".into()),
        ..pipe_env()
    };
    let emulator = Emulator::new(rows, columns);
    let printer = Printer::with_sizes(
        Settings::decide(&Flags::default(), &env),
        Box::new(Captured::default()),
        Box::new(emulator.clone()),
        Box::new(|| None),
        Box::new(move || Some((rows, columns))),
    );
    (printer, emulator)
}

/// Feeds events one by one, with time for the reporter to draw in between.
async fn run(printer: &Printer, events: Vec<Event>) -> Recording {
    let (sender, receiver) = mpsc::channel(1);
    let feed = async move {
        for event in events {
            let _ = sender.send(event).await;
            tokio::time::sleep(BEAT * 2).await;
        }
    };
    let (recording, ()) = tokio::join!(report(printer, receiver, Options::default()), feed);
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
    sender.send(Event::Interrupted).unwrap();
    let contents = || emulator.contents();
    block_on(async {
        let look = async {
            tokio::time::sleep(BEAT * 3).await;
            assert!(contents().contains("Ctrl-C again"), "{}", contents());
            sender
                .send(Event::Finished {
                    ok: false,
                    at: Duration::from_secs(3),
                })
                .unwrap();
        };
        tokio::join!(report(&printer, receiver, Options::default()), look);
    });
    assert!(
        contents().contains("up interrupted after 3.0s"),
        "{}",
        contents()
    );
}

#[test]
fn a_pipe_gets_a_line_an_event() {
    let (printer, out, err) = captured(&Flags::default(), &pipe_env());
    block_on(run(&printer, [first_half(), good_end()].concat()));
    insta::assert_snapshot!("plain_good", err.text());
    assert_eq!(out.text(), "", "progress is no data");

    let (printer, _, err) = captured(&Flags::default(), &pipe_env());
    block_on(run(&printer, [first_half(), bad_end()].concat()));
    insta::assert_snapshot!("plain_bad", err.text());
}

#[test]
fn a_pipe_is_not_flooded_with_progress() {
    let (printer, _, err) = captured(&Flags::default(), &pipe_env());
    let events = (0..=1000)
        .map(|n| {
            change(
                "image/x",
                working("pulling", None, n * 1000, Some(1_000_000)),
                n * 2,
            )
        })
        .collect();
    let recording = block_on(run(&printer, events));
    // 0 %, 10 %, … 100 %.
    assert_eq!(err.text().matches("pulling").count(), 11);
    assert_eq!(recording.events.len(), 1, "and neither is the recording");
}

#[test]
fn a_pipe_hears_of_a_long_wait() {
    let (printer, _, err) = captured(&Flags::default(), &pipe_env());
    let (sender, receiver) = mpsc::channel(8);
    block_on(async {
        let feed = async {
            sender
                .send(change(
                    "keycloak",
                    starting(Some("connection refused")),
                    100,
                ))
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_secs(25)).await;
            drop(sender);
        };
        tokio::join!(report(&printer, receiver, Options::default()), feed);
    });
    insta::assert_snapshot!("plain_wait", err.text());
}

#[test]
fn json_lines_can_be_read() {
    let flags = Flags {
        progress: ProgressChoice::Json,
        ..Flags::default()
    };
    let (printer, out, err) = captured(&flags, &pipe_env());
    block_on(run(&printer, [first_half(), bad_end()].concat()));
    insta::assert_snapshot!("json", err.text());
    for line in err.text().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["event"].is_string(), "{line}");
    }
    assert_eq!(out.text(), "");
}

#[test]
fn quiet_tells_of_failures_alone() {
    let flags = Flags {
        quiet: true,
        ..Flags::default()
    };
    let (printer, _, err) = captured(&flags, &pipe_env());
    block_on(run(&printer, [first_half(), good_end()].concat()));
    assert_eq!(err.text(), "");
    block_on(run(&printer, [first_half(), bad_end()].concat()));
    assert!(err.text().contains("keycloak failed"));
}

#[test]
fn a_run_of_many_nodes_keeps_to_the_window() {
    let names: Vec<String> = (0..60).map(|n| format!("service-{n}")).collect();
    let nodes = names.iter().map(|name| node(name, NodeKind::Service, &[]));
    let mut events = vec![Event::Started {
        command: "up".into(),
        instance: "default".into(),
        nodes: nodes.collect(),
    }];
    events.extend(names.iter().map(|name| change(name, starting(None), 10)));
    events.extend(names.iter().take(30).map(|name| change(name, READY, 900)));
    let (printer, emulator) = terminal_printer(60, 8);
    block_on(async {
        let (sender, receiver) = mpsc::unbounded_channel();
        let look = async {
            for event in events {
                sender.send(event).unwrap();
                tokio::time::sleep(BEAT).await;
                // A frame that is too high scrolls, and the next one leaves
                // what scrolled away where it is.
                let seen = emulator.contents();
                assert!(seen.lines().count() < 8, "{seen}");
                assert!(seen.matches(" done").count() <= 1, "{seen}");
            }
            insta::assert_snapshot!("many_nodes", emulator.contents());
            drop(sender);
        };
        tokio::join!(report(&printer, receiver, Options::default()), look);
    });
}

/// A run of which nothing has to be done.
fn kept_run() -> Vec<Event> {
    let names = ["postgres", "database", "keycloak"];
    let nodes = names.map(|name| node(name, NodeKind::Service, &[]));
    let checking = NodeState::Working {
        doing: "checking".into(),
        detail: Some("roles, schemas, migrations".into()),
        current: None,
        total: None,
        unit: Unit::Steps,
    };
    vec![
        Event::Started {
            command: "up".into(),
            instance: "default".into(),
            nodes: nodes.into(),
        },
        change("postgres", KEPT, 20),
        change("database", checking, 30),
        change("keycloak", KEPT, 40),
        change("database", KEPT, 210),
        Event::Finished {
            ok: true,
            at: Duration::from_millis(220),
        },
    ]
}

#[test]
fn a_run_with_nothing_to_do_says_just_that() {
    let (printer, _, err) = captured(&Flags::default(), &pipe_env());
    let quickly = |events: Vec<Event>| {
        let (sender, receiver) = mpsc::unbounded_channel();
        for event in events {
            sender.send(event).unwrap();
        }
        receiver
    };
    block_on(report(&printer, quickly(kept_run()), Options::default()));
    assert_eq!(err.text(), "everything is already ready (0.2s)\n");

    let (printer, emulator) = terminal_printer(80, 24);
    block_on(run(&printer, kept_run()));
    assert_eq!(emulator.contents(), "✓ everything is already ready (0.2s)");

    let flags = Flags {
        verbose: true,
        ..Flags::default()
    };
    let (printer, _, err) = captured(&flags, &pipe_env());
    block_on(report(&printer, quickly(kept_run()), Options::default()));
    assert_eq!(err.text().matches("ready (kept)").count(), 3);

    // What fails after all is told with all that was held back.
    let (printer, _, err) = captured(&Flags::default(), &pipe_env());
    let mut events = kept_run();
    events.insert(4, change("database", NodeState::Failed, 50));
    block_on(report(&printer, quickly(events), Options::default()));
    assert!(
        err.text().contains("postgres ready (kept)"),
        "{}",
        err.text()
    );
    assert!(err.text().contains("database failed"), "{}", err.text());
}

#[test]
fn a_run_without_a_node_says_nothing() {
    let events = vec![
        Event::Started {
            command: "down".into(),
            instance: "default".into(),
            nodes: vec![],
        },
        Event::Finished {
            ok: true,
            at: Duration::from_millis(20),
        },
    ];
    let (printer, _, err) = captured(&Flags::default(), &pipe_env());
    block_on(run(&printer, events.clone()));
    assert_eq!(err.text(), "");
    let (printer, emulator) = terminal_printer(80, 24);
    block_on(run(&printer, events));
    assert_eq!(emulator.contents(), "");
}

/// A reset: the same nodes go, and come again.
#[test]
fn nodes_that_are_announced_again_count_once() {
    let started = || Event::Started {
        command: "reset".into(),
        instance: "default".into(),
        nodes: vec![
            node("postgres", NodeKind::Service, &[]),
            node("keycloak", NodeKind::Service, &[]),
        ],
    };
    let gone = board(&[
        started(),
        change("postgres", NodeState::Gone, 10),
        change("keycloak", NodeState::Gone, 20),
        started(),
    ]);
    assert_eq!(gone.tally(), "2 not started");
    let mut events = vec![
        started(),
        change("postgres", NodeState::Gone, 10),
        change("keycloak", NodeState::Gone, 20),
        started(),
        change("postgres", READY, 900),
        change("keycloak", READY, 7_000),
    ];
    let at = Duration::from_millis(7_100);
    assert_eq!(
        board(&events).outcome(true, at).unwrap(),
        "reset finished after 7.1s: 2 ready"
    );
    events.truncate(3);
    events.push(Event::Started {
        command: "golden make".into(),
        instance: "golden".into(),
        nodes: vec![node("postgres-image", NodeKind::Image, &[])],
    });
    events.push(change("postgres-image", READY, 30));
    assert_eq!(board(&events).tally(), "1 image, 2 gone");
}

#[test]
fn each_step_of_a_build_is_a_line_and_its_output_now_and_then() {
    let (printer, _, err) = captured(&Flags::default(), &pipe_env());
    let step = |step, detail: &str, millis| {
        let state = NodeState::Working {
            doing: "building".into(),
            detail: Some(detail.into()),
            current: Some(step),
            total: Some(17),
            unit: Unit::Steps,
        };
        change("keycloak-image", state, millis)
    };
    let events = vec![
        step(1, "FROM dm/base:1", 0),
        step(2, "RUN", 100),
        step(2, "RUN: Get:1 trixie", 200),
        step(2, "RUN: Setting up libpq5", 5_300),
        step(3, "COPY start.sh /", 5_400),
        change("keycloak-image", READY, 5_500),
    ];
    block_on(run(&printer, events));
    insta::assert_snapshot!(err.text(), @r"
    0.0s keycloak-image building step 1/17 FROM dm/base:1
    0.1s keycloak-image building step 2/17 RUN
    5.3s keycloak-image building step 2/17 RUN: Setting up libpq5
    5.4s keycloak-image building step 3/17 COPY start.sh /
    5.5s keycloak-image ready (5.5s)
    ");
}
