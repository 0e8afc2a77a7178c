//! Changes to the queues of the broker.

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeleteOptions};
use libtest_mimic::Failed;

use super::{block_on, channel, dm_ok};

/// Publishes a message to a queue.
pub(crate) fn publish_to_queue(
    queue: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<(), Failed> {
    Ok(block_on(async {
        let (connection, channel) = channel().await?;
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), queue.into(), options, body, properties)
            .await?;
        connection.close(200, "done".into()).await
    })?)
}

/// Deletes a queue.
pub(crate) fn delete_queue(queue: &str) -> Result<(), Failed> {
    Ok(block_on(async {
        let (connection, channel) = channel().await?;
        let options = QueueDeleteOptions::default();
        channel.queue_delete(queue.into(), options).await?;
        connection.close(200, "done".into()).await
    })?)
}

/// Suspends the process of a classic queue: until it is resumed, the queue receives messages,
/// confirms none of them, and cannot be deleted.
pub(crate) fn suspend_queue(queue: &str) -> Result<(), Failed> {
    call_queue_process(queue, "suspend")
}

/// Resumes the process of a classic queue.
pub(crate) fn resume_queue(queue: &str) -> Result<(), Failed> {
    call_queue_process(queue, "resume")
}

/// Calls a function of Erlang's module `sys` with the process of a classic queue.
fn call_queue_process(queue: &str, function: &str) -> Result<(), Failed> {
    let expression = format!(
        "{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)), \
         ok = sys:{function}(amqqueue:get_pid(Queue))."
    );
    let rabbitmqctl = ["exec", "rabbitmq", "--", "rabbitmqctl"];
    dm_ok(&[&rabbitmqctl[..], &["-q", "eval", &expression]].concat()).map(drop)
}
