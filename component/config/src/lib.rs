//! The settings of a registry.
//!
//! Names and meanings are those of the [distribution] registry: the variable
//! `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY` is the key
//! `storage.filesystem.rootdirectory` of a `config.yml`. [`Settings`] takes
//! both; the component finds variables in its environment.
//!
//! Every setting is a row of one table (`settings`), which knows all names of
//! distribution's as well. An unknown name is an error that suggests a known
//! one. A name of distribution's that has no effect here is accepted if what
//! it asks for happens anyway, and refused if it does not.
//!
//! [distribution]: https://distribution.github.io/distribution/about/configuration/

mod auth;
mod cloud;
mod exposed;
mod gathered;
mod given;
pub mod manual;
mod nearest;
mod notifications;
mod operating;
mod policy;
mod reader;
pub mod report;
mod secrets;
mod settings;
#[cfg(test)]
mod tests;
mod tls;

pub use cloud::{
    Azure, AzureCredentials, Cloud, ConditionalWrites, Encryption, Gcs, GcsKey, S3, S3Key, Service,
};
pub use exposed::Page;
pub use gathered::Settings;
pub use given::{Given, Step};
pub use notifications::{EventFormat, NotificationEndpoint, Notifications, StoredEvents};
pub use operating::{Debugging, HealthCheck};
pub use settings::{Row, Scope, State, rows};
pub use tls::{Acme, Certificate, Tls, TlsVersion};

use ipnet::IpNet;
use reader::Reader;
use roadstead_access::{Auth, Immutable, Quotas, Retention};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What all settings start with.
pub const PREFIX: &str = "REGISTRY_";

/// The address served where `REGISTRY_HTTP_ADDR` does not say otherwise: the
/// port of every guide, reachable from this machine only.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:5000";

/// How long requests in flight may take to end at shutdown, where
/// `REGISTRY_HTTP_DRAINTIMEOUT` does not say otherwise.
///
/// Limit: time for requests in flight after SIGTERM; test:
/// `the_drain_timeout_ends_the_rest`; setting: `REGISTRY_HTTP_DRAINTIMEOUT`.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_mins(1);

/// Requests handled at a time, where `REGISTRY_HTTP_MAXREQUESTS` does not say
/// otherwise.
///
/// Limit: requests in flight, by default; test: `more_requests_than_there_are_turns`;
/// setting: `REGISTRY_HTTP_MAXREQUESTS`.
pub const DEFAULT_MAX_REQUESTS: usize = 1024;

/// The most that `REGISTRY_HTTP_MAXREQUESTS` can say: as many as there are
/// connections.
///
/// Limit: requests in flight, at most; test:
/// `mistakes_have_the_names_that_were_written`; setting: `REGISTRY_HTTP_MAXREQUESTS`.
pub const MAX_MAX_REQUESTS: usize = 4096;

/// Requests of one client handled at a time, where
/// `REGISTRY_HTTP_MAXREQUESTSPERCLIENT` does not say otherwise: a quarter of all.
///
/// Limit: requests of one client in flight; test: `one_client_cannot_have_all_turns`; setting: `REGISTRY_HTTP_MAXREQUESTSPERCLIENT`.
pub const DEFAULT_MAX_REQUESTS_PER_CLIENT: usize = 256;

/// Open connections, where `REGISTRY_HTTP_MAXCONNECTIONS` does not say otherwise.
///
/// Limit: open connections; test: `the_idlest_connection_makes_room`; setting: `REGISTRY_HTTP_MAXCONNECTIONS`.
pub const DEFAULT_MAX_CONNECTIONS: usize = 4096;

/// The most that `REGISTRY_HTTP_MAXCONNECTIONS` can say.
///
/// Limit: open connections, at most; test: `mistakes_have_the_names_that_were_written`; setting:
/// `REGISTRY_HTTP_MAXCONNECTIONS`.
pub const MAX_MAX_CONNECTIONS: usize = 65_536;

/// Open connections of one client, where `REGISTRY_HTTP_MAXCONNECTIONSPERCLIENT`
/// does not say otherwise: a quarter of all.
///
/// Limit: open connections of one client; test: `connections_of_one_client_leave_room`; setting: `REGISTRY_HTTP_MAXCONNECTIONSPERCLIENT`.
pub const DEFAULT_MAX_CONNECTIONS_PER_CLIENT: usize = 1024;

