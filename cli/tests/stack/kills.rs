//! `kill -9` of `dm` at every call by which it changes something, and between them.
//!
//! A proxy on the way to the engine kills it before the engine hears of the
//! call, and again after the engine did it but before `dm` hears of that. The
//! next run must end well, with nothing there twice and no volume lost.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::proxy::{Fate, Proxy};
use crate::harness::{Project, engine::Found};
use crate::test_list;

test_list![
    killed_at_every_call_of_a_first_start,
    killed_at_every_call_of_a_recreation,
    killed_at_every_call_of_down,
    killed_at_every_stage_of_the_whole_stack,
];

/// More calls than any of these runs makes.
const MANY: usize = 40;

/// Runs `dm` and has it killed at its call `number`. False where it makes no
/// such call and ends by itself.
fn run_killed(project: &Project, arguments: &[&str], number: usize, fate: Fate) -> bool {
    let proxy = Proxy::start(move |call| {
        if call.number == number {
            fate
        } else {
            Fate::Forward
        }
    });
    let running = project
        .dm(arguments)
        .env("DOCKER_HOST", proxy.address())
        .spawn();
    proxy.aim(running.pid());
    let output = running.wait();
    if proxy.killed() {
        assert_eq!(output.code, None, "it was not killed after all\n{output}");
        true
    } else {
        assert_eq!(output.code, Some(0), "calls: {:?}\n{output}", proxy.calls());
        false
    }
}

/// What must hold after every kill.
async fn check(project: &Project, before: &Found) -> Found {
    let found = project.found().await;
    found.assert_consistent();
    assert!(
        found.volumes.is_superset(&before.volumes),
        "volumes were lost: {:?} of {:?}",
        found.volumes,
        before.volumes
    );
    found
}

async fn killed_at_every_call_of_a_first_start() {
    let project = Project::new("kill-first");
    let up = ["up", "--ports", "auto", "--only", "openldap"];
    let mut kills = 0;
    'calls: for number in 0..MANY {
        for fate in [Fate::KillBefore, Fate::KillAfter] {
            project.dm(&["down", "--volumes"]).ok();
            let nothing = project.found().await;
            if !run_killed(&project, &up, number, fate) {
                break 'calls;
            }
            kills += 1;
            let left = check(&project, &nothing).await;
            project.dm(&up).ok();
            let after = check(&project, &left).await;
            assert_eq!(after.names().len(), 3, "{after:?}");
            assert_eq!(project.status()["components"][2]["state"], "ready");
        }
    }
    // Network, volume, container, its files, its start: each before and after.
    assert!(kills >= 10, "only {kills} kills");
}

async fn killed_at_every_call_of_a_recreation() {
    let project = Project::new("kill-recreate");
    let up = |memory: usize| {
        let setting = format!("postgres.settings.work_mem={memory}MB");
        [
            "up", "--ports", "auto", "--only", "postgres", "--set", &setting,
        ]
        .map(str::to_owned)
    };
    let call = |arguments: &[String; 7]| arguments.clone();
    project
        .dm(&call(&up(4)).each_ref().map(String::as_str))
        .ok();
    project.leave_mark();
    let before = project.found().await;
    let (mut kills, mut memory) = (0, 5);
    'calls: for number in 0..MANY {
        for fate in [Fate::KillBefore, Fate::KillAfter] {
            let arguments = up(memory);
            let arguments = arguments.each_ref().map(String::as_str);
            if !run_killed(&project, &arguments, number, fate) {
                break 'calls;
            }
            kills += 1;
            check(&project, &before).await;
            project.dm(&arguments).ok();
            check(&project, &before).await;
            assert!(
                project.has_mark(),
                "the data is gone after kill {number} {fate:?}"
            );
            memory += 1;
        }
    }
    // Stop, removal, container, start: each before and after.
    assert!(kills >= 8, "only {kills} kills");
}

async fn killed_at_every_call_of_down() {
    let project = Project::new("kill-down");
    let up = ["up", "--ports", "auto", "--only", "openldap"];
    let mut kills = 0;
    'calls: for number in 0..MANY {
        for fate in [Fate::KillBefore, Fate::KillAfter] {
            project.dm(&up).ok();
            if !run_killed(&project, &["down", "--volumes"], number, fate) {
                break 'calls;
            }
            kills += 1;
            project.found().await.assert_consistent();
            // Either way out: half of the times everything goes, else it comes back.
            if kills % 2 == 0 {
                project.dm(&["down", "--volumes"]).ok();
                assert!(project.found().await.names().is_empty());
            }
        }
    }
    // Stop, removal, network, volume: each before and after.
    assert!(kills >= 8, "only {kills} kills");
}

/// A moment of a run, as an event of it.
type Moment = (&'static str, fn(&Value) -> bool);

/// Moments in the order in which a first start passes them.
const MOMENTS: [Moment; 7] = [
    ("the run has begun", |event| event["event"] == "started"),
    ("a container is made", |event| event["state"] == "creating"),
    ("one runs", |event| event["state"] == "starting"),
    ("one was probed", |event| {
        event["state"] == "starting" && event["probe"].is_string()
    }),
    ("the database is being set up", |event| {
        event["name"] == "database" && event["state"] == "working"
    }),
    ("the database is set up", |event| {
        event["name"] == "database" && event["state"] == "ready"
    }),
    ("Keycloak starts", |event| {
        event["name"] == "keycloak" && event["state"] == "starting"
    }),
];

async fn killed_at_every_stage_of_the_whole_stack() {
    let project = Project::new("kill-stages");
    let mut before = project.found().await;
    for (name, moment) in MOMENTS {
        let running = project.up(&["--progress", "json"]).spawn();
        let seen = running.sees_event(moment);
        running.signal(Signal::KILL);
        let output = running.wait();
        assert!(seen, "it ended before: {name}\n{output}");
        assert_eq!(output.code, None, "it was not killed when {name}\n{output}");
        before = check(&project, &before).await;
    }
    project.up(&[]).ok();
    let after = check(&project, &before).await;
    assert_eq!(after.names().len(), 8, "{after:?}");
    project
        .dm(&["token", "jhalpert"])
        .ok()
        .tells("sales-associate");
}
