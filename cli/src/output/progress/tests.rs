use std::sync::{Arc, Mutex};

use super::board::Board;
use super::*;
use crate::output::testing::{
    Captured, assert_fits, captured, coloured, pipe_env, terminal, visible,
};
use crate::output::{Canvas, Env, Flags, Settings};
use crate::stack::event::{Node, NodeKind};

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

fn frame(events: &[Event], canvas: &Canvas, rows: usize) -> String {
    let now = Duration::from_millis(2_500);
    let deadline = Some(Duration::from_secs(300));
    view::frame(&board(events), now, deadline, canvas, rows).join("\n")
}

#[test]
fn a_frame_at_each_width() {
    let events = first_half();
    insta::assert_snapshot!("frame_40", frame(&events, &terminal(40), 24));
    insta::assert_snapshot!("frame_80", frame(&events, &terminal(80), 24));
    insta::assert_snapshot!("frame_200", frame(&events, &terminal(200), 24));
    insta::assert_snapshot!("frame_colour", visible(&frame(&events, &coloured(80), 24)));
    for width in [1, 7, 20, 40, 80, 200] {
        // Narrower than the terminal, so that nothing ever touches the edge.
        assert_fits(&frame(&events, &coloured(width), 24), width - 1);
    }
}

#[test]
fn a_long_run_collapses() {
    let events = first_half();
    insta::assert_snapshot!("collapse_8_rows", frame(&events, &terminal(80), 8));
    insta::assert_snapshot!("collapse_6_rows", frame(&events, &terminal(80), 6));
    for rows in 1..12 {
        let lines = frame(&events, &terminal(40), rows).lines().count();
        assert!(lines < rows.max(3), "{lines} lines on {rows} rows");
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
fn terminal_printer(columns: u16, rows: u16) -> (Printer, Arc<Mutex<vt100::Parser>>) {
    struct Terminal(Arc<Mutex<vt100::Parser>>);

    impl std::io::Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).replace('\n', "\r\n");
            self.0.lock().unwrap().process(text.as_bytes());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let env = Env {
        stderr_terminal: true,
        term: Some("xterm".into()),
        ..pipe_env()
    };
    let emulator = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
    let printer = Printer::with_sizes(
        Settings::decide(&Flags::default(), &env),
        Box::new(Captured::default()),
        Box::new(Terminal(Arc::clone(&emulator))),
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
    insta::assert_snapshot!("screen_good", emulator.lock().unwrap().screen().contents());
}

#[test]
fn a_terminal_ends_with_the_failure_and_the_list() {
    let (printer, emulator) = terminal_printer(80, 40);
    let recording = block_on(run(&printer, [first_half(), bad_end()].concat()));
    assert_eq!(recording.failures.len(), 1);
    insta::assert_snapshot!("screen_bad", emulator.lock().unwrap().screen().contents());
}

#[test]
fn an_interrupted_run_says_that_it_winds_down() {
    let (printer, emulator) = terminal_printer(80, 24);
    let (sender, receiver) = mpsc::unbounded_channel();
    for event in first_half() {
        sender.send(event).unwrap();
    }
    sender.send(Event::Interrupted).unwrap();
    let contents = || emulator.lock().unwrap().screen().contents();
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