/// How long a client may stall within a body, where `REGISTRY_HTTP_STALLTIMEOUT`
/// does not say otherwise.
///
/// Limit: stall of a client that sends or receives a body; test: `tiny_windows_are_bounded_and_closed`; setting: `REGISTRY_HTTP_STALLTIMEOUT`.
pub const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// The directory that a component without a native host serves, where
/// `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY` does not say otherwise:
/// distribution's.
pub const DEFAULT_ROOT: &str = "/var/lib/registry";

/// How long nothing must have been added to an upload for it to be abandoned,
/// where `REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE` does not say otherwise.
///
/// Limit: age of abandoned uploads before they are removed; test:
/// `abandoned_uploads_are_purged`; setting:
/// `REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE`.
pub const DEFAULT_PURGE_AGE: Duration = Duration::from_hours(168);

/// How often abandoned uploads are removed, where
/// `REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_INTERVAL` does not say otherwise.
///
/// Limit: time between two purges of abandoned uploads; test: `uploads_are_purged_for_as_long_as_the_process_lives`; setting: `REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_INTERVAL`.
pub const DEFAULT_PURGE_INTERVAL: Duration = Duration::from_hours(24);

/// How long after the beginning of a run of garbage collection the next one begins,
/// where `REGISTRY_STORAGE_MAINTENANCE_GC_INTERVAL` does not say otherwise.
///
/// Limit: time between two runs of garbage collection; test: `the_settings_and_what_the_host_says`; setting: `REGISTRY_STORAGE_MAINTENANCE_GC_INTERVAL`.
pub const DEFAULT_GC_INTERVAL: Duration = Duration::from_hours(24);

/// How long a client may rely on an answer, where
/// `REGISTRY_STORAGE_MAINTENANCE_GC_GRACE` does not say otherwise.
///
/// Limit: time for which a client may rely on an answer, by default; test: `the_settings_and_what_the_host_says`; setting: `REGISTRY_STORAGE_MAINTENANCE_GC_GRACE`.
pub const DEFAULT_GC_GRACE: Duration = Duration::from_hours(24);

/// The shortest that `REGISTRY_STORAGE_MAINTENANCE_GC_GRACE` can say: a push of a
/// large image may take as long.
///
/// Limit: time for which a client may rely on an answer, at least; test: `waits_of_collection_have_a_least_value`; setting: `REGISTRY_STORAGE_MAINTENANCE_GC_GRACE`.
pub const LEAST_GC_GRACE: Duration = Duration::from_hours(1);

/// How long condemned content is kept, where
/// `REGISTRY_STORAGE_MAINTENANCE_GC_KEEP` does not say otherwise.
///
/// Limit: time for which condemned content is kept; test: `the_settings_and_what_the_host_says`; setting: `REGISTRY_STORAGE_MAINTENANCE_GC_KEEP`.
pub const DEFAULT_GC_KEEP: Duration = Duration::from_hours(168);

/// Operations of the storage that a run of garbage collection takes in a second,
/// where `REGISTRY_STORAGE_MAINTENANCE_GC_RATE` does not say otherwise.
///
/// Limit: operations of garbage collection in a second; test: `the_settings_and_what_the_host_says`; setting: `REGISTRY_STORAGE_MAINTENANCE_GC_RATE`.
pub const DEFAULT_GC_RATE: u64 = 50;

/// The most that `REGISTRY_STORAGE_MAINTENANCE_GC_RATE` can say.
///
/// Limit: operations of garbage collection in a second, at most; test: `waits_of_collection_have_a_least_value`; setting: `REGISTRY_STORAGE_MAINTENANCE_GC_RATE`.
pub const MAX_GC_RATE: u64 = 100_000;

/// The longest that `REGISTRY_AUTH_TOKEN_EXPIRATION` can say: tokens cannot be
/// revoked.
///
/// Limit: longest lifetime of an issued token; test: `mistakes`; setting:
/// `REGISTRY_AUTH_TOKEN_EXPIRATION`.
pub const MAX_TOKEN_EXPIRATION: Duration = Duration::from_hours(1);

/// The shortest that `REGISTRY_AUTH_TOKEN_EXPIRATION` can say: clients take
/// less than a minute for a minute.
///
/// Limit: shortest lifetime of an issued token; test: `mistakes`; setting:
/// `REGISTRY_AUTH_TOKEN_EXPIRATION`.
pub const MIN_TOKEN_EXPIRATION: Duration = Duration::from_mins(1);

