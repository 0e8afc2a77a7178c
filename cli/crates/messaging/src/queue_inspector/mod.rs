//! The contents of quorum queues, read from the state of the broker.
//!
//! AMQP cannot read a queue without a delivery: reading and requeueing a message counts as a
//! delivery, and a message that was delivered too often is dead-lettered. Therefore
//! `rabbitmqctl eval` reads the state in the broker's container. It also returns the
//! unacknowledged messages of consumers, which AMQP does not show to other connections.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use dm_engine::Engine;
use dm_engine::exec::ExecSpec;

use super::MessagingError;

/// The Erlang script that the broker evaluates. It expects `Names` to be bound.
const QUEUE_SCRIPT: &str = include_str!("queue.erl");

/// The timeout of the evaluation, in seconds.
const EVAL_TIMEOUT_SECONDS: &str = "180";

/// Reads the state of the broker.
pub struct QuorumQueueInspector<'a> {
    /// The engine that runs the broker.
    pub engine: &'a Engine,
    /// The container of the broker.
    pub container: String,
}

/// A message in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueuedMessage {
    /// The message id.
    pub(super) id: Option<String>,
    /// The instant at which the broker received it, by the broker's clock.
    pub(super) received_at: Option<DateTime<Utc>>,
    /// Whether the broker knows that no consumer has received it yet.
    pub(super) never_delivered: bool,
}

/// The contents of a queue: ready messages, unacknowledged messages, and messages that wait to
/// be dead-lettered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct QueueContents {
    /// The messages, in no particular order.
    pub(super) messages: Vec<QueuedMessage>,
    /// The number of additional messages that could not be read.
    pub(super) unreadable: u64,
}

impl QuorumQueueInspector<'_> {
    /// Returns the contents of these quorum queues. A queue that does not exist is empty.
    /// Reading has no side effects.
    ///
    /// # Errors
    /// Returns [`MessagingError`] if the broker does not run, or `rabbitmqctl` fails.
    pub(super) async fn inspect(
        &self,
        queues: &[String],
    ) -> Result<Vec<QueueContents>, MessagingError> {
        if queues.is_empty() {
            return Ok(Vec::new());
        }
        let command = ["rabbitmqctl", "-q", "-t", EVAL_TIMEOUT_SECONDS, "eval"];
        let command = command.into_iter().map(str::to_owned);
        let spec = ExecSpec {
            command: command.chain([erlang_expression(queues)]).collect(),
            ..ExecSpec::default()
        };
        let output = self.engine.exec_output(&self.container, &spec).await?;
        if output.exit_code != 0 {
            return Err(MessagingError::QueueInspection(error_excerpt(
                &output.stderr,
            )));
        }
        parse_output(queues.len(), &String::from_utf8_lossy(&output.stdout))
    }
}

/// Returns the script with the names of the queues.
fn erlang_expression(queues: &[String]) -> String {
    let names: Vec<String> = queues.iter().map(|name| erlang_binary(name)).collect();
    format!("Names = [{}],\n{QUEUE_SCRIPT}", names.join(","))
}

/// Returns a text as an Erlang binary, byte by byte, so that no character needs escaping.
fn erlang_binary(text: &str) -> String {
    let bytes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
    format!("<<{}>>", bytes.join(","))
}

/// Parses the output of the script.
fn parse_output(queues: usize, text: &str) -> Result<Vec<QueueContents>, MessagingError> {
    let unexpected =
        |line: &str| MessagingError::QueueInspection(format!("unexpected output `{line}`"));
    let mut queue_contents = vec![QueueContents::default(); queues];
    let mut complete = 0;
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let index = fields.get(1).and_then(|index| index.parse::<usize>().ok());
        let contents = index.and_then(|index| queue_contents.get_mut(index));
        match (fields.as_slice(), contents) {
            (["m", _, mark, received, id], Some(contents)) => {
                contents.messages.push(QueuedMessage {
                    id: decode_message_id(id),
                    never_delivered: *mark == "f",
                    received_at: received
                        .parse()
                        .ok()
                        .and_then(DateTime::from_timestamp_millis),
                })
            }
            (["q", _, _, unreadable], Some(contents)) => {
                contents.unreadable = unreadable.parse().map_err(|_| unexpected(line))?;
                complete += 1;
            }
            // The value of the expression.
            (["ok"], _) => {}
            _ => return Err(unexpected(line)),
        }
    }
    if complete == queues {
        Ok(queue_contents)
    } else {
        Err(MessagingError::QueueInspection(
            "its output is truncated".into(),
        ))
    }
}

/// Decodes a base64 message id. `None` if it is missing.
fn decode_message_id(field: &str) -> Option<String> {
    let bytes = BASE64.decode(field).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the beginning of the error output.
fn error_excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    let line = lines.join(" ");
    line.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn output_is_parsed_into_messages_by_queue() {
        let text =
            "m 0 f 1795875319914 ZXZ0XzE=\nm 1 - - -\nm 0 - - ZXZ0XzI=\nq 0 5 3\nq 1 1 0\nok\n";
        let contents = parse_output(2, text).unwrap();
        let messages = contents[0].messages.iter();
        let ids: Vec<_> = messages.map(|message| message.id.clone()).collect();
        assert_eq!(ids, [Some("evt_1".to_owned()), Some("evt_2".to_owned())]);
        assert!(contents[0].messages[0].received_at.is_some());
        let never_delivered: Vec<_> = contents[0]
            .messages
            .iter()
            .map(|message| message.never_delivered)
            .collect();
        assert_eq!(never_delivered, [true, false]);
        assert_eq!(
            contents[1].messages,
            [QueuedMessage {
                id: None,
                received_at: None,
                never_delivered: false,
            }]
        );
        assert_eq!((contents[0].unreadable, contents[1].unreadable), (3, 0));
    }

    #[test]
    fn truncated_output_is_an_error() {
        for text in [
            "",
            "ok",
            "m 0 - - ZXZ0XzE=\nok",
            "q 0 1 0\nm 1",
            "q 0 1 x",
            "q 1 1 0",
        ] {
            assert!(parse_output(1, text).is_err(), "{text}");
        }
    }

    #[test]
    fn queue_name_becomes_an_erlang_binary() {
        assert_eq!(erlang_binary("a\"b"), "<<97,34,98>>");
        assert!(erlang_expression(&["q".into()]).starts_with("Names = [<<113>>],\n"));
    }

    proptest! {
        #[test]
        fn message_id_round_trips(ids in prop::collection::vec(any::<String>(), 0..20)) {
            let ids: Vec<String> = ids.into_iter().filter(|id| !id.is_empty()).collect();
            let mut text: String = ids
                .iter()
                .map(|id| format!("m 0 f 1 {}\n", BASE64.encode(id)))
                .collect();
            text.push_str("q 0 0 0\nok\n");
            let contents = parse_output(1, &text).unwrap();
            let messages = contents[0].messages.iter();
            let parsed: Vec<_> = messages.filter_map(|message| message.id.clone()).collect();
            prop_assert_eq!(parsed, ids);
        }

        #[test]
        fn parse_output_never_panics(text in any::<String>()) {
            let _ = parse_output(2, &text);
        }
    }
}
