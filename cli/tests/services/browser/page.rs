//! The page of a browser, as a user sees it: elements are found by their role and name.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thirtyfour::common::command::FormatRequestData;
use thirtyfour::{By, RequestData, SessionId, WebDriver, WebElement};

use super::super::stack::{TIMEOUT, address};

/// The time between two attempts.
const INTERVAL: Duration = Duration::from_millis(100);

const QUERY: &str = include_str!("query.js");
const LOADED: &str = include_str!("loaded.js");

/// The selector of the messages that a screen reader announces.
pub(super) const MESSAGE: &str = ":is([role=status], [role=alert]) p";

/// The selector of statuses.
pub(super) const BADGE: &str = ".badge";

/// The selector of the statuses in the timeline of an order.
pub(super) const TIMELINE_STATUS: &str = "[aria-label=Timeline] li strong";

/// What an element is for a screen reader.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    /// A button.
    Button,
    /// A dialog.
    Dialog,
    /// A field of a form. Its name is its label.
    Field,
    /// A heading.
    Heading,
    /// A link.
    Link,
    /// One of several choices.
    Radio,
    /// A landmark with a name.
    Region,
}

impl Role {
    const fn selector(self) -> &'static str {
        match self {
            Self::Button => "button",
            Self::Dialog => "dialog",
            Self::Field => "input:not([type=radio]), select, textarea",
            Self::Heading => "h1, h2, h3",
            Self::Link => "a[href]",
            Self::Radio => "[type=radio]",
            Self::Region => "section[aria-label], [role=region]",
        }
    }

    /// Returns the role in the accessibility tree. That of a field depends on its type.
    const fn computed(self) -> Option<&'static str> {
        match self {
            Self::Button => Some("button"),
            Self::Dialog => Some("dialog"),
            Self::Field => None,
            Self::Heading => Some("heading"),
            Self::Link => Some("link"),
            Self::Radio => Some("radio"),
            Self::Region => Some("region"),
        }
    }
}

/// A page of the gateway. A name or a text that ends in `…` stands for every one with this
/// beginning. The methods wait until an element is there. Elements behind an open dialog are not
/// found.
pub(super) struct Page {
    driver: WebDriver,
}

impl Page {
    /// Uses the window of a browser.
    pub(super) const fn new(driver: WebDriver) -> Self {
        Self { driver }
    }

    /// Opens a path of the gateway.
    pub(super) async fn open(&self, path: &str) -> Result<(), Failed> {
        let url = format!("{}{path}", address("gateway"));
        Ok(self.driver.goto(url).await?)
    }

    /// Loads the page again.
    pub(super) async fn reload(&self) -> Result<(), Failed> {
        Ok(self.driver.refresh().await?)
    }

    /// Fills in the login page of Keycloak, to which the gateway has redirected.
    pub(super) async fn sign_in(&self, user: &str) -> Result<(), Failed> {
        self.until("find the login page", async || {
            Ok(self.driver.find(By::Id("username")).await?)
        })
        .await?
        .send_keys(user)
        .await?;
        let password = self.driver.find(By::Id("password")).await?;
        password.send_keys("password").await?;
        Ok(self.driver.find(By::Id("kc-login")).await?.click().await?)
    }

    /// Deletes the session's cookie, as if the session had expired.
    pub(super) async fn forget_session(&self) -> Result<(), Failed> {
        let cookies = self.driver.get_all_cookies().await?;
        let mut names = cookies.into_iter().map(|cookie| cookie.name);
        let name = names.find(|name| name.starts_with("dmf_session"));
        let name = name.ok_or("the browser has no session")?;
        Ok(self.driver.delete_cookie(name).await?)
    }

    /// Returns a visible element.
    pub(super) async fn find(&self, role: Role, name: &str) -> Result<WebElement, Failed> {
        self.until(&format!("find {role:?} “{name}”"), async || {
            self.locate(role, name).await
        })
        .await
    }

    /// Waits until there is no such element.
    pub(super) async fn wait_until_gone(&self, role: Role, name: &str) -> Result<(), Failed> {
        self.until(
            &format!("see {role:?} “{name}” disappear"),
            async || {
                let found = self.query(role.selector(), name).await?;
                match found {
                    Some(_) => Err("it is there".into()),
                    None => Ok(()),
                }
            },
        )
        .await
    }