/// Bytes of a part of an upload to an object store, where `_CHUNKSIZE` does not
/// say otherwise: distribution's 10 MiB.
pub const DEFAULT_PART_SIZE: u64 = 10 * 1024 * 1024;

/// The most that `_CHUNKSIZE` can say, in bytes. A part is in the component's
/// memory while it is sent.
///
/// Limit: bytes of a part of an upload, at most; test: `mistakes`; setting:
/// `REGISTRY_STORAGE_S3_CHUNKSIZE`, `REGISTRY_STORAGE_GCS_CHUNKSIZE`,
/// `REGISTRY_STORAGE_AZURE_CHUNKSIZE`.
pub const MAX_PART_SIZE: u64 = 32 * 1024 * 1024;

/// The settings of a registry, all valid.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting that someone turns on or off")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `REGISTRY_HTTP_ADDR`: `host:port`, or `:port` for all addresses.
    pub address: String,
    /// `REGISTRY_HTTP_DRAINTIMEOUT`.
    pub drain_timeout: Duration,
    /// `REGISTRY_HTTP_DRAINDELAY`: how long connections are accepted after the signal.
    pub drain_delay: Duration,
    /// `REGISTRY_HTTP_DEBUG_*`: where metrics are served, if they are.
    pub debug: Option<Debugging>,
    /// `REGISTRY_HEALTH_STORAGEDRIVER_*`: how the storage is checked, if it is.
    pub health: Option<HealthCheck>,
    /// `REGISTRY_HTTP_MAXREQUESTS`: requests handled at a time, request bodies
    /// included. At least one.
    pub max_requests: usize,
    /// `REGISTRY_HTTP_MAXREQUESTSPERCLIENT`: those of one client.
    pub max_requests_per_client: usize,
    /// `REGISTRY_HTTP_MAXCONNECTIONS`: open connections.
    pub max_connections: usize,
    /// `REGISTRY_HTTP_MAXCONNECTIONSPERCLIENT`: those of one client.
    pub max_connections_per_client: usize,
    /// `REGISTRY_HTTP_STALLTIMEOUT`: how long a client may stall within a body.
    pub stall_timeout: Duration,
    /// `REGISTRY_HTTP_HOST`: the URL at which clients reach the registry, where
    /// it cannot be derived from their requests.
    pub host: Option<String>,
    /// `REGISTRY_HTTP_TRUSTEDPROXIES`: proxies whose forwarding headers are
    /// trusted for a client's address and scheme.
    pub trusted_proxies: Vec<IpNet>,
    /// `REGISTRY_HTTP_TLS_*`.
    pub tls: Option<Tls>,
    /// `REGISTRY_AUTH*`.
    pub auth: Auth,
    /// `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`.
    pub root: Option<PathBuf>,
    /// `REGISTRY_STORAGE_FILESYSTEM_JOURNAL`: small changes of the directory become durable
    /// by a journal.
    pub journal: bool,
    /// `REGISTRY_STORAGE_S3_*`, `_GCS_*` or `_AZURE_*`: the object store that
    /// holds the data, in place of a directory.
    pub cloud: Option<Cloud>,
    /// `REGISTRY_STORAGE_REDIRECT_DISABLE`, negated: clients are redirected to
    /// the object store, by presigned URLs.
    pub redirect: bool,
    /// `REGISTRY_STORAGE_DELETE_ENABLED`: manifests, tags and blobs can be
    /// deleted. Off by default, as in distribution.
    pub delete_enabled: bool,
    /// `REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED`: nothing can be changed.
    pub read_only: bool,
    /// `REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_*`: which uploads are removed
    /// from storage, if any.
    pub upload_purging: Option<UploadPurging>,
    /// `REGISTRY_STORAGE_MAINTENANCE_GC_*`: how garbage is collected, if it is.
    pub collection: Option<Collection>,
    /// `REGISTRY_POLICY_IMMUTABLE`: the tags that never change.
    pub immutable: Immutable,
    /// `REGISTRY_NOTIFICATIONS_*`: what is sent of events, and where.
    pub notifications: Notifications,
    /// `REGISTRY_POLICY_QUOTAS`: how much repositories may hold.
    pub quotas: Quotas,
    /// `REGISTRY_POLICY_RETENTION_*`: the tags that expire.
    pub retention: Retention,
    /// `REGISTRY_VALIDATION_MANIFESTS_SPARSE`: image manifests may name blobs
    /// that the repository does not hold.
    pub sparse_images: bool,
    /// `REGISTRY_HTTP_WARNING`: a notice that every response carries.
    pub warning: Option<String>,
    /// `REGISTRY_UI_ENABLED`: to whom the page is served, where that is said.
    pub page: Option<Page>,
    /// `REGISTRY_LOG_LEVEL`.
    pub log_level: LogLevel,
    /// `REGISTRY_LOG_FORMATTER`.
    pub log_format: LogFormat,
    /// `REGISTRY_LOG_ACCESSLOG_DISABLED`, negated.
    pub access_log: bool,
    /// `REGISTRY_LOG_ACCESSLOG_FORMATTER`.
    pub access_format: AccessFormat,
    /// What someone may want to know who gave these settings, a line each:
    /// names that have no effect.
    pub warnings: Vec<String>,
}

