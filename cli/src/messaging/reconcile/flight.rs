//! Where events are that were published and not handled.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use dm_contracts::topology::{WORK_QUEUES, WorkQueue, dead_letter_queue};

use super::Site;
use super::books::{self, Open};
use super::report::{Account, Finding, Kind};
use crate::messaging::dead::{DeadLetter, Filter, look, parked};
use crate::messaging::reader::Reader;
use crate::messaging::{MessagingError, queues};

/// How often what is in flight is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long the management's numbers lag behind: what is older than that is in them
/// (`collect_statistics_interval`, 5 s by default).
const LAG: Duration = Duration::from_secs(6);

type Opened = BTreeMap<&'static str, HashMap<String, Open>>;

/// Finds each of them, or tells that it is missing.
pub(super) async fn account_for(
    site: &Site<'_>,
    accounts: &mut [Account],
    open: &mut Opened,
    findings: &mut Vec<Finding>,
) -> Result<(), MessagingError> {
    let began = Instant::now();
    let all: Vec<&'static str> = WORK_QUEUES.iter().map(|queue| queue.name).collect();
    let mut letters = Vec::new();
    look::each(site.connection, &all, &Filter::default(), |letter| {
        letters.push(letter)
    })
    .await?;
    take_dead(
        accounts,
        open,
        letters
            .iter()
            .filter_map(|letter| Some((letter.queue.as_str(), letter.id.as_deref()?))),
    );
    let parked = parked::list(site.database).await?;
    take_dead(
        accounts,
        open,
        parked
            .iter()
            .filter_map(|letter| Some((letter.queue.as_str(), letter.event_id.as_deref()?))),
    );
    settle(site, accounts, open, began).await?;
    for queue in WORK_QUEUES {
        let Some(left) = open.get_mut(queue.name).filter(|left| !left.is_empty()) else {
            continue;
        };
        let Some(account) = accounts.iter_mut().find(|it| it.queue == queue.name) else {
            continue;
        };
        inside(site, &queue, account, left, began).await?;
        account.missing = left.len() as i64;
        findings.extend(left.iter().map(|(id, event)| Finding {
            kind: Kind::Missing,
            of: queue.name.to_owned(),
            what: id.clone(),
            detail: format!("{} of {} is nowhere", event.event_type, event.subject),
        }));
    }
    findings.extend(superfluous(site, &letters).await?);
    Ok(())
}

/// Those that were set aside, or parked since, are accounted for.
fn take_dead<'l>(
    accounts: &mut [Account],
    open: &mut Opened,
    letters: impl Iterator<Item = (&'l str, &'l str)>,
) {
    for (queue, id) in letters {
        let Some(left) = open.get_mut(queue) else {
            continue;
        };
        if left.remove(id).is_some()
            && let Some(account) = accounts.iter_mut().find(|it| it.queue == queue)
        {
            account.dead += 1;
        }
    }
}

/// Waits until they arrive, while there is somebody for them to arrive at. What was
/// handled, or set aside, meanwhile is accounted for.
async fn settle(
    site: &Site<'_>,
    accounts: &mut [Account],
    open: &mut Opened,
    began: Instant,
) -> Result<(), MessagingError> {
    let mut told = false;
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
        if !told {
            told = true;
            let left: usize = open.values().map(HashMap::len).sum();
            (site.told)(&format!("{left} deliveries are in flight"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn arrived(
    site: &Site<'_>,
    queue: &'static str,
    account: &mut Account,
    left: &mut HashMap<String, Open>,
) -> Result<(), MessagingError> {
    let ids: Vec<String> = left.keys().cloned().collect();
    for id in books::handled(site, queue, &ids).await? {
        account.consumed += i64::from(left.remove(&id).is_some());
    }
    Ok(())
}

/// Looks into the queue and those of its retries. What is then still nowhere may be at
/// the consumer: as many as it has at hand. It may also have been handled, or set aside,
/// in between.
async fn inside(
    site: &Site<'_>,
    queue: &WorkQueue,
    account: &mut Account,
    left: &mut HashMap<String, Open>,
    began: Instant,
) -> Result<(), MessagingError> {
    everywhere(site, queue, account, left).await?;
    if left.is_empty() {
        return Ok(());
    }
    // As long as they have not been gone for so long they may be in no number yet.
    tokio::time::sleep(LAG.saturating_sub(began.elapsed())).await;
    // What its consumer had at hand may have gone anywhere since.
    everywhere(site, queue, account, left).await?;
    let at_hand = site.management.at_hand(queue.name).await?;
    if left.len() as u64 <= at_hand {
        account.in_flight += left.len() as i64;
        left.clear();
    }
    Ok(())
}

/// Looks into each queue that an event may be in, in the order in which it moves: from the
/// work queue to a retry and back, or among the dead.
async fn everywhere(
    site: &Site<'_>,
    queue: &WorkQueue,
    account: &mut Account,
    left: &mut HashMap<String, Open>,
) -> Result<(), MessagingError> {
    let retries = queues::retry_queues(queue);
    let work = [queue.name.to_owned()];
    for name in retries.iter().chain(&work).chain(&retries) {
        for id in ids(site, name).await? {
            account.in_flight += i64::from(left.remove(&id).is_some());
        }
    }
    arrived(site, queue.name, account, left).await?;
    for id in ids(site, &dead_letter_queue(queue.name)).await? {
        account.dead += i64::from(left.remove(&id).is_some());
    }
    Ok(())
}

/// The ids of the messages in a queue.
async fn ids(site: &Site<'_>, queue: &str) -> Result<HashSet<String>, MessagingError> {
    let mut ids = HashSet::new();
    let mut reader = Reader::open(site.connection, queue).await?;
    while let Some((_, delivery)) = reader.next().await? {
        let id = delivery.properties.message_id().as_ref();
        ids.extend(id.map(ToString::to_string));
    }
    reader.close().await?;
    Ok(ids)
}

/// Dead letters that there should not be: of events that were handled, that are there
/// twice, or that no outbox has written.
async fn superfluous(
    site: &Site<'_>,
    letters: &[DeadLetter],
) -> Result<Vec<Finding>, MessagingError> {
    let mut queues: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for letter in letters {
        let ids = queues.entry(&letter.queue).or_default();
        ids.extend(letter.id.clone());
    }
    let mut handled: HashSet<(String, String)> = HashSet::new();
    let mut written: HashSet<String> = HashSet::new();
    for (queue, ids) in queues {
        let found = books::handled(site, queue, &ids).await?;
        handled.extend(found.into_iter().map(|id| (queue.to_owned(), id)));
        written.extend(books::written(site, &ids).await?);
    }
    let mut seen = HashSet::new();
    let finding = |kind, letter: &DeadLetter, detail: &str| Finding {
        kind,
        of: letter.queue.clone(),
        what: letter
            .id
            .clone()
            .unwrap_or_else(|| letter.fingerprint.clone()),
        detail: detail.to_owned(),
    };
    let mut findings = Vec::new();
    for letter in letters {
        let id = letter.id.clone().unwrap_or_default();
        let key = (letter.queue.clone(), id.clone());
        if !written.contains(&id) {
            let detail = "a dead letter of an event that no outbox has written";
            findings.push(finding(Kind::Orphaned, letter, detail));
        } else if handled.contains(&key) {
            let detail = "a dead letter of an event that was handled";
            findings.push(finding(Kind::Doubled, letter, detail));
        } else if !seen.insert(key) {
            let detail = "one more dead letter of the same event";
            findings.push(finding(Kind::Doubled, letter, detail));
        }
    }
    Ok(findings)
}
