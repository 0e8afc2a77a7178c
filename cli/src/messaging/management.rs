//! RabbitMQ's management interface, for what AMQP doesn't tell.

use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::MessagingError;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The interface, for its administrator.
#[derive(Debug)]
pub struct Management {
    client: Client,
    base: String,
    user: String,
    password: String,
}

impl Management {
    /// The interface at an address.
    ///
    /// # Errors
    /// No client can be made.
    pub fn new(base: String, user: &str, password: &str) -> Result<Self, MessagingError> {
        let client = Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Self {
            client,
            base,
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    /// How many messages of a queue its consumers have at hand, as it was a few seconds
    /// ago.
    ///
    /// # Errors
    /// The broker is away, or has no such queue.
    pub async fn at_hand(&self, queue: &str) -> Result<u64, MessagingError> {
        #[derive(Deserialize)]
        struct Queue {
            #[serde(default)]
            messages_unacknowledged: u64,
        }
        let queue: Queue = self.get(&format!("queues/%2F/{queue}")).await?;
        Ok(queue.messages_unacknowledged)
    }

    /// Ends every connection at once, as a network that breaks does. Answers how many.
    ///
    /// # Errors
    /// The broker is away.
    pub async fn close_all(&self) -> Result<u64, MessagingError> {
        #[derive(Deserialize)]
        struct Connection {
            name: String,
        }
        let connections: Vec<Connection> = self.get("connections").await?;
        let mut closed = 0;
        for connection in connections {
            let mut url = url::Url::parse(&self.base)?;
            if let Ok(mut path) = url.path_segments_mut() {
                path.extend(["api", "connections", connection.name.as_str()]);
            }
            let answer = self
                .client
                .delete(url)
                .basic_auth(&self.user, Some(&self.password))
                .header("x-reason", "dm chaos")
                .send()
                .await?;
            closed += u64::from(answer.status().is_success());
        }
        Ok(closed)
    }

    /// All that is declared: users, queues, bindings and the rest.
    ///
    /// # Errors
    /// The broker is away.
    pub async fn definitions(&self) -> Result<Value, MessagingError> {
        self.get("definitions").await
    }

    /// Declares all of it again. What there is besides stays.
    ///
    /// # Errors
    /// The broker is away, or refuses.
    pub async fn declare(&self, definitions: &Value) -> Result<(), MessagingError> {
        let answer = self
            .client
            .post(format!("{}/api/definitions", self.base))
            .basic_auth(&self.user, Some(&self.password))
            .json(definitions)
            .send()
            .await?;
        answer.error_for_status()?;
        Ok(())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, MessagingError> {
        let answer = self
            .client
            .get(format!("{}/api/{path}", self.base))
            .basic_auth(&self.user, Some(&self.password))
            .send()
            .await?;
        Ok(answer.error_for_status()?.json().await?)
    }
}