    /// Returns the text of a visible element with this selector and text. A message may disappear
    /// soon, so that it is found and read at once.
    pub(super) async fn see(&self, selector: &str, text: &str) -> Result<String, Failed> {
        let script = format!("return (() => {{ {QUERY} }})().map((element) => element.innerText);");
        self.until(&format!("see “{text}” in {selector}"), async || {
            let arguments = vec![json!(selector), json!(text)];
            let result = self.driver.execute(script.as_str(), arguments).await?;
            let texts: Vec<String> = result.convert()?;
            Ok(texts.into_iter().next().ok_or("there is none")?)
        })
        .await
    }

    /// Clicks an element.
    pub(super) async fn click(&self, role: Role, name: &str) -> Result<(), Failed> {
        self.until(&format!("click {role:?} “{name}”"), async || {
            Ok(self.locate(role, name).await?.click().await?)
        })
        .await
    }

    /// Replaces the text of a field.
    pub(super) async fn fill(&self, label: &str, text: &str) -> Result<(), Failed> {
        self.until(
            &format!("fill “{label}” with “{text}”"),
            async || {
                let field = self.locate(Role::Field, label).await?;
                field.clear().await?;
                field.send_keys(text).await?;
                match field.prop("value").await? {
                    Some(value) if value == text => Ok(()),
                    value => Err(format!("it contains {value:?}").into()),
                }
            },
        )
        .await
    }

    /// Selects an option of a field.
    pub(super) async fn choose(&self, label: &str, option: &str) -> Result<(), Failed> {
        let path = format!("./option[normalize-space() = '{option}']");
        self.until(
            &format!("choose “{option}” of “{label}”"),
            async || {
                let field = self.locate(Role::Field, label).await?;
                Ok(field.find(By::XPath(path.as_str())).await?.click().await?)
            },
        )
        .await
    }

    /// Selects a file.
    pub(super) async fn attach(&self, label: &str, file: &Path) -> Result<(), Failed> {
        let field = self.find(Role::Field, label).await?;
        Ok(field.send_keys(file.to_string_lossy()).await?)
    }

    /// Returns the value of a field.
    pub(super) async fn value(&self, label: &str) -> Result<String, Failed> {
        let field = self.find(Role::Field, label).await?;
        Ok(field.prop("value").await?.unwrap_or_default())
    }

    /// Returns the message at a field, which describes the field for a screen reader.
    pub(super) async fn issue(&self, label: &str) -> Result<String, Failed> {
        self.until(&format!("see a message at “{label}”"), async || {
            let field = self.locate(Role::Field, label).await?;
            let ids = field.attr("aria-describedby").await?.unwrap_or_default();
            let id = ids.split(' ').next_back().unwrap_or_default();
            let issue = self.driver.find(By::Id(id)).await?.text().await?;
            match field.attr("aria-invalid").await?.as_deref() {
                Some("true") if !issue.is_empty() => Ok(issue),
                _ => Err("there is none".into()),
            }
        })
        .await
    }

    /// Waits until the page shows its data, with all images.
    pub(super) async fn wait_until_loaded(&self) -> Result<(), Failed> {
        self.until("load the page", async || {
            if self.evaluate(LOADED).await? {
                Ok(())
            } else {
                Err("it still loads".into())
            }
        })
        .await
    }

    /// Returns the result of a script, which is the body of a function. A promise is awaited.
    pub(super) async fn evaluate<T: DeserializeOwned>(&self, script: &str) -> Result<T, Failed> {
        let result = self.driver.execute(script, Vec::<Value>::new()).await?;
        Ok(result.convert()?)
    }

    /// Cuts the connection of the page, or restores it.
    pub(super) async fn set_offline(&self, offline: bool) -> Result<(), Failed> {
        let throughput = if offline { 0 } else { -1 };
        let conditions = json!({"offline": offline, "latency": 0, "throughput": throughput});
        let body = json!({"network_conditions": conditions});
        self.extension(Method::POST, "chromium/network_conditions", Some(body))
            .await?;
        Ok(())
    }

    /// Calls a method of the browser's DevTools protocol.
    pub(super) async fn devtools(&self, method: &str, parameters: Value) -> Result<(), Failed> {
        let body = json!({"cmd": method, "params": parameters});
        self.extension(Method::POST, "goog/cdp/execute", Some(body))
            .await?;
        Ok(())
    }

