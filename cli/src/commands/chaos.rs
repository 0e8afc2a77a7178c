//! `dm chaos`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use dm_chaos::{Fault, FaultOutcome, Scenario, ScenarioStep};
use dm_core::error::{ExitStatus, Result};
use dm_operations::chaos;
use dm_terminal::text;

use crate::context::Context;

/// Inject faults into the running stack.
///
/// If dm is killed during a fault, `dm up` restores the component.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  dm chaos kill rabbitmq --for 3s
  dm chaos cut postgres
  dm chaos scenario fixtures/demo/broker-outage.toml")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Put a message that cannot be processed into a work queue.
    #[command(after_long_help = "Examples:
  dm chaos poison inventory.order-events.q
  dm chaos poison inventory.order-events.q --after 5s")]
    Poison {
        /// Work queue, e.g. `inventory.order-events.q`.
        queue: String,
        #[command(flatten)]
        delay: DelayArgs,
    },
    /// Kill a component (SIGKILL).
    #[command(after_long_help = "Examples:
  dm chaos kill order
  dm chaos kill rabbitmq --for 3s")]
    Kill {
        /// Component, e.g. `rabbitmq` or `order`.
        component: String,
        #[command(flatten)]
        delay: DelayArgs,
        /// Start the component again after this time, e.g. `3s` [default: leave it stopped].
        ///
        /// `dm up` starts a component that was left stopped.
        #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
        time: Option<Duration>,
    },
    /// Freeze a component for some time.
    ///
    /// Its connections stay open, but it does not respond.
    #[command(after_long_help = "Examples:
  dm chaos pause postgres
  dm chaos pause rabbitmq --for 30s")]
    Pause(TimedFaultArgs),
    /// Disconnect a component from the network for some time.
    ///
    /// Its connections stay half open.
    #[command(after_long_help = "Examples:
  dm chaos cut inventory
  dm chaos cut postgres --for 30s --after 5s")]
    Cut(TimedFaultArgs),
    /// Stop a component and start it again.
    #[command(after_long_help = "Examples:
  dm chaos restart order
  dm chaos restart rabbitmq --after 5s")]
    Restart {
        /// Component to restart.
        component: String,
        #[command(flatten)]
        delay: DelayArgs,
    },
    /// Close all connections to the broker at once.
    #[command(after_long_help = "Examples:
  dm chaos disconnect
  dm chaos disconnect --after 5s")]
    Disconnect {
        #[command(flatten)]
        delay: DelayArgs,
    },
    /// Inject the faults of a scenario file, one after the other.
    #[command(after_long_help = "Examples:
  dm chaos scenario fixtures/demo/broker-outage.toml
  dm chaos scenario fixtures/demo/broker-outage.toml --instance review")]
    Scenario {
        /// Scenario file in TOML, with one `[[step]]` per fault.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct DelayArgs {
    /// Time to wait before the fault, e.g. `5s`.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    after: Duration,
}

#[derive(Debug, Args)]
struct TimedFaultArgs {
    /// Component, e.g. `rabbitmq` or `order`.
    component: String,
    #[command(flatten)]
    delay: DelayArgs,
    /// Duration of the fault, e.g. `10s`; an interrupt ends the fault early.
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    time: Duration,
}

impl Arguments {
    /// Returns the requested faults as steps.
    fn into_steps(self) -> Result<Vec<ScenarioStep>> {
        let (delay, fault) = match self.action {
            Action::Scenario { file } => return Ok(Scenario::load(&file)?.steps),
            Action::Poison { queue, delay } => (delay, Fault::Poison { queue }),
            Action::Kill {
                component,
                delay,
                time,
            } => (
                delay,
                Fault::Kill {
                    component,
                    duration: time,
                },
            ),
            Action::Pause(TimedFaultArgs {
                component,
                delay,
                time,
            }) => (
                delay,
                Fault::Pause {
                    component,
                    duration: time,
                },
            ),
            Action::Cut(TimedFaultArgs {
                component,
                delay,
                time,
            }) => (
                delay,
                Fault::Cut {
                    component,
                    duration: time,
                },
            ),
            Action::Restart { component, delay } => (delay, Fault::Restart { component }),
            Action::Disconnect { delay } => (delay, Fault::Disconnect),
        };
        Ok(vec![ScenarioStep {
            delay: delay.after,
            fault,
        }])
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let steps = arguments.into_steps()?;
    let outcome = chaos::run(&context.session, &steps, &mut |event| {
        print_event(context, event)
    })
    .await?;
    Ok(if outcome == chaos::ScenarioOutcome::Completed {
        ExitStatus::Success
    } else {
        ExitStatus::Interrupted
    })
}

fn print_event(context: &Context, event: chaos::ScenarioEvent<'_>) {
    let printer = &context.printer;
    match event {
        chaos::ScenarioEvent::Injecting(fault) => {
            if let Some(sentence) = announcement(fault) {
                printer.note(&sentence);
            }
        }
        chaos::ScenarioEvent::Injected(fault, outcome) => {
            let dm_command = |command: &str| context.session.dm_command(command);
            printer.done(&outcome_sentence(fault, &outcome, dm_command));
        }
    }
}

/// Returns the sentence to print before a fault. Closing connections has none: only afterwards are
/// they closed.
fn announcement(fault: &Fault) -> Option<String> {
    match fault {
        Fault::Disconnect => None,
        fault => Some(fault.to_string()),
    }
}

/// Returns the sentence to print after a fault. `dm_command` completes a command for the instance.
fn outcome_sentence(
    fault: &Fault,
    outcome: &FaultOutcome,
    dm_command: impl Fn(&str) -> String,
) -> String {
    let component = fault.component().unwrap_or("the component");
    match outcome {
        FaultOutcome::Reverted => format!("{component} is running again"),
        FaultOutcome::NotReverted => {
            format!("{component} is down; start it: {}", dm_command("up"))
        }
        FaultOutcome::ConnectionsClosed(count) => {
            let connections = text::pluralize(*count, "connection");
            format!("{connections} to RabbitMQ closed")
        }
        FaultOutcome::PoisonPublished(id) => {
            format!("{id} was published; follow it: {}", dm_command("dlq ls"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_connections_are_reported_only_afterwards() {
        assert_eq!(announcement(&Fault::Disconnect), None);
        let outcome = FaultOutcome::ConnectionsClosed(5);
        assert_eq!(
            outcome_sentence(&Fault::Disconnect, &outcome, str::to_owned),
            "5 connections to RabbitMQ closed"
        );
    }

    #[test]
    fn fault_with_a_duration_is_announced() {
        let fault = Fault::Pause {
            component: "postgres".to_owned(),
            duration: Duration::from_secs(10),
        };
        assert_eq!(announcement(&fault), Some(fault.to_string()));
        assert_eq!(
            outcome_sentence(&fault, &FaultOutcome::Reverted, str::to_owned),
            "postgres is running again"
        );
    }
}
