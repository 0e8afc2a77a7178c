//! Users and passwords of the broker that differ between a backup and the configuration.

use libtest_mimic::Failed;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::secrets::HARDEST;
use super::stack::{ADMINISTRATOR, block_on, client, dm_command, instance, status_row};

/// A user that is removed after the backup.
const REMOVED_USER: &str = "creed";
/// The administrator's password in the backup. It is changed afterwards.
const OLD_PASSWORD: &str = "scranton";

/// The users of the broker, by its management API.
pub(crate) struct BrokerUsers {
    url: String,
}

impl BrokerUsers {
    /// Finds the management API of the broker.
    pub(crate) fn find() -> Result<Self, Failed> {
        let row = status_row("rabbitmq")?;
        let addresses = row["addresses"].as_array().into_iter().flatten();
        let url = addresses
            .filter_map(Value::as_str)
            .find(|address| address.starts_with("http://"))
            .ok_or("`dm status` shows no address of the management API")?;
        Ok(Self {
            url: url.to_owned(),
        })
    }

    /// Creates a backup of a broker with another password of the administrator and with one more
    /// user. Afterwards, the users are again those of the configuration.
    pub(crate) fn create_outdated_backup(&self) -> Result<Value, Failed> {
        self.set(HARDEST, REMOVED_USER, "beets", "management")?;
        self.set(HARDEST, ADMINISTRATOR, OLD_PASSWORD, "administrator")?;
        let created = dm_command()
            .env("DM_RABBITMQ__PASSWORD", OLD_PASSWORD)
            .args(["--instance", instance(), "backup", "create", "--json"])
            .output();
        // Without the password of the configuration, all later tests would fail.
        let reset = || self.set(OLD_PASSWORD, ADMINISTRATOR, HARDEST, "administrator");
        reset().or_else(|_| reset())?;
        let removed = self.call(HARDEST, Method::DELETE, &user_path(REMOVED_USER), None)?;
        let created = created?;
        if !removed.is_success() {
            return Err(format!("could not remove broker user {REMOVED_USER}: {removed}").into());
        }
        if !created.status.success() {
            return Err(String::from_utf8_lossy(&created.stderr).into());
        }
        Ok(serde_json::from_slice(&created.stdout)?)
    }

    /// Asserts that the users of [`Self::create_outdated_backup`] are those of the configuration.
    pub(crate) fn assert_current(&self) -> Result<(), Failed> {
        let sign_in = |password| self.call(password, Method::GET, "whoami", None);
        assert_eq!(sign_in(HARDEST)?, StatusCode::OK);
        assert_eq!(sign_in(OLD_PASSWORD)?, StatusCode::UNAUTHORIZED);
        let removed = self.call(HARDEST, Method::GET, &user_path(REMOVED_USER), None)?;
        assert_eq!(removed, StatusCode::NOT_FOUND);
        Ok(())
    }

    /// Creates or changes a user, as the administrator with this password.
    fn set(&self, password: &str, user: &str, new: &str, tags: &str) -> Result<(), Failed> {
        let body = json!({"password": new, "tags": tags});
        let changed = self.call(password, Method::PUT, &user_path(user), Some(body))?;
        if changed.is_success() {
            return Ok(());
        }
        Err(format!("could not change broker user {user}: {changed}").into())
    }

    /// Sends a request as the administrator with this password, and returns the status code.
    fn call(
        &self,
        password: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<StatusCode, Failed> {
        block_on(async {
            let request = client()
                .request(method, format!("{}/api/{path}", self.url))
                .basic_auth(ADMINISTRATOR, Some(password));
            let request = match body {
                Some(body) => request.json(&body),
                None => request,
            };
            Ok(request.send().await?.status())
        })
    }
}

fn user_path(user: &str) -> String {
    format!("users/{user}")
}