/// Which upload sessions are removed from storage, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UploadPurging {
    /// Those to which nothing was added for this long.
    pub age: Duration,
    /// How long to wait between two purges.
    pub interval: Duration,
    /// They are only logged, and stay.
    pub dry_run: bool,
}

/// How garbage is collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Collection {
    /// How long after the beginning of a run the next one begins.
    pub interval: Duration,
    /// How long a client may rely on an answer.
    pub grace: Duration,
    /// How long condemned content is kept.
    pub keep: Duration,
    /// How old a manifest to which nothing leads is when it is deleted, if it is at all.
    pub untagged: Option<Duration>,
    /// Operations of the storage in a second.
    pub rate: u32,
}

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what may need attention.
    Warn,
    /// And what happens, requests included. The default.
    Info,
    /// And what helps to find a defect.
    Debug,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// Text on a terminal, and JSON elsewhere. The default.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How the lines of requests look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessFormat {
    /// As all others. The default.
    Same,
    /// Apache's Combined Log Format.
    Combined,
}

impl Config {
    /// Reads the settings among `variables`. Names that do not start with
    /// [`PREFIX`] are not the registry's.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let given = variables.into_iter().map(|(name, value)| Given::variable(name, value));
        Self::read(&Settings::gather(given))
    }

    fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let (config, problems) = Self::read_all(settings);
        if problems.is_empty() { Ok(config) } else { Err(ConfigError(problems)) }
    }

    /// The settings as far as they can be read, and all that is wrong with them.
    fn read_all(settings: &Settings) -> (Self, Vec<String>) {
        let mut reader = Reader::new(settings);
        let delete_enabled = reader.read(&settings::STORAGE_DELETE_ENABLED);
        let (debug, no_metrics) = Debugging::read(&mut reader);
        let mut config = Self {
            address: reader.read(&settings::HTTP_ADDR),
            drain_timeout: reader.read(&settings::HTTP_DRAINTIMEOUT),
            drain_delay: reader.read(&settings::HTTP_DRAINDELAY),
            debug,
            health: HealthCheck::read(&mut reader),
            max_requests: usize::try_from(reader.read(&settings::HTTP_MAXREQUESTS))
                .unwrap_or(MAX_MAX_REQUESTS),
            max_requests_per_client: usize::try_from(
                reader.read(&settings::HTTP_MAXREQUESTSPERCLIENT),
            )
            .unwrap_or(MAX_MAX_REQUESTS),
            max_connections: usize::try_from(reader.read(&settings::HTTP_MAXCONNECTIONS))
                .unwrap_or(MAX_MAX_CONNECTIONS),
            max_connections_per_client: usize::try_from(
                reader.read(&settings::HTTP_MAXCONNECTIONSPERCLIENT),
            )
            .unwrap_or(MAX_MAX_CONNECTIONS),
            stall_timeout: reader.read(&settings::HTTP_STALLTIMEOUT),
            host: reader.read(&settings::HTTP_HOST),
            trusted_proxies: trusted_proxies(&mut reader),
            tls: Tls::read(&mut reader),
            auth: auth::read(&mut reader),
            root: reader.read(&settings::STORAGE_FILESYSTEM_ROOTDIRECTORY),
            journal: reader.read(&settings::STORAGE_FILESYSTEM_JOURNAL),
            cloud: Cloud::read(&mut reader),
            redirect: !reader.read(&settings::STORAGE_REDIRECT_DISABLE),
            delete_enabled,
            read_only: reader.read(&settings::STORAGE_MAINTENANCE_READONLY_ENABLED),
            upload_purging: upload_purging(&mut reader),
            collection: collection(&mut reader, delete_enabled),
            immutable: policy::immutable(&mut reader),
            notifications: Notifications::read(&mut reader),
            quotas: policy::quotas(&mut reader),
            retention: policy::retention(&mut reader),
            sparse_images: reader.read(&settings::VALIDATION_MANIFESTS_SPARSE),
            warning: reader.read(&settings::HTTP_WARNING),
            page: reader.read(&settings::UI_ENABLED),
            log_level: reader.read(&settings::LOG_LEVEL),
            log_format: reader.read(&settings::LOG_FORMATTER),
            access_log: !reader.read(&settings::LOG_ACCESSLOG_DISABLED),
            access_format: reader.read(&settings::LOG_ACCESSLOG_FORMATTER),
            warnings: settings.warnings(),
        };
        let certificates = config.tls.as_ref().is_some_and(|tls| !tls.client_cas.is_empty());
        config.warnings.extend(auth::warnings(&reader, &config.auth, certificates));
        config.warnings.extend(no_metrics);
        let collects = config.collection.is_some();
        config.warnings.extend(policy::warning(&reader, &config.retention, collects));
        (config, reader.problems)
    }
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn config(&self) -> Result<Config, ConfigError> {
        Config::read(self)
    }
}

