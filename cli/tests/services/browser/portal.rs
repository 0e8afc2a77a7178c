//! The picture and the theme of a user, in Portal.

use std::path::Path;

use libtest_mimic::Failed;

use super::page::Role::{Button, Heading, Radio};
use super::page::{MESSAGE, Page};
use super::{MANAGER, browse};

/// The content type of the picture in the header.
const PICTURE_TYPE: &str = "const { src } = document.querySelector('#tools img.avatar');
    return fetch(src).then(({ headers }) => headers.get('content-type'));";

const THEME: &str = "return document.documentElement.dataset.theme ?? '';";

const STORED_THEME: &str = "return fetch('/api/v1/profile/me/apps/portal/settings')
    .then((response) => response.json())
    .then(({ settings }) => settings.theme ?? '');";

/// A picture is shown in the header until it is removed. A file that is no picture is refused with
/// a message at its field.
pub(crate) fn picture_is_shown_until_it_is_removed() -> Result<(), Failed> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let picture = repository.join("fixtures/demo/avatars/jhalpert.png");
    let directory = tempfile::tempdir()?;
    let text = directory.path().join("picture.txt");
    std::fs::write(&text, "no picture")?;
    browse(async |page| {
        page.open("/portal").await?;
        page.sign_in(MANAGER).await?;
        page.find(Heading, "Hello, …").await?;
        wait_for(page, PICTURE_TYPE, "image/svg+xml").await?;

        page.attach("Choose a picture", &picture).await?;
        page.click(Button, "Save picture").await?;
        page.see(MESSAGE, "Your picture was saved.").await?;
        wait_for(page, PICTURE_TYPE, "image/png").await?;

        page.click(Button, "Remove picture").await?;
        page.see(MESSAGE, "Your picture was removed.").await?;
        wait_for(page, PICTURE_TYPE, "image/svg+xml").await?;

        page.wait_until_gone(Button, "Remove picture").await?;
        page.attach("Choose a picture", &text).await?;
        let issue = page.issue("Choose a picture").await?;
        assert!(issue.contains("PNG, JPEG or WebP"), "{issue}");
        page.wait_until_gone(Button, "Save picture").await
    })
}

/// The theme outlives a reload, and is stored for other browsers of the user.
pub(crate) fn theme_is_kept_for_the_user() -> Result<(), Failed> {
    browse(async |page| {
        page.open("/portal").await?;
        page.sign_in("pbeesly").await?;
        choose_theme(page, "Dark").await?;

        page.reload().await?;
        expect_dark_theme(page).await?;
        wait_for(page, STORED_THEME, "dark").await?;

        page.evaluate::<()>("localStorage.clear();").await?;
        page.reload().await?;
        expect_dark_theme(page).await
    })
}

/// Chooses `Light`, `Dark` or `System` in the menu of the user: the stylesheet capitalises the names.
pub(super) async fn choose_theme(page: &Page, theme: &str) -> Result<(), Failed> {
    page.click(Button, "Account of …").await?;
    page.click(Radio, theme).await?;
    wait_for(page, THEME, &theme.to_lowercase()).await
}

async fn expect_dark_theme(page: &Page) -> Result<(), Failed> {
    wait_for(page, THEME, "dark").await?;
    page.click(Button, "Account of …").await?;
    let radio = page.find(Radio, "Dark").await?;
    assert!(radio.is_selected().await?);
    Ok(())
}

/// Waits until a script returns a text.
async fn wait_for(page: &Page, script: &str, expected: &str) -> Result<(), Failed> {
    page.until(&format!("get {expected}"), async || {
        let found: String = page.evaluate(script).await?;
        if found == expected {
            return Ok(());
        }
        Err(format!("the script returned {found}").into())
    })
    .await
}
