//! The schemas of the JSON documents that `dm` prints: one registry, from which
//! `docs/reference/json.md` is generated.

use std::fmt;

use serde::{Serialize, Serializer};

/// The schema of a JSON document or of a stream of JSON lines.
///
/// A document begins with the field `schema`, whose value is the schema's id. The number in
/// the id grows when a reader of the old format would misread the new one. New fields may
/// appear at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentSchema {
    id: &'static str,
    commands: &'static [&'static str],
    content: &'static str,
    is_stream: bool,
}

impl DocumentSchema {
    /// Creates a schema for tests of code that writes documents.
    #[must_use]
    pub const fn for_test(id: &'static str) -> Self {
        Self {
            id,
            commands: &[],
            content: "",
            is_stream: false,
        }
    }

    /// Returns the id, for example `dm.status/1`.
    #[must_use]
    pub const fn id(&self) -> &'static str {
        self.id
    }

    /// Returns the commands that print the document.
    #[must_use]
    pub const fn commands(&self) -> &'static [&'static str] {
        self.commands
    }

    /// Returns a description of the content, as a phrase in Markdown.
    #[must_use]
    pub const fn content(&self) -> &'static str {
        self.content
    }

    /// Returns whether the commands print JSON lines, of which the first has the schema.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        self.is_stream
    }
}

impl fmt::Display for DocumentSchema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.id)
    }
}

impl Serialize for DocumentSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id)
    }
}

macro_rules! is_stream {
    (document) => {
        false
    };
    (stream) => {
        true
    };
}

/// Defines a constant for each schema, and `ALL`.
macro_rules! schemas {
    ($($kind:ident $name:ident = $id:literal, [$($command:literal),+], $content:literal;)+) => {
        $(
            #[doc = concat!("`", $id, "`: ", $content, ".")]
            pub const $name: DocumentSchema = DocumentSchema {
                id: $id,
                commands: &[$($command),+],
                content: $content,
                is_stream: is_stream!($kind),
            };
        )+

        /// Every schema, sorted by id.
        pub const ALL: &[DocumentSchema] = &[$($name),+];
    };
}