    /// Sets the size of the window's content in CSS pixels.
    pub(super) async fn resize(&self, width: u32, height: u32) -> Result<(), Failed> {
        let metrics = json!({
            "width": width,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await
    }

    /// Writes what the window shows to a PNG file.
    pub(super) async fn screenshot(&self, file: &Path) -> Result<(), Failed> {
        Ok(self.driver.screenshot(file).await?)
    }

    /// Fails if the console of the browser has errors since the last call. A refused request is such
    /// an error. Errors that contain one of the texts are expected.
    pub(super) async fn assert_no_errors(&self, expected: &[&str]) -> Result<(), Failed> {
        let keycloak = address("keycloak");
        let errors: Vec<String> = self
            .driver
            .browser_log()
            .await?
            .into_iter()
            .filter(|entry| entry.level == "SEVERE")
            .map(|entry| entry.message)
            .filter(|message| !message.starts_with(keycloak))
            .filter(|message| !expected.iter().any(|text| message.contains(text)))
            .collect();
        if errors.is_empty() {
            return Ok(());
        }
        Err(format!("errors in the browser's console:\n{}", errors.join("\n")).into())
    }

    /// Repeats an attempt until it succeeds.
    ///
    /// # Errors
    /// Returns the cause of the last attempt, the text of the page and the file of a screenshot.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        attempt: impl AsyncFn() -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let cause = match attempt().await {
                Ok(result) => return Ok(result),
                Err(cause) => cause,
            };
            if Instant::now() > deadline {
                return Err(self.describe_failure(what, &cause).await);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn describe_failure(&self, what: &str, cause: &Failed) -> Failed {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = format!("browser-failure-{number}.png");
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        let screenshot = match self.screenshot(&file).await {
            Ok(()) => file.display().to_string(),
            Err(_) => "none".to_owned(),
        };
        let script = "return `${location.href}\n${document.body.innerText}`";
        let text = self.evaluate::<String>(script).await.unwrap_or_default();
        format!(
            "could not {what}: {}\nscreenshot: {screenshot}\n{text}",
            cause.message().unwrap_or_default()
        )
        .into()
    }

    /// Returns a visible element whose role and name are those of the accessibility tree.
    async fn locate(&self, role: Role, name: &str) -> Result<WebElement, Failed> {
        let found = self.query(role.selector(), name).await?;
        let element = found.ok_or("there is none")?;
        let found_role = self.computed(&element, "role").await?;
        let found_name = self.computed(&element, "label").await?;
        let is_name = match name.strip_suffix('…') {
            Some(beginning) => found_name.starts_with(beginning),
            None => found_name == name,
        };
        if is_name && role.computed().is_none_or(|role| role == found_role) {
            return Ok(element);
        }
        Err(format!("a screen reader announces it as {found_role} “{found_name}”").into())
    }

    /// Returns the first visible element with a selector and a name or text.
    async fn query(&self, selector: &str, name: &str) -> Result<Option<WebElement>, Failed> {
        let arguments = vec![json!(selector), json!(name)];
        let elements = self.driver.execute(QUERY, arguments).await?.elements()?;
        Ok(elements.into_iter().next())
    }

    /// Returns the role or the label of an element in the accessibility tree.
    async fn computed(&self, element: &WebElement, property: &str) -> Result<String, Failed> {
        let endpoint = format!("element/{}/computed{property}", element.element_id());
        let value = self.extension(Method::GET, &endpoint, None).await?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    async fn extension(
        &self,
        method: Method,
        endpoint: &str,
        body: Option<Value>,
    ) -> Result<Value, Failed> {
        let command = Extension {
            method,
            endpoint: endpoint.to_owned(),
            body,
        };
        Ok(self.driver.cmd(command).await?.value_json()?)
    }
}

/// A command of chromedriver that the client library does not offer.
#[derive(Debug)]
struct Extension {
    method: Method,
    endpoint: String,
    body: Option<Value>,
}

impl FormatRequestData for Extension {
    fn format_request(&self, session: &SessionId) -> RequestData {
        let path = format!("session/{session}/{}", self.endpoint);
        let request = RequestData::new(self.method.clone(), path);
        match &self.body {
            Some(body) => request.add_body(body.clone()),
            None => request,
        }
    }
}
