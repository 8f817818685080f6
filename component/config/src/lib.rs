//! The settings of a registry.
//!
//! Names and meanings are those of the [distribution] registry: the variable
//! `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY` is the key
//! `storage.filesystem.rootdirectory` of a `config.yml`. Both forms become
//! variables here, so that every host of the component configures it alike:
//! by its environment.
//!
//! A name that nobody knows is an error that says which known name is
//! nearest. A name of distribution's that has no effect here is accepted if
//! what it asks for is so anyway, and refused if it is not.
//!
//! [distribution]: https://distribution.github.io/distribution/about/configuration/

mod auth;
mod cloud;
mod names;
mod reader;
#[cfg(test)]
mod tests;
mod tls;

pub use auth::MAX_TOKEN_EXPIRATION;
pub use cloud::{
    Azure, AzureCredentials, Cloud, ConditionalWrites, DEFAULT_PART_SIZE, Encryption, Gcs, GcsKey,
    MAX_PART_SIZE, S3, Service,
};
pub use names::{NAMES, Name, Use};
// What the settings are read into; its home is `roadstead_access`.
pub use roadstead_access::{
    Action, Auth, DEFAULT_REALM, DEFAULT_SERVICE, DEFAULT_TOKEN_EXPIRATION, External, Issuer, Oidc,
    Realm, Rules, Scheme, Secret, Subject, Users,
};
pub use tls::{Acme, Certificate, Tls, TlsVersion};

use ipnet::IpNet;
use reader::{Reader, boolean, duration};
use std::collections::BTreeMap;
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
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_mins(1);

/// How many requests are worked on at a time, where `REGISTRY_HTTP_MAXREQUESTS`
/// does not say otherwise.
pub const DEFAULT_MAX_REQUESTS: usize = 1024;

/// The most that `REGISTRY_HTTP_MAXREQUESTS` can say: as many as there are
/// connections.
pub const MAX_MAX_REQUESTS: usize = 4096;

/// The directory that a component without a native host serves, where
/// `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY` does not say otherwise:
/// distribution's.
pub const DEFAULT_ROOT: &str = "/var/lib/registry";

