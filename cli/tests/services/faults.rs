//! Servers and services that go away while there is work.

use std::process::Command;
use std::time::Duration;

use libtest_mimic::Failed;

use super::flow::place;
use super::stack::{INSTANCE, block_on, client, eventually, ok, sql};

const SCHEMAS: [&str; 6] = [
    "profile",
    "sales",
    "orders",
    "inventory",
    "finance",
    "notifications",
];

/// Places orders one after the other while something else happens.
fn while_ordering(disturb: impl FnOnce() -> Result<(), Failed>) -> Result<Vec<String>, Failed> {
    let placing = std::thread::spawn(|| {
        block_on(async {
            let client = client();
            let mut orders = Vec::new();
            for _ in 0..60 {
                orders.push(place(&client, "PPR-A4-WHT-500", 1).await);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            orders
        })
    });
    let disturbed = disturb();
    let orders = placing.join().map_err(|_| "an order was refused")?;
    disturbed?;
    Ok(orders)
}

/// Every order has one shipment, one reservation and one notification.
fn all_arrived(orders: &[String]) -> Result<(), Failed> {
    let ids = orders
        .iter()
        .map(|order| format!("'{order}'"))
        .collect::<Vec<_>>()
        .join(",");
    let all = orders.len().to_string();
    eventually(
        &format!(
            "SELECT count(*) FROM orders.orders
              WHERE order_id IN ({ids}) AND status = 'RESERVED'"
        ),
        &all,
    )?;
    eventually(
        &format!(
            "SELECT count(*) FROM notifications.notifications
              WHERE title IN (SELECT 'Order ' || id || ' created' FROM unnest(ARRAY[{ids}]) AS id)"
        ),
        &all,
    )?;
    let reserved = format!("SELECT count(*) FROM inventory.reservations WHERE order_id IN ({ids})");
    assert_eq!(sql(&reserved)?, all);
    Ok(())
}

/// Orders go on while the broker is away, and all of them arrive afterwards.
pub fn broker() -> Result<(), Failed> {
    let orders = while_ordering(|| ok(&["restart", "rabbitmq"]).map(drop))?;
    all_arrived(&orders)
}

/// A consumer is killed in the middle of it, and started again.
pub fn killed() -> Result<(), Failed> {
    let orders = while_ordering(|| {
        std::thread::sleep(Duration::from_millis(500));
        for component in ["inventory", "wuphf"] {
            kill(component)?;
        }
        ok(&["up"]).map(drop)
    })?;
    all_arrived(&orders)
}

/// The broker stands still for a while with all its connections open, and goes on.
pub fn frozen() -> Result<(), Failed> {
    let orders = while_ordering(|| ok(&["chaos", "pause", "rabbitmq", "--for", "3s"]).map(drop))?;
    all_arrived(&orders)
}

/// Two instances of a service take turns at its queue. The one that relays is killed,
/// and the other one goes on with both.
pub fn twins() -> Result<(), Failed> {
    let twin = Twin::of("inventory")?;
    let orders = while_ordering(|| {
        std::thread::sleep(Duration::from_secs(1));
        kill("inventory")?;
        std::thread::sleep(Duration::from_secs(1));
        ok(&["up"]).map(drop)
    })?;
    all_arrived(&orders)?;
    let log = twin.log()?;
    assert!(log.contains("\"applied\":\"Now\""), "it had no work: {log}");
    assert!(
        log.contains("relaying the outbox"),
        "it took nothing over: {log}"
    );
    Ok(())
}

/// A second instance of a service, that `dm` knows nothing of.
struct Twin(String);

impl Twin {
    fn of(component: &str) -> Result<Self, Failed> {
        let first = container(component)?;
        let ask = |format: &str| docker(&["inspect", "--format", format, &first]);
        let variables = ask("{{range .Config.Env}}{{println .}}{{end}}")?;
        let network = ask("{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}")?;
        let image = ask("{{.Config.Image}}")?;
        let mut arguments = vec!["run", "--detach", "--network", network.trim()];
        for variable in variables.lines().filter(|line| !line.is_empty()) {
            arguments.extend(["--env", variable]);
        }
        arguments.push(image.trim());
        Ok(Self(docker(&arguments)?.trim().to_owned()))
    }

    fn log(&self) -> Result<String, Failed> {
        docker(&["logs", &self.0])
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", &self.0]);
    }
}

/// As `kill -9` would: no goodbye to broker or database.
fn kill(component: &str) -> Result<(), Failed> {
    ok(&["chaos", "kill", component]).map(drop)
}

fn container(component: &str) -> Result<String, Failed> {
    let label = |name, value| format!("label=com.dundermifflin.dm.{name}={value}");
    let found = docker(&[
        "ps",
        "--quiet",
        "--filter",
        &label("component", component),
        "--filter",
        &label("instance", INSTANCE),
    ])?;
    Ok(found.trim().to_owned())
}

fn docker(arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new("docker").args(arguments).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
}

/// After all of it: nothing waits, nothing was set aside, and stock adds up.
pub fn law() -> Result<(), Failed> {
    for schema in SCHEMAS {
        eventually(
            &format!("SELECT count(*) FROM {schema}.outbox_events WHERE published_at IS NULL"),
            "0",
        )?;
    }
    // Each event has been handled by whoever it is for.
    eventually(
        "SELECT count(*) FROM orders.outbox_events AS event
          WHERE routing_key = 'order.created.v1' AND NOT EXISTS (
                SELECT FROM inventory.inbox_events AS seen WHERE seen.event_id = event.event_id)",
        "0",
    )?;
    let held = "SELECT count(*) FROM inventory.stock AS stock
          WHERE reserved <> (
                SELECT coalesce(sum((item->>'quantity')::bigint), 0)
                  FROM inventory.reservations AS held, jsonb_array_elements(held.items) AS item
                 WHERE held.status = 'RESERVED' AND item->>'sku' = stock.sku)";
    eventually(held, "0")?;
    let queues = ok(&[
        "exec",
        "rabbitmq",
        "--",
        "rabbitmqctl",
        "list_queues",
        "--quiet",
        "--no-table-headers",
        "name",
        "messages",
    ])?;
    for line in queues.lines().filter(|line| line.contains(".dlq")) {
        assert!(line.trim_end().ends_with("\t0"), "dead letters: {line}");
    }
    Ok(())
}
