//! Narrow windows, first paints, and the screenshots of the documentation.

use std::path::Path;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::super::stack::{dm_ok, sql};
use super::page::Page;
use super::page::Role::Heading;
use super::portal::choose_theme;
use super::{MANAGER, browse, place_reserved_order};

/// The width in CSS pixels of the narrowest window in which the apps are usable.
const NARROW: u32 = 320;

/// The environment variable that, set to 1, asks for the screenshots.
const UPDATE: &str = "UPDATE_SCREENSHOTS";

const APPS: [&str; 4] = ["portal", "infinity", "warehouse", "accounting"];

/// The width of what a page and its dialogs show.
const WIDTH: &str =
    "const parts = [document.documentElement, ...document.querySelectorAll('dialog')];
    return Math.max(...parts.map((part) => part.scrollWidth));";

const FIRST_PAINT: &str =
    "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null;";

/// No page of the apps scrolls sideways in a narrow window. The times of the first contentful paints
/// are printed only: a test asserts no times.
pub(crate) fn pages_of_the_apps_fit_into_narrow_windows() -> Result<(), Failed> {
    let order = place_reserved_order()?;
    let lead = create(
        "/sales/leads",
        "leadId",
        &json!({
            "companyName": "A company with a name that is much wider than a narrow window",
            "contactName": "Hank Tate",
            "contactEmail": "an.address.of.many.characters.without.any.space@example.com",
            "phone": "570-555-0100",
        }),
    )?;
    let expense = create(
        "/expenses",
        "expenseId",
        &json!({
            "category": "CLIENT_ENTERTAINMENT",
            "amount": 123_456.78,
            "currency": "USD",
            "description": "word".repeat(50),
        }),
    )?;
    let paths: [&str; 14] = [
        "/portal",
        "/infinity?view=leads",
        "/infinity?view=leads&new",
        &format!("/infinity?leadId={lead}"),
        "/infinity?view=clients",
        "/infinity?view=orders",
        "/infinity?view=orders&new",
        &format!("/infinity?orderId={order}"),
        "/warehouse",
        &format!("/warehouse?shipmentId={order}"),
        "/warehouse?view=actions",
        "/accounting",
        "/accounting?new",
        &format!("/accounting?expenseId={expense}"),
    ];
    browse(async |page| {
        sign_in_to_portal(page).await?;
        print_first_paints(page).await?;
        page.resize(NARROW, 700).await?;
        let mut wide = Vec::new();
        for path in paths {
            page.open(path).await?;
            page.wait_until_loaded().await?;
            let width: u32 = page.evaluate(WIDTH).await?;
            if width > NARROW {
                wide.push(format!("{path}: {width} px"));
            }
        }
        assert!(wide.is_empty(), "{wide:#?}");
        Ok(())
    })
}

/// Writes the screenshots if [`UPDATE`] asks for them. The instance needs to be without data of
/// other tests.
pub(crate) fn screenshots_are_written_on_request() -> Result<(), Failed> {
    if std::env::var(UPDATE).as_deref() != Ok("1") {
        return Ok(());
    }
    dm_ok(&["seed", "--append"])?;
    let order = sql("SELECT order_id FROM orders.orders
         WHERE status = 'SHIPPED' AND created_by = 'jhalpert' ORDER BY created_at DESC LIMIT 1")?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let directory = repository.join("docs/images/apps");
    std::fs::create_dir_all(&directory)?;
    let order = format!("/infinity?orderId={order}");
    let shots = [
        ("portal", "/portal", 1280, 800),
        ("infinity", order.as_str(), 1280, 800),
        ("warehouse", "/warehouse", 1280, 800),
        ("warehouse-phone", "/warehouse", 390, 844),
        ("accounting", "/accounting", 1280, 800),
    ];
    browse(async |page| {
        sign_in_to_portal(page).await?;
        for theme in ["Light", "Dark"] {
            page.open("/portal").await?;
            choose_theme(page, theme).await?;
            for (name, path, width, height) in shots {
                page.resize(width, height).await?;
                page.open(path).await?;
                page.wait_until_loaded().await?;
                let file = format!("{name}-{}.png", theme.to_lowercase());
                page.screenshot(&directory.join(file)).await?;
            }
        }
        Ok(())
    })
}

/// Opens Portal, which every user may open, and waits until the user is signed in.
async fn sign_in_to_portal(page: &Page) -> Result<(), Failed> {
    page.open("/portal").await?;
    page.sign_in(MANAGER).await?;
    page.find(Heading, "Hello, …").await.map(drop)
}

/// Opens each app with an empty cache.
async fn print_first_paints(page: &Page) -> Result<(), Failed> {
    for app in APPS {
        page.devtools("Network.clearBrowserCache", json!({}))
            .await?;
        page.open(&format!("/{app}")).await?;
        let time = page
            .until("see the first contentful paint", async || {
                let time: Option<f64> = page.evaluate(FIRST_PAINT).await?;
                Ok(time.ok_or("there is none")?)
            })
            .await?;
        eprintln!("first contentful paint of {app}: {time:.0} ms");
    }
    Ok(())
}

/// Creates something with the API, and returns its id.
fn create(path: &str, id: &str, body: &Value) -> Result<String, Failed> {
    let body = body.to_string();
    let created = dm_ok(&["call", path, "--user", MANAGER, "--data", &body])?;
    let created: Value = serde_json::from_str(&created)?;
    Ok(created[id].as_str().ok_or("there is no id")?.to_owned())
}