fn upload_purging(reader: &mut Reader<'_>) -> Option<UploadPurging> {
    let enabled = reader.read(&settings::STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED);
    let purging = UploadPurging {
        age: reader.read(&settings::STORAGE_MAINTENANCE_UPLOADPURGING_AGE),
        interval: reader.read(&settings::STORAGE_MAINTENANCE_UPLOADPURGING_INTERVAL),
        dry_run: reader.read(&settings::STORAGE_MAINTENANCE_UPLOADPURGING_DRYRUN),
    };
    enabled.then_some(purging)
}

fn collection(reader: &mut Reader<'_>, deletes: bool) -> Option<Collection> {
    let wanted = reader.read(&settings::STORAGE_MAINTENANCE_GC_ENABLED);
    let collection = Collection {
        interval: reader.read(&settings::STORAGE_MAINTENANCE_GC_INTERVAL),
        grace: reader.read(&settings::STORAGE_MAINTENANCE_GC_GRACE),
        keep: reader.read(&settings::STORAGE_MAINTENANCE_GC_KEEP),
        untagged: reader.read(&settings::STORAGE_MAINTENANCE_GC_DELETEUNTAGGED),
        rate: u32::try_from(reader.read(&settings::STORAGE_MAINTENANCE_GC_RATE))
            .unwrap_or(u32::MAX),
    };
    if collection.keep < collection.grace * 2 {
        let keep = reader.name(&settings::STORAGE_MAINTENANCE_GC_KEEP.row);
        let grace = reader.name(&settings::STORAGE_MAINTENANCE_GC_GRACE.row);
        reader.problem(format!(
            "{keep} must be at least twice {grace}, which is {}",
            settings::written(collection.grace)
        ));
    }
    if wanted == Some(true) && !deletes {
        let gc = reader.name(&settings::STORAGE_MAINTENANCE_GC_ENABLED.row);
        let delete = reader.with(&settings::STORAGE_DELETE_ENABLED.row, "true");
        reader.problem(format!("{gc} needs {delete} too: collection deletes content"));
    }
    wanted.unwrap_or(deletes).then_some(collection)
}

/// The proxies whose forwarding headers are trusted.
fn trusted_proxies(reader: &mut Reader<'_>) -> Vec<IpNet> {
    let mut proxies = Vec::new();
    for text in reader.list(&settings::HTTP_TRUSTEDPROXIES) {
        if let Ok(network) = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            proxies.push(network);
        } else {
            let name = reader.name(&settings::HTTP_TRUSTEDPROXIES.row);
            let text = secrets::shown(&settings::HTTP_TRUSTEDPROXIES.row, &text);
            reader.problem(format!(
                "{name}: {text:?} is not an address or network, as in 192.0.2.7, 10.0.0.0/8 or \
                 fd00::/8"
            ));
        }
    }
    proxies
}

/// All that is wrong with the settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}