/// The settings of a registry, all valid.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting that someone turns on or off")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `REGISTRY_HTTP_ADDR`: `host:port`, or `:port` for all addresses.
    pub address: String,
    /// `REGISTRY_HTTP_DRAINTIMEOUT`.
    pub drain_timeout: Duration,
    /// `REGISTRY_HTTP_MAXREQUESTS`: how many requests are worked on at a time,
    /// bodies of pushes included. At least one.
    pub max_requests: usize,
    /// `REGISTRY_HTTP_HOST`: the URL at which clients reach the registry, where
    /// it cannot be told from their requests.
    pub host: Option<String>,
    /// `REGISTRY_HTTP_TRUSTEDPROXIES`: whose word for a client's address and
    /// scheme is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// `REGISTRY_HTTP_TLS_*`.
    pub tls: Option<Tls>,
    /// `REGISTRY_AUTH*`.
    pub auth: Auth,
    /// `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`.
    pub root: Option<PathBuf>,
    /// `REGISTRY_STORAGE_S3_*`, `_GCS_*` or `_AZURE_*`: the object store that
    /// holds the data, in place of a directory.
    pub cloud: Option<Cloud>,
    /// `REGISTRY_STORAGE_REDIRECT_DISABLE`, negated: an object store's own
    /// bytes are fetched from it, by URLs that are good for a while.
    pub redirect: bool,
    /// `REGISTRY_STORAGE_DELETE_ENABLED`: manifests, tags and blobs can be
    /// deleted. Off by default, as in distribution.
    pub delete_enabled: bool,
    /// `REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED`: nothing can be changed.
    pub read_only: bool,
    /// `REGISTRY_VALIDATION_MANIFESTS_SPARSE`: image manifests may name blobs
    /// that the repository does not hold.
    pub sparse_images: bool,
    /// `REGISTRY_HTTP_WARNING`: a notice that every response carries.
    pub warning: Option<String>,
    /// `REGISTRY_STORAGE_HOST_AUTHORITY`: the authority at which a native host
    /// answers storage operations. The native host sets it; it is trusted
    /// because whoever configures the component says so.
    pub host_authority: Option<String>,
    /// `REGISTRY_STORAGE_HOST_HASHING`: the authority at which a native host
    /// hashes what goes to an object store. The native host sets it.
    pub host_hashing: Option<String>,
    /// `REGISTRY_LOG_LEVEL`.
    pub log_level: LogLevel,
    /// `REGISTRY_LOG_FORMATTER`.
    pub log_format: LogFormat,
    /// `REGISTRY_LOG_ACCESSLOG_DISABLED`, negated.
    pub access_log: bool,
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
    /// For people. The default.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads the settings among `variables`; names that do not start with
    /// [`PREFIX`] are someone else's.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut settings = BTreeMap::new();
        for (name, value) in variables {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            if names::set_by_kubernetes(key) {
                continue;
            }
            match names::find(key) {
                Some(Name { used: Use::Setting, .. }) => {
                    settings.insert(key.to_owned(), value);
                }
                Some(Name { used: Use::NoEffect, .. }) => {}
                Some(Name { used: Use::Unsupported(instead), .. }) => {
                    problems.push(format!("{name} is not supported: {instead}"));
                }
                None => problems.push(format!(
                    "{name} is not a setting; did you mean {PREFIX}{}?",
                    names::nearest(key)
                )),
            }
        }
        let mut reader = Reader { settings, problems };
        let config = Self {
            address: reader.read("HTTP_ADDR", DEFAULT_ADDRESS.to_owned(), address),
            drain_timeout: reader.read("HTTP_DRAINTIMEOUT", DEFAULT_DRAIN_TIMEOUT, duration),
            max_requests: reader.read("HTTP_MAXREQUESTS", DEFAULT_MAX_REQUESTS, |value| {
                let number = value.parse().ok();
                number
                    .filter(|number| (1..=MAX_MAX_REQUESTS).contains(number))
                    .ok_or("must be a number from 1 to 4096")
            }),
            host: reader.read("HTTP_HOST", None, host),
            trusted_proxies: trusted_proxies(&mut reader),
            tls: Tls::read(&mut reader),
            auth: auth::read(&mut reader),
            root: reader.read("STORAGE_FILESYSTEM_ROOTDIRECTORY", None, |value| {
                (!value.is_empty())
                    .then(|| Some(PathBuf::from(value)))
                    .ok_or("must name a directory")
            }),
            cloud: Cloud::read(&mut reader),
            redirect: !reader.read("STORAGE_REDIRECT_DISABLE", false, boolean),
            delete_enabled: reader.read("STORAGE_DELETE_ENABLED", false, boolean),
            read_only: reader.read("STORAGE_MAINTENANCE_READONLY_ENABLED", false, boolean),
            sparse_images: reader.read("VALIDATION_MANIFESTS_SPARSE", false, boolean),
            warning: reader.read("HTTP_WARNING", None, |value| match value {
                "" => Ok(None),
                _ => warning(value).map(Some),
            }),
            host_authority: reader.text("STORAGE_HOST_AUTHORITY"),
            host_hashing: reader.text("STORAGE_HOST_HASHING"),
            log_level: reader.read("LOG_LEVEL", LogLevel::Info, |value| match value {
                "error" => Ok(LogLevel::Error),
                "warn" | "warning" => Ok(LogLevel::Warn),
                "info" => Ok(LogLevel::Info),
                "debug" | "trace" => Ok(LogLevel::Debug),
                _ => Err("must be error, warn, info or debug"),
            }),
            log_format: reader.read("LOG_FORMATTER", LogFormat::Text, |value| match value {
                "text" => Ok(LogFormat::Text),
                "json" | "logstash" => Ok(LogFormat::Json),
                _ => Err("must be text or json"),
            }),
            access_log: !reader.read("LOG_ACCESSLOG_DISABLED", false, boolean),
        };
        if reader.problems.is_empty() { Ok(config) } else { Err(ConfigError(reader.problems)) }
    }
}

fn address(value: &str) -> Result<String, &'static str> {
    const RULE: &str = "must be host:port, or :port for all addresses, as in 127.0.0.1:5000";
    let (host, port) = value.rsplit_once(':').ok_or(RULE)?;
    port.parse::<u16>().map_err(|_| RULE)?;
    Ok(if host.is_empty() { format!("[::]:{port}") } else { value.to_owned() })
}

/// Whose word is taken for a client's address: addresses and networks.
fn trusted_proxies(reader: &mut Reader) -> Vec<IpNet> {
    let mut proxies = Vec::new();
    for text in reader.list("HTTP_TRUSTEDPROXIES") {
        match text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) => proxies.push(network),
            Err(_) => reader.problem(format!(
                "REGISTRY_HTTP_TRUSTEDPROXIES: {text:?} is no address and no network; these are: \
                 192.0.2.7, 10.0.0.0/8, fd00::/8"
            )),
        }
    }
    proxies
}

/// `https://registry.example`, without a path.
fn host(value: &str) -> Result<Option<String>, &'static str> {
    if value.is_empty() {
        return Ok(None);
    }
    let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    let name = rest.unwrap_or_default().trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err("must be a URL without a path, as in https://registry.example:5000");
    }
    Ok(Some(value.trim_end_matches('/').to_owned()))
}

/// Text of a `Warning` header: what needs no escape within quotes.
fn warning(value: &str) -> Result<String, &'static str> {
    const LIMIT: usize = 1024;
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if value.len() <= LIMIT && value.bytes().all(plain) {
        Ok(value.to_owned())
    } else {
        Err("must be at most 1024 ASCII characters without quotes and backslashes")
    }
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
