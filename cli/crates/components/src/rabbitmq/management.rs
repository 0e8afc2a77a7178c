//! RabbitMQ's management API, for information and changes that AMQP does not offer.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::http_client;

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The name of `dm`'s own connections.
const OWN_CONNECTION_NAME: &str = "dm";
/// The reason that a closed connection receives.
const CLOSE_REASON: &str = "a backup is being restored";

/// An error of the management API.
#[derive(Debug, Error)]
pub enum ManagementApiError {
    /// The request failed or was rejected.
    #[error("could not query the management API of RabbitMQ")]
    Http(#[from] reqwest::Error),
    /// The URL is invalid.
    #[error("the URL of the management API of RabbitMQ is invalid")]
    InvalidUrl(#[from] url::ParseError),
}

/// A client of the management API, for the administrator.
#[derive(Debug)]
pub struct ManagementClient {
    client: Client,
    base_url: String,
    user: String,
    password: String,
}

impl ManagementClient {
    /// Creates a client of the API at a URL.
    ///
    /// # Errors
    /// Returns [`ManagementApiError::Http`] if the client cannot be created.
    pub fn new(base_url: String, user: &str, password: &str) -> Result<Self, ManagementApiError> {
        // The API closes a connection after five idle seconds, which may be the moment of the
        // next request.
        let client = http_client()
            .timeout(REQUEST_TIMEOUT)
            .pool_max_idle_per_host(0);
        Ok(Self {
            client: client.build()?,
            base_url,
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    /// Closes every connection at once, as a network failure does. Returns their number.
    ///
    /// By user, because the list of all connections is a statistic: it does not contain
    /// connections of the last seconds.
    ///
    /// # Errors
    /// Returns [`ManagementApiError`] if the broker cannot be reached.
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
            let response = request.header("x-reason", "dm chaos").send().await?;
            if response.status().is_success() {
                closed += connections.len();
            }
        }
        Ok(closed)
    }

    /// Returns the names of a user's current connections.
    async fn list_user_connections(&self, user: &str) -> Result<Vec<String>, ManagementApiError> {
        #[derive(Deserialize)]
        struct Connection {
            name: String,
        }
        let request = self.request(Method::GET, ["connections", "username", user])?;
        let response = request.send().await?.error_for_status()?;
        let connections: Vec<Connection> = response.json().await?;
        Ok(connections
            .into_iter()
            .map(|connection| connection.name)
            .collect())
    }

    /// Revokes a user's permissions in the stack's virtual host, and closes its connections. It
    /// cannot connect any more.
    ///
    /// # Errors
    /// Returns [`ManagementApiError`] if the broker cannot be reached or rejects the request.
    pub async fn revoke_permissions(&self, user: &str) -> Result<(), ManagementApiError> {
        let request = self.request(Method::DELETE, ["permissions", "/", user])?;
        let response = request.send().await?;
        if response.status() != StatusCode::NOT_FOUND {
            response.error_for_status()?;
        }
        // By user: the list of all connections may be outdated.
        let request = self.request(Method::DELETE, ["connections", "username", user])?;
        let response = request.header("x-reason", CLOSE_REASON).send().await?;
        if response.status() != StatusCode::NOT_FOUND {
            response.error_for_status()?;
        }
        Ok(())
    }

    /// Closes every connection except those of `dm`. Returns the user and the name of each one,
    /// as the broker reports them. The administrator's connections that the broker does not
    /// list yet are included, too, and cannot be closed before it does.
    ///
    /// # Errors
    /// Returns [`ManagementApiError`] if the broker cannot be reached.
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
        let current = self.list_user_connections(&self.user).await?;
        // Only the user of an unlisted connection is known.
        let unlisted = current
            .into_iter()
            .filter(|name| {
                !connections
                    .iter()
                    .any(|connection| connection.name == *name)
            })
            .map(|_| format!("{} (not listed yet)", self.user));
        let mut closed: Vec<String> = unlisted.collect();
        let others = connections
            .iter()
            .filter(|connection| connection.user_provided_name != OWN_CONNECTION_NAME);
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

    /// Returns all definitions: users, queues, bindings and the rest.
    ///
    /// # Errors
    /// Returns [`ManagementApiError`] if the broker cannot be reached.
    pub async fn export_definitions(&self) -> Result<Value, ManagementApiError> {
        self.get("definitions").await
    }

    /// Imports the definitions. Other existing objects stay.
    ///
    /// # Errors
    /// Returns [`ManagementApiError`] if the broker cannot be reached or rejects the request.
    pub async fn import_definitions(&self, definitions: &Value) -> Result<(), ManagementApiError> {
        let request = self.request(Method::POST, ["definitions"])?;
        request.json(definitions).send().await?.error_for_status()?;
        Ok(())
    }

    /// Deletes everything and imports these definitions, which gives the state of a broker
    /// after its first start. No client may be connected.
    ///
    /// # Errors
    /// Returns [`ManagementApiError`] if the broker cannot be reached or rejects the request.
    pub(crate) async fn reset_to_definitions(
        &self,
        definitions: &Value,
    ) -> Result<(), ManagementApiError> {
        let names = |definitions: &Value, list: &str| -> Vec<String> {
            let objects = definitions[list].as_array().into_iter().flatten();
            let names = objects.filter_map(|object| object["name"].as_str());
            names.map(str::to_owned).collect()
        };
        let existing = self.export_definitions().await?;
        let desired_users = names(definitions, "users");
        // Queues, exchanges, bindings, policies and permissions belong to a virtual host.
        for host in names(&existing, "vhosts") {
            self.delete(["vhosts", &host]).await?;
        }
        for user in names(&existing, "users") {
            if !desired_users.contains(&user) {
                self.delete(["users", &user]).await?;
            }
        }
        self.import_definitions(definitions).await
    }

    /// Returns the policies of the stack's virtual host.
    ///
    /// # Errors
    /// Returns [`ManagementApiError`] if the broker cannot be reached.
    pub(crate) async fn list_policies(&self) -> Result<Vec<Value>, ManagementApiError> {
        self.get("policies/%2F").await
    }

    /// Sets a policy. Replaces an existing one of this name.
    ///
    /// # Errors
    /// Returns [`ManagementApiError`] if the broker cannot be reached or rejects the request.
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
    /// Returns [`ManagementApiError`] if the broker cannot be reached or has no policy with this
    /// name.
    pub(crate) async fn remove_policy(&self, name: &str) -> Result<(), ManagementApiError> {
        self.delete(["policies", "/", name]).await?;
        Ok(())
    }

    async fn delete<const N: usize>(
        &self,
        path: [&str; N],
    ) -> Result<Response, ManagementApiError> {
        let response = self.request(Method::DELETE, path)?.send().await?;
        Ok(response.error_for_status()?)
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
        let response = self
            .client
            .get(format!("{}/api/{path}", self.base_url))
            .basic_auth(&self.user, Some(&self.password))
            .send()
            .await?;
        Ok(response.error_for_status()?.json().await?)
    }
}
