//! Notifications, from the settings to a running outbox.

pub(crate) mod changes;
pub(crate) mod taken;

use crate::options::Options;
use crate::tls::roots;
use anyhow::{Context as _, bail};
use roadstead_directory::PRIVATE;
use roadstead_events::{Level, Notifications, Settings, Source};
use roadstead_telemetry::metrics::EndpointReading;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long the last events may take to be sent at shutdown. What is left is sent after the next
/// start.
///
/// Limit: time for the last notifications to be sent at shutdown; test: none, it would take as long.
pub(crate) const LAST_EVENTS: Duration = Duration::from_secs(5);

/// The outbox, below what a storage directory has of its own.
const OUTBOX: &str = "events";

/// Opens the outbox and begins to send, if the settings have endpoints. `address` is what the
/// registry listens on.
pub(crate) fn start(
    options: &Options,
    address: SocketAddr,
) -> anyhow::Result<Option<Arc<Notifications>>> {
    let config = &options.config.notifications;
    if config.endpoints.is_empty() {
        // What waits in an outbox may be another process's.
        return Ok(None);
    }
    let Some(directory) = directory(options) else {
        bail!(
            "notifications need a directory for events that wait: set \
             REGISTRY_NOTIFICATIONS_OUTBOX_PATH to one on a local disk"
        )
    };
    let settings = Settings::new(config, roots::trusted).map_err(anyhow::Error::msg)?;
    let port = address.port();
    let source = Source {
        addr: format!("{}:{port}", rustix::system::uname().nodename().to_string_lossy()),
        url: options.config.host.clone(),
    };
    let log = Arc::new(|level, line: &str| match level {
        Level::Error => tracing::error!("{line}"),
        Level::Warn => tracing::warn!("{line}"),
        Level::Info => tracing::info!("{line}"),
    });
    let notifications = Notifications::start(settings, &directory, source, log);
    let notifications = notifications.map_err(anyhow::Error::msg).context(
        "cannot notify others; REGISTRY_NOTIFICATIONS_OUTBOX_PATH can name another directory",
    )?;
    let names: Vec<&str> = config.endpoints.iter().map(|it| it.name.as_str()).collect();
    tracing::info!("events are sent to {}, out of {}", names.join(", "), directory.display());
    Ok(Some(Arc::new(notifications)))
}

fn directory(options: &Options) -> Option<PathBuf> {
    let config = &options.config;
    let is_here = config.cloud.is_none() && options.archives.is_empty();
    let own = || is_here.then(|| options.root.join(PRIVATE).join(OUTBOX));
    config.notifications.outbox.clone().or_else(own)
}

/// What a scrape has of the endpoints.
pub(crate) fn readings(notifications: Option<&Arc<Notifications>>) -> Vec<EndpointReading> {
    notifications.map(|notifications| notifications.metrics()).unwrap_or_default()
}
