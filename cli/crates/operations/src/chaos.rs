//! Faults are injected into the running stack, one step after the other.

use dm_chaos::{ChaosContext, Fault, FaultOutcome, ScenarioStep};
use dm_core::error::Result;
use dm_messaging::queues;

use crate::exec;
use crate::session::{Session, StackClients};

/// What happens in a scenario.
#[derive(Debug)]
pub enum ScenarioEvent<'a> {
    /// A fault is about to be injected.
    Injecting(&'a Fault),
    /// A fault was injected, and this came of it.
    Injected(&'a Fault, FaultOutcome),
}

/// How far a scenario got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScenarioOutcome {
    /// To its end.
    Completed,
    /// Up to an interrupt.
    Interrupted,
}

/// Takes the steps of a scenario in their order. Each names a component or a queue that
/// exists, or nothing is injected.
///
/// # Errors
/// A step that can't be taken; a component that does not run when its turn comes.
pub async fn run(
    session: &Session,
    steps: &[ScenarioStep],
    on_event: &mut (dyn FnMut(ScenarioEvent<'_>) + Send),
) -> Result<ScenarioOutcome> {
    let desk = StackClients::open(session).await?;
    for ScenarioStep { fault, .. } in steps {
        if let Some(component) = fault.component() {
            desk.project.check_component(component)?;
        }
        if let Fault::Poison { queue } = fault {
            queues::resolve_work_queues(std::slice::from_ref(queue))?;
        }
    }
    let management = desk.management()?;
    for ScenarioStep {
        delay: after,
        fault,
    } in steps
    {
        tokio::select! {
            () = session.interrupt.cancelled() => return Ok(ScenarioOutcome::Interrupted),
            () = tokio::time::sleep(*after) => {}
        }
        if let Some(component) = fault.component() {
            exec::running_container(&desk.project, &desk.engine, component).await?;
        }
        // Made anew for each: a fault before may have ended it.
        let broker = match fault {
            Fault::Poison { .. } => Some(desk.connect_broker().await?),
            _ => None,
        };
        let site = ChaosContext {
            engine: &desk.engine,
            instance: &desk.project.instance,
            stop_timeout: desk.config().timeouts.stop.as_duration(),
            broker: broker.as_ref(),
            management: &management,
            interrupt: &session.interrupt,
        };
        on_event(ScenarioEvent::Injecting(fault));
        let broken = fault.inject(&site).await?;
        on_event(ScenarioEvent::Injected(fault, broken));
    }
    Ok(ScenarioOutcome::Completed)
}
