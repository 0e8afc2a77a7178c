//! RabbitMQ's management interface, for what AMQP doesn't tell.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::http_client;

/// How long an answer may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What connections of `dm` are called.
const OWN_CONNECTION_NAME: &str = "dm";
/// What a connection is told that ends.
const CLOSE_REASON: &str = "a backup is being restored";

/// Why the interface can't be asked.
#[derive(Debug, Error)]
pub enum ManagementApiError {
    /// It is away, or refuses.
    #[error("could not query the management API of RabbitMQ")]
    Http(#[from] reqwest::Error),
    /// Its address is none.
    #[error("the URL of the management API of RabbitMQ is invalid")]
    InvalidUrl(#[from] url::ParseError),
}

/// The interface, for its administrator.
#[derive(Debug)]
pub struct ManagementClient {
    client: Client,
    base_url: String,
    user: String,
    password: String,
}

impl ManagementClient {
    /// The interface at an address.
    ///
    /// # Errors
    /// No client can be made.
    pub fn new(base: String, user: &str, password: &str) -> Result<Self, ManagementApiError> {
        // The interface closes a connection that idles for five seconds, which may be the
        // moment of the next request.
        let client = http_client()
            .timeout(REQUEST_TIMEOUT)
            .pool_max_idle_per_host(0);
        Ok(Self {
            client: client.build()?,
            base_url: base,
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    /// Ends every connection at once, as a network that breaks does. Answers how many.
    ///
    /// By user, for the list of all connections is a statistic: one that was made in the last
    /// seconds is not in it.
    ///
    /// # Errors
    /// The broker is away.
    pub async fn close_all_connections(&self) -> Result<usize, ManagementApiError> {
        #[derive(Deserialize)]
        struct User {
            name: String,
        }
        let users: Vec<User> = self.get("users").await?;
        let mut closed = 0;
        for User { name } in users {
            let connections = self.list_user_connections(&name).await?;
            let request = self.request(Method::DELETE, ["connections", "username", &name])?;
            let answer = request.header("x-reason", "dm chaos").send().await?;
            if answer.status().is_success() {
                closed += connections.len();
            }
        }
        Ok(closed)
    }

    /// The names of a user's connections, those of this instant.
    async fn list_user_connections(&self, user: &str) -> Result<Vec<String>, ManagementApiError> {
        #[derive(Deserialize)]
        struct Connection {
            name: String,
        }
        let request = self.request(Method::GET, ["connections", "username", user])?;
        let answer = request.send().await?.error_for_status()?;
        let connections: Vec<Connection> = answer.json().await?;
        Ok(connections.into_iter().map(|it| it.name).collect())
    }

    /// Takes a user's rights in the stack's virtual host away. It can't connect then.
    ///
    /// # Errors
    /// The broker is away, or refuses.
    pub async fn revoke_permissions(&self, user: &str) -> Result<(), ManagementApiError> {
        let request = self.request(Method::DELETE, ["permissions", "/", user])?;
        let answer = request.send().await?;
        if answer.status() != StatusCode::NOT_FOUND {
            answer.error_for_status()?;
        }
        // At once, where the list of connections is not up to date yet.
        let request = self.request(Method::DELETE, ["connections", "username", user])?;
        let answer = request.header("x-reason", CLOSE_REASON).send().await?;
        if answer.status() != StatusCode::NOT_FOUND {
            answer.error_for_status()?;
        }
        Ok(())
    }

    /// Ends every connection but those of `dm`. Answers whose there were, as the broker tells:
    /// the user, and what the connection is called. The administrator's connections that the
    /// broker does not list yet count, too, and can't be ended before it does.
    ///
    /// # Errors
    /// The broker is away.
    pub async fn close_foreign_connections(&self) -> Result<Vec<String>, ManagementApiError> {
        #[derive(Deserialize)]
        struct Connection {
            name: String,
            #[serde(default)]
            user: String,
            #[serde(default)]
            user_provided_name: String,
        }
        let connections: Vec<Connection> = self.get("connections").await?;
        let now = self.list_user_connections(&self.user).await?;
        // Of one that is not listed yet nothing is known but its user.
        let unlisted = now
            .into_iter()
            .filter(|name| !connections.iter().any(|it| it.name == *name))
            .map(|_| format!("{} (not listed yet)", self.user));
        let mut closed: Vec<String> = unlisted.collect();
        let others = connections
            .iter()
            .filter(|it| it.user_provided_name != OWN_CONNECTION_NAME);
        for connection in others {
            let request = self.request(Method::DELETE, ["connections", &connection.name])?;
            request.header("x-reason", CLOSE_REASON).send().await?;
            closed.push(format!(
                "{} ({})",
                connection.user, connection.user_provided_name
            ));
        }
        Ok(closed)
    }

    /// All that is declared: users, queues, bindings and the rest.
    ///
    /// # Errors
    /// The broker is away.
    pub async fn export_definitions(&self) -> Result<Value, ManagementApiError> {
        self.get("definitions").await
    }

    /// Declares all of it again. What there is besides stays.
    ///
    /// # Errors
    /// The broker is away, or refuses.
    pub async fn import_definitions(&self, definitions: &Value) -> Result<(), ManagementApiError> {
        let request = self.request(Method::POST, ["definitions"])?;
        request.json(definitions).send().await?.error_for_status()?;
        Ok(())
    }

    /// Throws everything away, and declares all of this anew: what a broker has that starts
    /// for the first time. Nobody may be connected.
    ///
    /// # Errors
    /// The broker is away, or refuses.
    pub(crate) async fn reset_to_definitions(
        &self,
        definitions: &Value,
    ) -> Result<(), ManagementApiError> {
        let names = |of: &Value, list: &str| -> Vec<String> {
            let listed = of[list].as_array().into_iter().flatten();
            let names = listed.filter_map(|it| it["name"].as_str());
            names.map(str::to_owned).collect()
        };
        let there = self.export_definitions().await?;
        let wanted = names(definitions, "users");
        // Queues, exchanges, bindings, policies and rights are a virtual host's.
        for host in names(&there, "vhosts") {
            self.delete(["vhosts", &host]).await?;
        }
        for user in names(&there, "users") {
            if !wanted.contains(&user) {
                self.delete(["users", &user]).await?;
            }
        }
        self.import_definitions(definitions).await
    }

    /// The policies.
    ///
    /// # Errors
    /// The broker is away.
    pub(crate) async fn list_policies(&self) -> Result<Vec<Value>, ManagementApiError> {
        self.get("policies/%2F").await
    }

    /// Sets a policy, in place of one of that name.
    ///
    /// # Errors
    /// The broker is away, or refuses.
    pub(crate) async fn set_policy(
        &self,
        name: &str,
        policy: &Value,
    ) -> Result<(), ManagementApiError> {
        let request = self.request(Method::PUT, ["policies", "/", name])?;
        request.json(policy).send().await?.error_for_status()?;
        Ok(())
    }

    /// Removes a policy.
    ///
    /// # Errors
    /// The broker is away, or has none of that name.
    pub(crate) async fn remove_policy(&self, name: &str) -> Result<(), ManagementApiError> {
        self.delete(["policies", "/", name]).await?;
        Ok(())
    }

    async fn delete<const N: usize>(
        &self,
        path: [&str; N],
    ) -> Result<Response, ManagementApiError> {
        let answer = self.request(Method::DELETE, path)?.send().await?;
        Ok(answer.error_for_status()?)
    }

    fn request<const N: usize>(
        &self,
        method: Method,
        path: [&str; N],
    ) -> Result<RequestBuilder, ManagementApiError> {
        let mut url = url::Url::parse(&self.base_url)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push("api").extend(path);
        }
        let request = self.client.request(method, url);
        Ok(request.basic_auth(&self.user, Some(&self.password)))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ManagementApiError> {
        let answer = self
            .client
            .get(format!("{}/api/{path}", self.base_url))
            .basic_auth(&self.user, Some(&self.password))
            .send()
            .await?;
        Ok(answer.error_for_status()?.json().await?)
    }
}
