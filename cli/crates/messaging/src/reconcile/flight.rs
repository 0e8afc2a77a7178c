//! Where events are that were published and not handled.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use dm_contracts::topology::{WORK_QUEUES, WorkQueue};

use super::Site;
use super::books;
use super::open::Opened;
use super::report::{Account, Finding, Kind};
use crate::browse::{Contents, Message};
use crate::dead::{DeadLetter, Filter, look, parked};
use crate::{MessagingError, queues};

/// How often what is in flight is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How often queues are looked into before what is in none of them is missing: a message may
/// go from one that was not looked into yet to one that was.
const ROUNDS: usize = 2;

type ByQueue = BTreeMap<&'static str, Opened>;

/// Finds each of them, or tells that it is missing. Answers the dead letters that there are,
/// and the messages that lie in work queues.
pub(super) async fn account_for(
    site: &Site<'_>,
    accounts: &mut [Account],
    open: &mut ByQueue,
    findings: &mut Vec<Finding>,
) -> Result<Seen, MessagingError> {
    let letters = letters(site, accounts, open, &names()).await?;
    settle(site, accounts, open).await?;
    let mut waiting = Vec::new();
    for queue in WORK_QUEUES {
        // No service consumes it: `handed` has its account.
        if queue.consumer.is_none() {
            continue;
        }
        let mut left = open.remove(queue.name).unwrap_or_default();
        if let Some(account) = accounts.iter_mut().find(|it| it.queue == queue.name) {
            let held = inside(site, &queue, account, &mut left).await?;
            waiting.extend(held.into_iter().map(|message| (queue.name, message)));
            account.missing = left.len() as i64;
        }
        findings.extend(left.iter().map(|(id, event)| Finding {
            kind: Kind::Missing,
            of: queue.name.to_owned(),
            what: id.to_owned(),
            detail: match event.edits.last() {
                None => format!("{} of {} is neither in the queue nor in the inbox", event.event_type, event.subject),
                Some(edit) => format!(
                    "{} of {}, which was edited into {edit}, is neither in the queue nor in the inbox",
                    event.event_type, event.subject
                ),
            },
        }));
    }
    Ok(Seen { letters, waiting })
}

/// What was seen of the broker.
pub(super) struct Seen {
    /// The dead letters.
    pub(super) letters: Vec<DeadLetter>,
    /// The messages in queues that were looked into.
    pub(super) waiting: Vec<(&'static str, Message)>,
}

fn names() -> Vec<&'static str> {
    WORK_QUEUES.iter().map(|queue| queue.name).collect()
}

/// Those that are dead letters, or were parked since, are accounted for.
async fn letters(
    site: &Site<'_>,
    accounts: &mut [Account],
    open: &mut ByQueue,
    queues: &[&'static str],
) -> Result<Vec<DeadLetter>, MessagingError> {
    let mut letters = Vec::new();
    look::each(site.connection, queues, &Filter::default(), |letter| {
        letters.push(letter)
    })
    .await?;
    let parked = parked::list(site.database).await?;
    let dead = letters
        .iter()
        .filter_map(|letter| Some((letter.queue.as_str(), letter.id.as_deref()?)));
    let parked = parked
        .iter()
        .filter_map(|letter| Some((letter.queue.as_str(), letter.event_id.as_deref()?)));
    for (queue, id) in dead.chain(parked) {
        let account = accounts.iter_mut().find(|it| it.queue == queue);
        if let (Some(left), Some(account)) = (open.get_mut(queue), account) {
            account.dead += i64::from(left.take(id));
        }
    }
    Ok(letters)
}

/// Waits until they arrive, while there are consumers for them to arrive at. What was
/// handled meanwhile is accounted for.
async fn settle(
    site: &Site<'_>,
    accounts: &mut [Account],
    open: &mut ByQueue,
) -> Result<(), MessagingError> {
    let began = Instant::now();
    let mut noted = false;
    loop {
        let mut waits = false;
        for queue in WORK_QUEUES {
            let Some(left) = open.get_mut(queue.name).filter(|left| !left.is_empty()) else {
                continue;
            };
            let Some(account) = accounts.iter_mut().find(|it| it.queue == queue.name) else {
                continue;
            };
            arrived(site, queue.name, account, left).await?;
            if !left.is_empty() {
                let depth = queues::depths(site.connection, &[queue]).await?;
                waits |= depth.iter().any(|depth| depth.consumers > 0);
            }
        }
        if !waits || began.elapsed() >= site.settle {
            return Ok(());
        }
        if !noted {
            noted = true;
            let left: usize = open.values().map(Opened::len).sum();
            (site.told)(&format!("{left} deliveries are in flight"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn arrived(
    site: &Site<'_>,
    queue: &'static str,
    account: &mut Account,
    left: &mut Opened,
) -> Result<(), MessagingError> {
    let ids = left.ids();
    for id in books::handled(site, queue, &ids).await? {
        account.consumed += i64::from(left.take(&id));
    }
    Ok(())
}

/// Looks into the queue and those of its retries, where something is open or waits in them.
/// What is in none of them may have been handled, or have become a dead letter, in between.
/// Answers what they hold.
async fn inside(
    site: &Site<'_>,
    queue: &WorkQueue,
    account: &mut Account,
    left: &mut Opened,
) -> Result<Vec<Message>, MessagingError> {
    if left.is_empty() {
        let depths = queues::depths(site.connection, &[*queue]).await?;
        if depths.iter().all(|it| it.ready == 0 && it.retrying == 0) {
            return Ok(Vec::new());
        }
    }
    // In the order in which a message moves: from a retry to the work queue, and back.
    let retries = queues::retry_queues(queue);
    let work = [queue.name.to_owned()];
    let places: Vec<String> = [&retries[..], &work, &retries].concat();
    let (mut held, mut unread) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let contents = site.browser.contents(&places).await?;
        unread = contents.iter().map(|it| it.unread).sum();
        held = contents
            .into_iter()
            .flat_map(|Contents { messages, .. }| messages)
            .collect();
        for id in held.iter().filter_map(|message| message.id.as_deref()) {
            account.in_flight += i64::from(left.take(id));
        }
        arrived(site, queue.name, account, left).await?;
        if left.is_empty() {
            break;
        }
        let mut open = ByQueue::from([(queue.name, std::mem::take(left))]);
        letters(
            site,
            std::slice::from_mut(account),
            &mut open,
            &[queue.name],
        )
        .await?;
        *left = open.remove(queue.name).unwrap_or_default();
        if left.is_empty() {
            break;
        }
    }
    if !left.is_empty() && unread > 0 {
        return Err(MessagingError::Unread {
            queue: queue.name,
            events: left.len(),
            unread,
        });
    }
    let mut seen = HashSet::new();
    held.retain(|message| seen.insert(message.id.clone()));
    Ok(held)
}