schemas! {
    document BACKUP = "dm.backup/1", ["dm backup show ID"],
        "the manifest of one backup: purpose, times, versions, row counts, files with digests";
    document BACKUP_PRUNE = "dm.backup-prune/1", ["dm backup prune"],
        "the backups that were removed and those that stay, each with the reason";
    document BACKUPS = "dm.backups/1", ["dm backup ls"],
        "one entry for each backup, damaged ones included";
    document BENCH = "dm.bench/1", ["dm bench up", "dm bench services", "dm bench events", "dm bench data"],
        "every sample of every metric, the targets, and the machine ([figures](../performance.md))";
    document CALL = "dm.call/1", ["dm call PATH"],
        "the response of the gateway: status, headers and body";
    stream CI = "dm.ci/1", ["dm ci"],
        "one line for each phase of the job ([lines](../ci.md#json-lines))";
    document CONFIG = "dm.config/1", ["dm config show"],
        "the value of every key, and the layer that it comes from";
    document CONFIG_CHECK = "dm.config-check/1", ["dm config check"],
        "the result of a check that found nothing wrong; otherwise the command prints `dm.error/1`";
    document DEAD_LETTER_DETAIL = "dm.dead-letter-detail/1", ["dm dlq show ID"],
        "dead letters with all properties, headers and bodies";
    document DEAD_LETTER_GROUPS = "dm.dead-letter-groups/1", ["dm dlq ls"],
        "dead letters grouped by queue, event type and reason";
    document DEAD_LETTERS = "dm.dead-letters/1", ["dm dlq ls --each"],
        "one entry for each dead letter";
    document DOCTOR = "dm.doctor/1", ["dm doctor"],
        "the findings about this machine, each with its status and the next command";
    document DOWN = "dm.down/1", ["dm down"],
        "the containers, volumes and networks that were removed";
    document ENGINE = "dm.engine/1", ["dm engine status"],
        "the container engine that was found, its version, and the sockets that were tried";
    document ERROR = "dm.error/1", ["every command that fails"],
        "code, message, causes and next commands of a failure ([example](../progress-json.md#errors-dmerror1))";
    stream EVENT = "dm.event/1", ["dm events tail"],
        "one line for each event";
    document EVENT_DETAIL = "dm.event-detail/1", ["dm outbox show ID", "dm inbox show ID"],
        "one event with its envelope and the services that processed it";
    document EVENT_TRACE = "dm.event-trace/1", ["dm events trace ID"],
        "the events of one trace or aggregate: what caused each of them, and where it was delivered";
    document GOLDEN = "dm.golden/1", ["dm golden ls"],
        "one entry for each golden image";
    document IMAGES = "dm.images/1", ["dm images ls"],
        "one entry for each image that the stack needs, and what would provide it";
    document IMAGES_OBTAINED = "dm.images-obtained/1", ["dm images pull", "dm images build"],
        "one entry for each image, and where it came from";
    document IMAGES_PRUNED = "dm.images-pruned/1", ["dm images prune"],
        "the images and files that were removed, and the bytes that this freed";
    document IMAGES_TRANSFERRED = "dm.images-transferred/1", ["dm images save FILE", "dm images load FILE"],
        "the images in the archive";
    document INBOX = "dm.inbox/1", ["dm inbox ls"],
        "one page of processed events, with the cursor of the next page";
    document INBOX_STATS = "dm.inbox-stats/1", ["dm inbox stats"],
        "processed events of each service, and the depth of each work, retry and dead-letter queue";
    stream LOGS = "dm.logs/1", ["dm logs"],
        "one line for each log line: `component`, `time`, `line`";
    document OUTBOX = "dm.outbox/1", ["dm outbox ls"],
        "one page of written events with their delivery status, with the cursor of the next page";
    document OUTBOX_STATS = "dm.outbox-stats/1", ["dm outbox stats"],
        "backlog, age and publish rate of each outbox";
    document PARKED_LETTERS = "dm.parked-letters/1", ["dm dlq parked"],
        "one entry for each parked message";
    document PLAN = "dm.plan/1", ["dm up --dry-run"],
        "what `dm up` would do to each component, and why";
    stream PROGRESS = "dm.progress/1", ["every command, with --progress json"],
        "progress on stderr ([events](../progress-json.md#progress-dmprogress1))";
    document REBUILD = "dm.rebuild/1", ["dm rebuild", "dm dev"],
        "the services that were compiled and restarted, with times; of `dm dev`, one line for each change";
    document RECONCILE = "dm.reconcile/1", ["dm reconcile"],
        "the findings about events and invariants, and the counts of what was compared";
    document REPLAY = "dm.replay/1", ["dm dlq replay"],
        "the result of a replay run";
    document REPLAY_HISTORY = "dm.replay-history/1", ["dm dlq history"],
        "one entry for each replay run, newest first";
    stream REPLAY_MESSAGE = "dm.replay-message/1", ["dm dlq replay"],
        "one line for each dead letter of the run, before the result";
    document REPLAY_PLAN = "dm.replay-plan/1", ["dm dlq replay --dry-run"],
        "the dead letters that a replay run would publish";
    document SCHEMA_CHECK = "dm.schema-check/1", ["dm schema check"],
        "whether migrations, topology and realm agree with the snapshots";
    document SCHEMA_DIFF = "dm.schema-diff/1", ["dm schema diff"],
        "the differences between two sources, each classified as additive or breaking";
    document SCHEMA_LIST = "dm.schema-list/1", ["dm schema ls"],
        "one entry for each snapshot, and whether the running stack matches it";
    document SCHEMA_SNAPSHOT = "dm.schema-snapshot/1", ["dm schema snapshot"],
        "the files that were written";
    document SEED = "dm.seed/1", ["dm seed"],
        "the numbers of leads, clients, orders, expenses and profiles that were loaded";
    document SMOKE = "dm.smoke/1", ["dm smoke"],
        "the steps of each run, with times and failures";
    document STATUS = "dm.status/1", ["dm status", "dm up"],
        "state, addresses and uptime of each component";
    document TOKEN = "dm.token/1", ["dm token USER"],
        "an access token, its expiry and its user";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_ids_are_sorted_and_versioned() {
        assert!(ALL.is_sorted_by(|a, b| a.id.replace('/', "!") < b.id.replace('/', "!")));
        for schema in ALL {
            let (name, version) = schema.id.split_once('/').unwrap();
            assert!(name.starts_with("dm."), "{schema}");
            assert!(version.parse::<u32>().is_ok(), "{schema}");
        }
    }
}
