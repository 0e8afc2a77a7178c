//! Faults are injected into the running stack, one step after the other.

use dm_chaos::{Broken, Fault, Site, Step};
use dm_core::error::Result;
use dm_messaging::queues;

use crate::exec;
use crate::session::{Desk, Session};

/// What happens in a scenario.
#[derive(Debug)]
pub enum Event<'a> {
    /// A fault is about to be injected.
    Begins(&'a Fault),
    /// A fault was injected, and this came of it.
    Ended(&'a Fault, Broken),
}

/// How far a scenario got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// To its end.
    All,
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
    steps: &[Step],
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<Done> {
    let desk = Desk::open(session).await?;
    for Step { fault, .. } in steps {
        if let Some(component) = fault.component() {
            desk.project.check_component(component)?;
        }
        if let Fault::Poison { queue } = fault {
            queues::named(std::slice::from_ref(queue))?;
        }
    }
    let management = desk.management()?;
    for Step { after, fault } in steps {
        tokio::select! {
            () = session.interrupt.cancelled() => return Ok(Done::Interrupted),
            () = tokio::time::sleep(*after) => {}
        }
        if let Some(component) = fault.component() {
            exec::running(&desk.project, &desk.engine, component).await?;
        }
        // Made anew for each: a fault before may have ended it.
        let broker = match fault {
            Fault::Poison { .. } => Some(desk.broker().await?),
            _ => None,
        };
        let site = Site {
            engine: &desk.engine,
            instance: &desk.project.instance,
            grace: desk.config().timeouts.stop.get(),
            broker: broker.as_ref(),
            management: &management,
            interrupt: &session.interrupt,
        };
        on_event(Event::Begins(fault));
        let broken = fault.inject(&site).await?;
        on_event(Event::Ended(fault, broken));
    }
    Ok(Done::All)
}
