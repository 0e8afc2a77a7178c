//! The registry of all error codes of `dm`: the field `code` of the document `dm.error/1`.

use std::fmt;

use serde::{Serialize, Serializer};

/// Defines [`ErrorCode`]. The meaning of a code is written once, and becomes both its
/// documentation and [`ErrorCode::meaning`].
macro_rules! error_codes {
    ($($name:ident = $text:literal: $meaning:literal,)+) => {
        /// A stable name for a kind of error, for scripts and searches. Several errors may share
        /// one code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $name,)+
        }

        impl ErrorCode {
            /// Every code, in alphabetical order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the code as it is printed, e.g. `engine-not-found`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// Returns the meaning of the code, as one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)+
                }
            }
        }
    };
}

error_codes! {
    BackgroundStart = "background-start": "A background process of `dm` could not be started.",
    BackupAmbiguous = "backup-ambiguous": "The beginning of a backup id matches several backups.",
    BackupCommand = "backup-command":
        "A command that a backup or a restore ran in a container failed.",
    BackupDamaged = "backup-damaged": "A backup differs from its manifest.",
    BackupEncrypted = "backup-encrypted":
        "A backup is encrypted, and no available key decrypts it.",
    BackupFile = "backup-file": "A file of a backup could not be read or written.",
    BackupIdentity = "backup-identity": "A file contains no usable age identity.",
    BackupIncompatible = "backup-incompatible":
        "A backup has an unknown format, belongs to another instance, or is from a newer server.",
    BackupNotFound = "backup-not-found": "No backup matches the request.",
    BackupRecipient = "backup-recipient": "A text is not an age recipient.",
    BackupSource = "backup-source":
        "RabbitMQ, Keycloak or OpenLDAP could not be read or changed during a backup or a restore.",
    BenchComposeFailed = "bench-compose-failed":
        "A container of the docker-compose comparison exited or did not become healthy.",
    BenchRequest = "bench-request":
        "The request that `dm bench` hands to the benchmark program is missing or unreadable.",
    BenchResponse = "bench-response": "A request of a benchmark did not get the expected response.",
    BenchRunFailed = "bench-run-failed":
        "A measured command failed, so that its duration has no meaning.",
    BenchTimedOut = "bench-timed-out":
        "An expected effect did not appear within the time limit of a benchmark.",
    BinaryNotStatic = "binary-not-static":
        "The binary of a service is not statically linked and cannot run in its image.",
    BrokerCall = "broker-call": "RabbitMQ could not be reached, or an AMQP operation failed.",
    BundleWrite = "bundle-write": "The diagnostics bundle could not be written.",
    CacheAccess = "cache-access": "The cache directory could not be created or inspected.",
    CacheNoHome = "cache-no-home":
        "Neither `XDG_CACHE_HOME` nor `HOME` is set, so that the cache directory is unknown.",
    CacheShared = "cache-shared": "Other users can write to the cache directory.",
    CallFailed = "call-failed":
        "The gateway or a service behind it could not process a request, or did not respond.",
    CallInvalid = "call-invalid":
        "The path, the method, a header or the list of a call is not valid.",
    CallRefused = "call-refused": "The gateway refused a request.",
    ComponentFailed = "component-failed": "A component or a job of a run failed.",
    ComponentFile = "component-file":
        "A file or directory that configures a component could not be read, created or used.",
    ComponentHasNoPage = "component-has-no-page":
        "The component has no web page that can be opened.",
    ComponentNotRunning = "component-not-running": "The component is not running.",
    ComponentUnknown = "component-unknown": "No component has this name.",
    ConfigFileMissing = "config-file-missing":
        "A key names a file or directory that does not exist.",
    ConfigHeapTooLarge = "config-heap-too-large":
        "The Java heap of Keycloak does not fit into the memory of its container.",
    ConfigInvalid = "config-invalid": "The configuration has several problems.",
    ConfigInvalidValue = "config-invalid-value": "The value of a key is invalid.",
    ConfigMissingKey = "config-missing-key": "A key that another key requires is missing.",
    ConfigNoProject = "config-no-project": "No `dm.toml` was found.",
    ConfigNoSuchKey = "config-no-such-key": "The requested key does not exist.",
    ConfigPasswordInUrl = "config-password-in-url":
        "A URL of the configuration contains credentials, which builds would expose.",
    ConfigPortTwice = "config-port-twice": "Two keys have the same port.",
    ConfigSchemaTaken = "config-schema-taken": "The schema of a service belongs to another owner.",
    ConfigSchemaTwice = "config-schema-twice": "Two services have the same schema.",
    ConfigSyntax = "config-syntax": "A configuration file or value is not valid TOML.",
    ConfigUnknownKey = "config-unknown-key": "The configuration has a key that does not exist.",
    ConfigUnreadable = "config-unreadable": "A configuration file or variable could not be read.",
    ConfigWrongType = "config-wrong-type": "The value of a key has the wrong type.",
    ConfirmationNeeded = "confirmation-needed":
        "A confirmation is required, and there is no terminal to ask for it.",
    ConfirmationUnreadable = "confirmation-unreadable":
        "The answer to a question could not be read from the terminal.",
    ConsentDeclined = "consent-declined": "The user declined a change of the machine.",
    ConsentMissing = "consent-missing":
        "A change of the machine requires consent, and there is no terminal to ask for it.",
    ConsentRefused = "consent-refused": "The configuration forbids a change of the machine.",
    CopyNotRegularFile = "copy-not-regular-file":
        "Dead letters are removed only after a copy of them is in a regular file.",
    DatabaseLocked = "database-locked":
        "Another session holds a lock in PostgreSQL for longer than the command waits.",
    DatabaseQuery = "database-query":
        "PostgreSQL could not be reached, or an SQL statement failed.",
    DatabaseSetup = "database-setup":
        "The roles, schemas or tables of a restored database could not be set up.",
    DeadLetterFile = "dead-letter-file":
        "A file contains a line that is not a dead letter, or no dead letter at all.",
    DeadLetterNotFound = "dead-letter-not-found": "No dead letter has this id.",
    DeadLettersLocked = "dead-letters-locked":
        "Another `dm` process holds the lock of the dead letters.",
    DependencyCycle = "dependency-cycle": "Nodes of the stack depend on each other.",
    DependencyUnknown = "dependency-unknown":
        "A node of the stack depends on a node that does not exist.",
    DiskFull = "disk-full": "The disk does not have enough free space.",
    DownloadFailed = "download-failed": "A download failed.",
    EngineCall = "engine-call": "The container engine refused a call.",
    EngineNotFound = "engine-not-found": "No container engine answers on any known socket.",
    EngineSetup = "engine-setup": "Installing or starting a container engine failed.",
    EngineTooOld = "engine-too-old":
        "The API version of the container engine is older than the oldest supported one.",
    EngineUnreachable = "engine-unreachable": "The container engine stopped answering.",
    EventNotFound = "event-not-found": "No outbox contains this event.",
    ExtensionMissing = "extension-missing":
        "A backup requires extensions that the PostgreSQL server does not have.",
    FileAccess = "file-access": "A file could not be read or written.",
    FileWatch = "file-watch": "The files of the project could not be watched for changes.",
    ImageArchive = "image-archive": "A file of images could not be read or loaded.",
    ImageBuild = "image-build": "An image could not be built.",
    ImageMoved = "image-moved":
        "An image reference points to another image than when it was first used.",
    ImageNoBase = "image-no-base": "No Debian base image could be made on this machine.",
    ImageNotFound = "image-not-found": "The registry does not have the image.",
    ImageNotPublished = "image-not-published": "The image is not published in any registry.",
    ImageNothingToSave = "image-nothing-to-save": "There are no current images to save.",
    ImagePull = "image-pull": "An image could not be pulled for a reason that no other code names.",
    ImageRemoved = "image-removed": "An image was removed while a component needed it.",
    ImageUnknown = "image-unknown": "No image has this name.",
    InstanceExists = "instance-exists":
        "An instance that a CI job would remove in the end exists already.",
    InstanceName = "instance-name": "A text is not a valid instance name.",
    Interrupted = "interrupted": "The command was interrupted by a signal.",
    KeycloakProtocol = "keycloak-protocol":
        "Keycloak sent a response that does not follow the protocol.",
    KeycloakUnreachable = "keycloak-unreachable": "Keycloak does not answer.",
    LockFile = "lock-file": "A lock file could not be opened or locked.",
    Locked = "locked": "Another process holds a lock for longer than the command waits.",
    ManagementCall = "management-call":
        "The management API of RabbitMQ could not be reached or refused a request.",
    MigrationFailed = "migration-failed": "A migration could not be read or applied.",
    MigrationsUnreadable = "migrations-unreadable":
        "The directory of migrations or a file in it could not be read.",
    NetworkInUse = "network-in-use":
        "Containers that do not belong to the instance are connected to its network.",
    NotConfirmed = "not-confirmed": "A command that removes or replaces data was not confirmed.",
    OutputClosed = "output-closed": "The reader of stdout closed it.",
    OutputJson = "output-json": "A document could not be converted to JSON.",
    OutputWrite = "output-write": "Stdout could not be written.",
    OverridesVariable = "overrides-variable":
        "The variable that passes on the values of `--set` is not valid.",
    PackagesFailed = "packages-failed": "The package manager failed.",
    PackagesNeedRoot = "packages-need-root":
        "Installing packages requires root privileges that are not available.",
    PackagesProgramMissing = "packages-program-missing":
        "A package was installed and does not provide the expected program.",
    PackagesUnsupported = "packages-unsupported":
        "Programs are missing, and `dm` does not install packages on this system.",
    ParkedMessageNotFound = "parked-message-not-found": "No parked message has this id.",
    PolicyDropsMessages = "policy-drops-messages":
        "A new limit of a queue would drop messages that are in the queue.",
    PortExhausted = "port-exhausted": "There is no free port left.",
    PortReserved = "port-reserved": "A port is reserved for another instance.",
    PortTaken = "port-taken": "Another process listens on a port.",
    PortTwice = "port-twice": "Two components of one instance require the same port.",
    ProgramFailed = "program-failed": "A program that `dm` ran on this machine failed.",
    ProgramStart = "program-start": "A program could not be started on this machine.",
    QueueBrowse = "queue-browse": "The messages in the queues of RabbitMQ could not be listed.",
    QueueMessagesUnread = "queue-messages-unread":
        "Events that were not found may be among messages that could not be read.",
    QueueNeverEmpty = "queue-never-empty":
        "The queues do not become empty, because a program outside the stack publishes to them.",
    QueueStalled = "queue-stalled": "A queue stopped delivering before all its messages were read.",
    QueueUnknown = "queue-unknown": "No work queue has this name.",
    RecordedSchema = "recorded-schema":
        "The recorded tables of an image could not be loaded into their schema.",
    RegistryCredentials = "registry-credentials": "The registry refused the credentials.",
    RegistryRateLimit = "registry-rate-limit":
        "The registry refused the pull because of its rate limit.",
    RegistryTimeout = "registry-timeout": "The registry sent no data within the time limit.",
    RegistryTls = "registry-tls": "No trusted TLS connection to the registry could be established.",
    RegistryUnreachable = "registry-unreachable": "The registry could not be reached.",
    ReplayDigestMismatch = "replay-digest-mismatch":
        "The dead letters have changed since their digest was printed.",
    ReplayEditInvalid = "replay-edit-invalid": "An edited event is not valid.",
    ReplayEditNotOne = "replay-edit-not-one":
        "The filter of an edit does not match exactly one dead letter.",
    ReplayRunUnknown = "replay-run-unknown": "No replay run has this id.",
    ReportWrite = "report-write": "A report file could not be written.",
    ResetAmbiguous = "reset-ambiguous":
        "The target of a reset can be a number of orders or the beginning of a backup id.",
    RestoreCountMismatch = "restore-count-mismatch":
        "The restored tables do not have the row counts of the backup.",
    RestoreNothingToResume = "restore-nothing-to-resume": "There is no unfinished restore.",
    RestoreStateUnknown = "restore-state-unknown":
        "The connection was lost while the databases were swapped, so that the result is unknown.",
    RestoreUnfinished = "restore-unfinished": "A restore has not been completed.",
    ScenarioInvalid = "scenario-invalid": "A file is not a valid chaos scenario.",
    SchemaDump = "schema-dump": "The output of pg_dump could not be produced or read.",
    SchemaFile = "schema-file":
        "A file of a schema snapshot could not be read or written, or is not valid.",
    SchemaNoSnapshots = "schema-no-snapshots": "There are no schema snapshots.",
    SchemaNotRestorable = "schema-not-restorable":
        "A schema cannot be restored without the rest of the backup.",
    SchemaSource = "schema-source":
        "The topology of RabbitMQ or the realm of Keycloak could not be read.",
    SchemaUnknown = "schema-unknown": "No schema has this name.",
    SeedDemoIndivisible = "seed-demo-indivisible": "The demo data can only be loaded as a whole.",
    SeedExhausted = "seed-exhausted":
        "The stack already has every company of the seed file in every town.",
    SeedFile = "seed-file": "A file with seed data is missing, unreadable or invalid.",
    SeedFileChanged = "seed-file-changed": "The seed file has changed since the seed run began.",
    SeedNoReferenceData = "seed-no-reference-data":
        "The stack lacks the services, products or clients that orders refer to.",
    SeedNotEmpty = "seed-not-empty": "The stack already has data.",
    SeedNothingToResume = "seed-nothing-to-resume": "There is no unfinished seed run.",
    SeedRequest = "seed-request": "A service did not answer a request of the seed as expected.",
    SeedTimedOut = "seed-timed-out": "The effects of the seeded requests did not appear in time.",
    SeedUnfinished = "seed-unfinished": "An earlier seed run has not been completed.",
    SeedWorker = "seed-worker": "A worker of the seed failed.",
    ServiceUnknown = "service-unknown": "No service has this name.",
    SignInActionRequired = "sign-in-action-required":
        "Keycloak requires an action of the user before the sign-in.",
    SignInRefused = "sign-in-refused": "Keycloak refused the sign-in.",
    SourcesNotCompiling = "sources-not-compiling": "The sources of the project do not compile.",
    StateAccess = "state-access":
        "The state directory or a file in it could not be created, read or written.",
    StateDamaged = "state-damaged": "A state file is damaged.",
    StateNoHome = "state-no-home":
        "Neither `XDG_STATE_HOME` nor `HOME` is set, so that the state directory is unknown.",
    StateNotOurs = "state-not-ours": "The state directory belongs to another user.",
    TimedOut = "timed-out": "A component was not ready within the time limit.",
    ToolMissing = "tool-missing": "A required program is not installed.",
    Usage = "usage": "The command line is not valid.",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_unique() {
        let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        for pair in codes.windows(2) {
            assert!(pair[0] < pair[1], "{} is before {}", pair[0], pair[1]);
        }
        assert!(ErrorCode::ALL.is_sorted());
    }

    #[test]
    fn codes_are_kebab_case_of_their_variants() {
        for code in ErrorCode::ALL {
            let text = code.as_str();
            let words: Vec<&str> = text.split('-').collect();
            let is_word = |word: &&str| {
                !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())
            };
            assert!(words.iter().all(is_word), "{text}");
            let variant: String = words
                .iter()
                .map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]))
                .collect();
            assert_eq!(format!("{code:?}"), variant);
        }
    }

    #[test]
    fn meanings_are_one_sentence() {
        for code in ErrorCode::ALL {
            let meaning = code.meaning();
            assert!(meaning.ends_with('.'), "{code}: {meaning}");
            assert!(!meaning.contains(". "), "{code}: {meaning}");
            assert!(
                meaning.starts_with(|first: char| first.is_uppercase()),
                "{code}: {meaning}"
            );
        }
    }

    #[test]
    fn code_is_serialized_as_its_text() {
        let text = serde_json::to_string(&ErrorCode::EngineNotFound).unwrap();
        assert_eq!(text, "\"engine-not-found\"");
        assert_eq!(ErrorCode::EngineNotFound.to_string(), "engine-not-found");
    }
}
