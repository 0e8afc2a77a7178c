//! An expired session, and an app that the user's roles do not permit.

use libtest_mimic::Failed;

use super::page::MESSAGE;
use super::page::Role::{Button, Dialog, Heading};
use super::{MANAGER, browse};

/// In another tab another user signs in, and then this tab gets the focus again. The clock is moved,
/// so that the last check of the user is old.
const OTHER_USER: &str = "const { fetch, Date: { now } } = window;
    window.fetch = (url, ...rest) => url.endsWith('/auth/me')
        ? Promise.resolve(Response.json({ userId: 'another' }))
        : fetch(url, ...rest);
    Date.now = () => now() + 60_000;
    dispatchEvent(new Event('focus'));";

/// A form that is sent after the session has expired leads to the login, and from there back to the
/// form with its input. The input also survives that the page is loaded again because another user
/// is signed in.
pub(crate) fn input_survives_an_expired_session() -> Result<(), Failed> {
    let company = "Prince Family Paper";
    browse(async |page| {
        page.open("/infinity?view=leads&new").await?;
        page.sign_in(MANAGER).await?;
        page.find(Dialog, "New lead").await?;
        page.fill("Company", company).await?;
        page.forget_session().await?;
        // The realm's session has not expired: Keycloak asks for no password.
        page.click(Button, "Create lead").await?;
        page.see(MESSAGE, "Your unsent input was kept.").await?;
        page.find(Dialog, "New lead").await?;
        assert_eq!(page.value("Company").await?, company);
        page.click(Button, "Discard").await?;
        assert_eq!(page.value("Company").await?, "");

        page.fill("Company", company).await?;
        page.evaluate::<()>(OTHER_USER).await?;
        page.see(MESSAGE, "Your unsent input was kept.").await?;
        assert_eq!(page.value("Company").await?, company);
        let unauthorized = "the server responded with a status of 401";
        page.assert_no_errors(&[unauthorized]).await
    })
}

/// An app of other roles is refused with a page, not with an empty app.
pub(crate) fn app_of_other_roles_is_refused() -> Result<(), Failed> {
    browse(async |page| {
        page.open("/infinity").await?;
        page.sign_in("amartin").await?;
        page.find(Heading, "Access denied").await?;
        let forbidden = "the server responded with a status of 403";
        page.assert_no_errors(&[forbidden, "/favicon.ico"]).await
    })
}
