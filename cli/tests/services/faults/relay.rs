//! What a relay is refused, and a relay that vanishes.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};

use super::super::flow::place;
use super::super::stack::{block_on, client, eventually, ok, sql, start};
use super::{Fault, PATIENCE, container, docker, memory, rabbitmqctl};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        test: "a_refused_channel_holds_up_its_aggregate_alone",
        name: "the broker closes the channel on messages without permission, for 5 s",
        inject: refused_channel,
    },
    Fault {
        test: "a_relay_that_vanishes_gives_its_lock_up",
        name: "a relay vanishes while data to it is unacknowledged",
        inject: vanished,
    },
];

/// What order-service may publish, and half of it.
const ALLOWED: &str = r"^(order\.created\.v1|order\.status\.changed\.v1)$";
const HALF: &str = r"^order\.created\.v1$";

fn allow(keys: &str) -> Result<(), Failed> {
    let exchange = "dm.domain.events";
    rabbitmqctl(&[
        "set_topic_permissions",
        "order-service",
        exchange,
        keys,
        "^$",
    ])
    .map(drop)
}

/// Changes of status are refused by an error of the channel; orders still get through.
fn refused_channel() -> Result<usize, Failed> {
    allow(HALF)?;
    // What a channel was allowed it may do until its end.
    ok(&["chaos", "disconnect"])?;
    let outcome = refused_and_passed();
    allow(ALLOWED)?;
    outcome?;
    Ok(1)
}

fn refused_and_passed() -> Result<(), Failed> {
    let refused = "SELECT count(*) > 0 FROM orders.outbox_events
                    WHERE routing_key = 'order.status.changed.v1' AND published_at IS NULL
                      AND last_error LIKE '%ACCESS%REFUSED%'";
    eventually(refused, "t")?;
    for _ in 0..5 {
        let order = block_on(async { place(&client(), "PPR-A4-WHT-500", 1).await });
        eventually(
            &format!("SELECT count(*) FROM inventory.shipments WHERE order_id = '{order}'"),
            "1",
        )?;
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// While a message to it is not acknowledged the kernel sends no keepalives: the server
/// must not wait for as long as the kernel would.
fn vanished() -> Result<usize, Failed> {
    const HOLDER: &str = "SELECT pid FROM pg_locks
         WHERE locktype = 'advisory' AND granted AND objsubid = 2
           AND classid = hashtext('outbox')::oid AND objid = hashtext('profile')::oid";
    // A service without load: nothing else wakes its session.
    let holder = sql(HOLDER)?;
    assert!(!holder.is_empty(), "profile relays nothing");
    let mut cut = start(&["chaos", "cut", "profile", "--for", "120s"])?;
    let gone = (|| {
        eventually_cut("profile")?;
        sql("SELECT pg_notify('outbox.profile', '')")?;
        eventually(
            &format!(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = {holder}"
            ),
            "0",
        )
    })();
    kill_process(Pid::from_child(&cut), Signal::INT)?;
    cut.wait()?;
    gone?;
    // It relays again.
    eventually(&format!("SELECT count(*) > 0 FROM ({HOLDER}) AS lock"), "t")?;
    Ok(1)
}

/// Waits until a component is off its network.
fn eventually_cut(component: &str) -> Result<(), Failed> {
    let id = container(component)?;
    let until = Instant::now() + PATIENCE;
    let networks = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}";
    while !docker(&["inspect", "--format", networks, &id])?
        .trim()
        .is_empty()
    {
        if Instant::now() > until {
            return Err(format!("{component} is still on its network").into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A backlog of large events passes with little memory.
///
/// They are of no type that a queue takes, so that the broker drops them: it is the
/// relay that is tried, not the disk.
pub(super) fn large_events() -> Result<(), Failed> {
    const EVENTS: u32 = 2000;
    const MEMORY: u64 = 64 * 1024;
    ok(&["up"])?;
    // Held back until all of them are there.
    sql(&format!(
        "INSERT INTO sales.outbox_events
             (event_id, event_type, routing_key, subject, payload, not_before)
         SELECT 'evt_large_' || n, 'com.dundermifflin.sales.LeadConverted.v1',
                'sales.lead.converted.v1', 'lead/large_' || n,
                json_build_object('specversion', '1.0', 'id', 'evt_large_' || n,
                                   'data', json_build_object('notes', repeat('x', 1000000))),
                now() + interval '1 day'
           FROM generate_series(1, {EVENTS}) AS n"
    ))?;
    let before = memory("sales", "VmRSS")?;
    let began = Instant::now();
    sql("UPDATE sales.outbox_events SET not_before = NULL WHERE event_id LIKE 'evt_large_%'")?;
    let waiting = "SELECT count(*) FROM sales.outbox_events
                    WHERE event_id LIKE 'evt_large_%' AND published_at IS NULL";
    let until = Instant::now() + 3 * PATIENCE;
    loop {
        let left = sql(waiting)?;
        if left == "0" {
            break;
        }
        assert!(Instant::now() < until, "{left} are left");
        std::thread::sleep(Duration::from_millis(200));
    }
    let took = began.elapsed().as_secs_f64();
    let more = memory("sales", "VmHWM")?.saturating_sub(before);
    eprintln!(
        "{EVENTS} events of 1 MB: {} MB more memory, {took:.1} s",
        more / 1024
    );
    sql("DELETE FROM sales.outbox_events WHERE event_id LIKE 'evt_large_%'")?;
    assert!(more <= MEMORY, "{more} kB more than {before} kB");
    Ok(())
}
