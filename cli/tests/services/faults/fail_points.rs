//! Services that exit at each step of relaying and consuming, or are killed, paused or
//! disconnected.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::super::stack::{TIMEOUT, dm, dm_ok};
use super::second_process::SecondProcess;
use super::{Fault, container, kill, wait_for_more_orders};

/// The fail points of a relay.
const RELAY_STEPS: [&str; 4] = [
    "relay.claimed",
    "publisher.sent",
    "relay.confirmed",
    "relay.marked",
];

/// The fail points of a consumer.
const CONSUMER_STEPS: [&str; 5] = [
    "consumer.delivered",
    "consumer.inbox-written",
    "consumer.processed",
    "consumer.committed",
    "consumer.acknowledged",
];

pub(super) const FAULTS: &[Fault] = fault_list![
    relay_exit_at_any_step_loses_no_event:
        "a relay is killed: events claimed, sent, confirmed, marked",
    consumer_exit_at_any_step_loses_no_event:
        "a consumer is killed: delivered, inbox written, effect written, committed, acked",
    services_killed_at_random_moments_lose_no_event: "kill -9 of services at random moments",
    connections_closed_before_the_confirm_lose_no_event:
        "connections are closed between publish and confirm",
    paused_consumer_loses_no_event: "a consumer is frozen for 5 s",
    clocks_off_by_an_hour_lose_no_event:
        "clocks of two services are off by an hour, ahead and behind",
    second_process_takes_over_the_relay: "two relays of one outbox, one is killed",
];

/// Starts services with settings such as fail points. A service may exit at a fail point before
/// it is ready, which ends an `up`, so each service is started by its own call. `dm up` without
/// the settings restores the services.
pub(super) fn up_with_settings(settings: &[(&str, String)]) {
    for (service, setting) in settings {
        let set = format!("services.{service}.environment.{setting}");
        dm(&["up", "--only", service, "--set", &set]);
    }
}

pub(super) fn exit_at(step: &str, passage: u32) -> String {
    format!("DM_FAIL_POINTS={step}@{passage}")
}

/// Waits until services have exited.
pub(super) fn wait_until_ended(services: &[&str]) -> Result<(), Failed> {
    let until = Instant::now() + TIMEOUT;
    for service in services {
        while !container(service)?.is_empty() {
            if Instant::now() > until {
                return Err(format!("{service} did not reach its fail point").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

/// Lets each service exit at each step, at a pseudo-random passage. While the order service is
/// down, the other services have no work, so it has rounds of its own.
fn exit_at_each_step(steps: &[&str], rounds: &[&[&str]], seed: u64) -> Result<usize, Failed> {
    let mut random = fastrand::Rng::with_seed(seed);
    for (at, _) in steps.iter().enumerate() {
        for services in rounds {
            let settings: Vec<_> = services
                .iter()
                .enumerate()
                .map(|(more, service)| {
                    let step = steps[(at + more) % steps.len()];
                    (*service, exit_at(step, random.u32(1..12)))
                })
                .collect();
            up_with_settings(&settings);
            wait_until_ended(services)?;
            dm_ok(&["up"])?;
        }
    }
    Ok(steps.len() * rounds.iter().map(|services| services.len()).sum::<usize>())
}

fn relay_exit_at_any_step_loses_no_event() -> Result<usize, Failed> {
    exit_at_each_step(&RELAY_STEPS, &[&["order"], &["inventory", "wuphf"]], 7)
}

fn consumer_exit_at_any_step_loses_no_event() -> Result<usize, Failed> {
    exit_at_each_step(&CONSUMER_STEPS, &[&["order"], &["inventory", "wuphf"]], 11)
}

fn services_killed_at_random_moments_lose_no_event() -> Result<usize, Failed> {
    let mut random = fastrand::Rng::with_seed(13);
    let rounds = 3;
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_millis(random.u64(200..1200)));
        for component in ["inventory", "wuphf"] {
            kill(component)?;
        }
        dm_ok(&["up"])?;
    }
    Ok(2 * rounds)
}

/// The publisher waits after sending its messages, and loses its connection meanwhile.
fn connections_closed_before_the_confirm_lose_no_event() -> Result<usize, Failed> {
    up_with_settings(&[
        ("order", "DM_FAIL_POINTS=publisher.sent@20=3000".to_owned()),
        (
            "inventory",
            "DM_FAIL_POINTS=publisher.sent@20=3000".to_owned(),
        ),
    ]);
    let mut closed = 0;
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(500));
        dm_ok(&["chaos", "disconnect"])?;
        closed += 1;
    }
    Ok(closed)
}

fn paused_consumer_loses_no_event() -> Result<usize, Failed> {
    dm_ok(&["chaos", "pause", "inventory", "--for", "5s"])?;
    Ok(1)
}

fn clocks_off_by_an_hour_lose_no_event() -> Result<usize, Failed> {
    up_with_settings(&[
        ("order", "DM_CLOCK_OFFSET_MS=3600000".to_owned()),
        ("inventory", "DM_CLOCK_OFFSET_MS=-3600000".to_owned()),
    ]);
    wait_for_more_orders(20)?;
    Ok(2)
}

fn second_process_takes_over_the_relay() -> Result<usize, Failed> {
    let second = SecondProcess::start("inventory")?;
    second.wait_for_log("\"duplicate\":false")?;
    kill("inventory")?;
    second.wait_for_log("relaying the outbox")?;
    dm_ok(&["up"])?;
    Ok(1)
}
