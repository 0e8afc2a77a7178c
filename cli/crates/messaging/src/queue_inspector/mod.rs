//! What quorum queues hold, read from the broker's own state.
//!
//! AMQP has no way to look: a message is delivered and given back, which counts as a
//! delivery of it, and a message that was delivered too often is set aside. So the broker
//! itself is asked, by its own tool in its container. That also shows what a consumer has
//! at hand, which AMQP shows nobody else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use dm_engine::Engine;
use dm_engine::exec::ExecSpec;

use super::MessagingError;

/// What the broker evaluates, once `Names` is bound.
const QUEUE_SCRIPT: &str = include_str!("queue.erl");

/// How long the broker may take, in seconds.
const EVAL_TIMEOUT_SECONDS: &str = "180";

/// The way to the broker's state.
pub struct QuorumQueueInspector<'a> {
    /// The engine that the broker runs on.
    pub engine: &'a Engine,
    /// Its container.
    pub container: String,
}

/// A message in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueuedMessage {
    /// Its id.
    pub(super) id: Option<String>,
    /// When the broker took it in, by the broker's clock.
    pub(super) received_at: Option<DateTime<Utc>>,
    /// True if the broker knows that no consumer has received it yet.
    pub(super) never_delivered: bool,
}

/// What a queue holds: what is ready, what consumers have at hand, and what waits to be
/// dead-lettered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct QueueContents {
    /// The messages, in no order.
    pub(super) messages: Vec<QueuedMessage>,
    /// How many more there are that could not be read.
    pub(super) unreadable: u64,
}

impl QuorumQueueInspector<'_> {
    /// What these quorum queues hold. A queue that is not there holds nothing. Nothing
    /// changes by looking, however often.
    ///
    /// # Errors
    /// The broker doesn't run, or can't be asked.
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

/// The script with the names that it is about.
fn erlang_expression(queues: &[String]) -> String {
    let names: Vec<String> = queues.iter().map(|name| erlang_binary(name)).collect();
    format!("Names = [{}],\n{QUEUE_SCRIPT}", names.join(","))
}

/// A text as a binary of Erlang, byte by byte: no character has a meaning there.
fn erlang_binary(text: &str) -> String {
    let bytes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
    format!("<<{}>>", bytes.join(","))
}

/// Reads what the script printed.
fn parse_output(queues: usize, text: &str) -> Result<Vec<QueueContents>, MessagingError> {
    let broken =
        |line: &str| MessagingError::QueueInspection(format!("unexpected output `{line}`"));
    let mut found = vec![QueueContents::default(); queues];
    let mut ended = 0;
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let at = words.get(1).and_then(|at| at.parse::<usize>().ok());
        let contents = at.and_then(|at| found.get_mut(at));
        match (words.as_slice(), contents) {
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
            (["q", _, _, unread], Some(contents)) => {
                contents.unreadable = unread.parse().map_err(|_| broken(line))?;
                ended += 1;
            }
            // What the expression itself comes to.
            (["ok"], _) => {}
            _ => return Err(broken(line)),
        }
    }
    if ended == queues {
        Ok(found)
    } else {
        Err(MessagingError::QueueInspection(
            "its output is truncated".into(),
        ))
    }
}

/// An id that is base 64, or nothing.
fn decode_message_id(word: &str) -> Option<String> {
    let bytes = BASE64.decode(word).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The beginning of what the tool complained of.
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
    fn messages_are_read_by_queue() {
        let text =
            "m 0 f 1795875319914 ZXZ0XzE=\nm 1 - - -\nm 0 - - ZXZ0XzI=\nq 0 5 3\nq 1 1 0\nok\n";
        let found = parse_output(2, text).unwrap();
        let ids: Vec<_> = found[0].messages.iter().map(|it| it.id.clone()).collect();
        assert_eq!(ids, [Some("evt_1".to_owned()), Some("evt_2".to_owned())]);
        assert!(found[0].messages[0].received_at.is_some());
        let fresh: Vec<_> = found[0]
            .messages
            .iter()
            .map(|it| it.never_delivered)
            .collect();
        assert_eq!(fresh, [true, false]);
        assert_eq!(
            found[1].messages,
            [QueuedMessage {
                id: None,
                received_at: None,
                never_delivered: false,
            }]
        );
        assert_eq!((found[0].unreadable, found[1].unreadable), (3, 0));
    }

    #[test]
    fn an_answer_that_is_cut_off_is_none() {
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
    fn a_name_is_bytes_and_nothing_else() {
        assert_eq!(erlang_binary("a\"b"), "<<97,34,98>>");
        assert!(erlang_expression(&["q".into()]).starts_with("Names = [<<113>>],\n"));
    }

    proptest! {
        #[test]
        fn an_id_is_what_it_was(ids in prop::collection::vec(any::<String>(), 0..20)) {
            let ids: Vec<String> = ids.into_iter().filter(|id| !id.is_empty()).collect();
            let mut text: String = ids
                .iter()
                .map(|id| format!("m 0 f 1 {}\n", BASE64.encode(id)))
                .collect();
            text.push_str("q 0 0 0\nok\n");
            let found = parse_output(1, &text).unwrap();
            let read: Vec<_> = found[0].messages.iter().filter_map(|it| it.id.clone()).collect();
            prop_assert_eq!(read, ids);
        }

        #[test]
        fn no_answer_makes_it_panic(text in any::<String>()) {
            let _ = parse_output(2, &text);
        }
    }
}
