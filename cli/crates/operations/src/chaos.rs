//! Injects faults into the running stack, step by step.

use dm_chaos::{ChaosContext, Fault, FaultOutcome, ScenarioStep};
use dm_core::error::Result;
use dm_messaging::queues;

use crate::exec;
use crate::session::{Session, StackClients};

/// An event of a scenario.
#[derive(Debug)]
pub enum ScenarioEvent<'a> {
    /// A fault is about to be injected.
    Injecting(&'a Fault),
    /// A fault was injected, with this outcome.
    Injected(&'a Fault, FaultOutcome),
}

/// The outcome of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScenarioOutcome {
    /// All steps were executed.
    Completed,
    /// The scenario was interrupted.
    Interrupted,
}

/// Executes the steps of a scenario in order. All components and queues are checked before
/// the first fault is injected.
///
/// # Errors
/// If a step names an unknown component or queue, if its component is not running, or if the
/// fault cannot be injected.
pub async fn run(
    session: &Session,
    steps: &[ScenarioStep],
    on_event: &mut (dyn FnMut(ScenarioEvent<'_>) + Send),
) -> Result<ScenarioOutcome> {
    let clients = StackClients::open(session).await?;
    for ScenarioStep { fault, .. } in steps {
        if let Some(component) = fault.component() {
            clients.project.check_component(component)?;
        }
        if let Fault::Poison { queue } = fault {
            queues::resolve_event_queues(std::slice::from_ref(queue))?;
        }
    }
    let management = clients.management()?;
    for ScenarioStep { delay, fault } in steps {
        tokio::select! {
            () = session.interrupt.cancelled() => return Ok(ScenarioOutcome::Interrupted),
            () = tokio::time::sleep(*delay) => {}
        }
        if let Some(component) = fault.component() {
            exec::running_container(&clients.project, &clients.engine, component).await?;
        }
        // A new connection for each step: an earlier fault may have closed the last one.
        let broker = match fault {
            Fault::Poison { .. } => Some(clients.connect_broker().await?),
            _ => None,
        };
        let context = ChaosContext {
            engine: &clients.engine,
            instance: &clients.project.instance,
            stop_timeout: clients.config().timeouts.stop.as_duration(),
            broker: broker.as_ref(),
            management: &management,
            interrupt: &session.interrupt,
        };
        on_event(ScenarioEvent::Injecting(fault));
        let outcome = fault.inject(&context).await?;
        on_event(ScenarioEvent::Injected(fault, outcome));
    }
    Ok(ScenarioOutcome::Completed)
}
