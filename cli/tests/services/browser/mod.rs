//! Tests of the web apps in a real browser, by clicking.
//!
//! ```text
//! driver      chromedriver and a headless Chromium
//! page        what a user does and sees on a page; query.js and loaded.js run in the browser
//! orders      a lead becomes a client, whose order is shipped; cancellation
//! expenses    submission, and a decision with a comment
//! portal      the picture and the theme of a user
//! warehouse   a scan without a connection
//! access      an expired session, and an app of other roles
//! layout      narrow windows, first paints, screenshots
//! ```

pub(crate) mod access;
mod driver;
pub(crate) mod expenses;
pub(crate) mod layout;
pub(crate) mod orders;
mod page;
pub(crate) mod portal;
pub(crate) mod warehouse;

use libtest_mimic::Failed;

use self::driver::Browser;
use self::page::Page;
use super::flow;
use super::stack::block_on;

/// A user who may open every app.
const MANAGER: &str = "mscott";

/// A product that is in stock.
const PRODUCT: &str = "PPR-A4-WHT-500";

/// The console's text about a request that the gateway refused as invalid.
const BAD_REQUEST: &str = "the server responded with a status of 400";

/// Runs a test in a browser of its own, without a session. An error in the console of the browser
/// fails the test, unless the test has expected the error.
fn browse(test: impl AsyncFnOnce(&Page) -> Result<(), Failed>) -> Result<(), Failed> {
    block_on(async {
        let browser = Browser::start().await?;
        let page = browser.page();
        test(&page).await?;
        page.assert_no_errors(&[]).await?;
        browser.quit().await
    })
}

/// Returns the id in a text such as `Lead lead_4001 was created.`
fn id_in(text: &str) -> Result<String, Failed> {
    let id = text.split_whitespace().find(|word| word.contains('_'));
    let id = id.ok_or_else(|| format!("there is no id in “{text}”"))?;
    Ok(id.to_owned())
}

/// Places an order, waits until its stock is reserved, and returns its id.
fn place_reserved_order() -> Result<String, Failed> {
    Ok(block_on(flow::place_reserved_orders(PRODUCT, 1, 1))?.remove(0))
}
