//! `dm chaos`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use dm_chaos::{Broken, Fault, Scenario, Step};
use dm_core::error::{Exit, Result};
use dm_operations::chaos;
use dm_terminal::text;

use crate::context::Context;

/// Break something on purpose, for an audience or a test.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Put a message into a work queue that its consumer can't handle.
    Poison {
        /// The queue, e.g. `inventory.order-events.q`.
        queue: String,
        #[command(flatten)]
        when: When,
    },
    /// Kill a component as a crash would: no goodbye to anybody.
    Kill {
        /// The component, e.g. `rabbitmq` or `order`.
        component: String,
        #[command(flatten)]
        when: When,
        /// Start it again after so long; otherwise dm up brings it back.
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        time: Option<Duration>,
    },
    /// Freeze a component for a while: its connections stay open, and nothing answers.
    Pause(While),
    /// Take a component off the network for a while: its connections stay half open.
    Cut(While),
    /// Stop a component and start it again.
    Restart {
        /// The component.
        component: String,
        #[command(flatten)]
        when: When,
    },
    /// End every connection with the broker at once.
    Disconnect {
        #[command(flatten)]
        when: When,
    },
    /// Do what a file says, step by step; fixtures/demo/broker-outage.toml is one.
    Scenario {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct When {
    /// Wait for so long first.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    after: Duration,
}

#[derive(Debug, Args)]
struct While {
    /// The component.
    component: String,
    #[command(flatten)]
    when: When,
    /// For how long. An interrupt ends it early.
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    time: Duration,
}

impl Arguments {
    /// The faults that are asked for.
    fn steps(self) -> Result<Vec<Step>> {
        let (when, fault) = match self.action {
            Action::Scenario { file } => return Ok(Scenario::read(&file)?.steps),
            Action::Poison { queue, when } => (when, Fault::Poison { queue }),
            Action::Kill {
                component,
                when,
                time,
            } => (when, Fault::Kill { component, time }),
            Action::Pause(While {
                component,
                when,
                time,
            }) => (when, Fault::Pause { component, time }),
            Action::Cut(While {
                component,
                when,
                time,
            }) => (when, Fault::Cut { component, time }),
            Action::Restart { component, when } => (when, Fault::Restart { component }),
            Action::Disconnect { when } => (when, Fault::Disconnect),
        };
        Ok(vec![Step {
            after: when.after,
            fault,
        }])
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let steps = arguments.steps()?;
    let done = chaos::run(&context.session, &steps, &mut |event| show(context, event)).await?;
    Ok(if done == chaos::Done::All {
        Exit::Success
    } else {
        Exit::Interrupted
    })
}

fn show(context: &Context, event: chaos::Event<'_>) {
    let printer = &context.printer;
    let (fault, broken) = match &event {
        chaos::Event::Begins(fault) => return printer.note(&fault.to_string()),
        chaos::Event::Ended(fault, broken) => (fault, broken),
    };
    let component = fault.component().unwrap_or("it");
    printer.done(&match broken {
        Broken::Mended => format!("{component} is back"),
        Broken::Left => {
            let up = context.session.command("up");
            format!("{component} is down; {up} brings it back")
        }
        Broken::Connections(count) => format!("{} ended", text::count(*count, "connection")),
        Broken::Poisoned(id) => {
            let list = context.session.command("dlq ls");
            format!("{id} is in it; {list} shows what becomes of it")
        }
    });
}
