//! Services that end at each step of relaying and consuming.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::super::stack::{PATIENCE, dm, ok};
use super::twin::Twin;
use super::{Fault, container, kill, more_orders};

/// Where a relay can end.
const RELAYING: [&str; 4] = [
    "relay.claimed",
    "publisher.sent",
    "relay.confirmed",
    "relay.marked",
];

/// Where a consumer can end.
const CONSUMING: [&str; 5] = [
    "consumer.delivered",
    "consumer.noted",
    "consumer.applied",
    "consumer.committed",
    "consumer.acknowledged",
];

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        test: "a_relay_that_ends_at_any_step_loses_nothing",
        name: "a relay is killed: events claimed, sent, confirmed, marked",
        inject: relaying,
    },
    Fault {
        test: "a_consumer_that_ends_at_any_step_loses_nothing",
        name: "a consumer is killed: delivered, inbox written, effect written, committed, acked",
        inject: consuming,
    },
    Fault {
        test: "killed_services_lose_nothing",
        name: "kill -9 of services at random moments",
        inject: anywhere,
    },
    Fault {
        test: "connections_that_end_before_the_confirm_lose_nothing",
        name: "connections are closed between publish and confirm",
        inject: before_the_confirm,
    },
    Fault {
        test: "a_stalled_consumer_loses_nothing",
        name: "a consumer is frozen for 5 s",
        inject: stalled,
    },
    Fault {
        test: "a_clock_that_is_off_by_an_hour_loses_nothing",
        name: "clocks of two services are off by an hour, ahead and behind",
        inject: clock,
    },
    Fault {
        test: "two_instances_share_the_work",
        name: "two relays of one outbox, one is killed",
        inject: twins,
    },
];

/// Brings services up with fail points, which they may get to before they are ready: one
/// after the other, because a failure ends an `up`. `dm up` without them is the way back.
pub(super) fn with(settings: &[(&str, String)]) {
    for (service, points) in settings {
        let set = format!("services.{service}.environment.{points}");
        dm(&["up", "--only", service, "--set", &set]);
    }
}

pub(super) fn fail_at(step: &str, passage: u32) -> String {
    format!("DM_FAIL_POINTS={step}@{passage}")
}

/// Waits until services have ended.
pub(super) fn ended(services: &[&str]) -> Result<(), Failed> {
    let until = Instant::now() + PATIENCE;
    for service in services {
        while !container(service)?.is_empty() {
            if Instant::now() > until {
                return Err(format!("{service} got to no fail point").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

/// Each of these services at each step, at a passage that chance decides. Where the order
/// service ends nobody else has work, so that it has rounds of its own.
fn rounds(steps: &[&str], rounds: &[&[&str]], seed: u64) -> Result<usize, Failed> {
    let mut random = fastrand::Rng::with_seed(seed);
    for (at, _) in steps.iter().enumerate() {
        for services in rounds {
            let settings: Vec<_> = services
                .iter()
                .enumerate()
                .map(|(more, service)| {
                    let step = steps[(at + more) % steps.len()];
                    (*service, fail_at(step, random.u32(1..12)))
                })
                .collect();
            with(&settings);
            ended(services)?;
            ok(&["up"])?;
        }
    }
    Ok(steps.len() * rounds.iter().map(|services| services.len()).sum::<usize>())
}

fn relaying() -> Result<usize, Failed> {
    rounds(&RELAYING, &[&["order"], &["inventory", "wuphf"]], 7)
}

fn consuming() -> Result<usize, Failed> {
    rounds(&CONSUMING, &[&["order"], &["inventory", "wuphf"]], 11)
}

fn anywhere() -> Result<usize, Failed> {
    let mut random = fastrand::Rng::with_seed(13);
    let rounds = 3;
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_millis(random.u64(200..1200)));
        for component in ["inventory", "wuphf"] {
            kill(component)?;
        }
        ok(&["up"])?;
    }
    Ok(2 * rounds)
}

/// The publisher waits with its messages sent, and loses its connection meanwhile.
fn before_the_confirm() -> Result<usize, Failed> {
    with(&[
        ("order", "DM_FAIL_POINTS=publisher.sent@20=3000".to_owned()),
        (
            "inventory",
            "DM_FAIL_POINTS=publisher.sent@20=3000".to_owned(),
        ),
    ]);
    let mut closed = 0;
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(500));
        ok(&["chaos", "disconnect"])?;
        closed += 1;
    }
    Ok(closed)
}

fn stalled() -> Result<usize, Failed> {
    ok(&["chaos", "pause", "inventory", "--for", "5s"])?;
    Ok(1)
}

fn clock() -> Result<usize, Failed> {
    with(&[
        ("order", "DM_CLOCK_OFFSET_MS=3600000".to_owned()),
        ("inventory", "DM_CLOCK_OFFSET_MS=-3600000".to_owned()),
    ]);
    more_orders(20)?;
    Ok(2)
}

fn twins() -> Result<usize, Failed> {
    let twin = Twin::of("inventory")?;
    twin.logs("\"applied\":\"Now\"")?;
    kill("inventory")?;
    twin.logs("relaying the outbox")?;
    ok(&["up"])?;
    Ok(1)
}
