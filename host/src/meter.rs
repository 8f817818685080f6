//! The metrics of this process, where the settings have them served.

use crate::log_throttle::LogThrottle;
use roadstead_access::{Answer, Refusal};
use roadstead_config::{Cloud, Config, Service};
use roadstead_storage::StorageError;
use roadstead_telemetry::metrics::{
    About, Direction, InstanceEnd, Login, Metrics, Refused, StorageFailure, StorageOperation,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Counts what happens, if anybody is to see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Option<Arc<Metrics>>);

impl Meter {
    /// Metrics of a process that runs the component with this digest, if the settings have a debug
    /// address.
    pub(crate) fn new(
        config: &Config,
        commit: Option<&str>,
        component: &str,
    ) -> anyhow::Result<Self> {
        let Some(debug) = &config.debug else { return Ok(Self(None)) };
        let driver = match config.cloud.as_ref().map(|Cloud { service, .. }| service) {
            None => "filesystem",
            Some(Service::S3(_)) => "s3aws",
            Some(Service::Gcs(_)) => "gcs",
            Some(Service::Azure(_)) => "azure",
        };
        let about = About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit.unwrap_or("unknown").to_owned(),
            component: component.to_owned(),
            driver: driver.to_owned(),
            repositories: debug.repositories,
        };
        Ok(Self(Some(Metrics::new(&about)?)))
    }

    /// The metrics.
    pub(crate) fn metrics(&self) -> Option<&Arc<Metrics>> {
        self.0.as_ref()
    }

    /// Counts bytes of bodies as they pass.
    pub(crate) fn transferred(&self, direction: Direction, bytes: usize) {
        if let Some(metrics) = &self.0 {
            metrics.transferred(direction, bytes as u64);
        }
    }

    /// Counts an operation of the storage that began then.
    pub(crate) fn storage<T>(
        &self,
        operation: StorageOperation,
        began: Instant,
        outcome: &Result<T, StorageError>,
    ) {
        if let Some(metrics) = &self.0 {
            let failure = outcome.as_ref().err().and_then(StorageFailure::of);
            metrics.storage(operation, began.elapsed(), failure);
        }
    }

    /// Counts a request to an object store that began then.
    pub(crate) fn store_request(
        &self,
        operation: StorageOperation,
        began: Instant,
        status: Option<u16>,
    ) {
        if let Some(metrics) = &self.0 {
            let failure = match status {
                None | Some(503) => Some(StorageFailure::Unavailable),
                Some(500..) => Some(StorageFailure::Failed),
                Some(_) => None,
            };
            metrics.storage(operation, began.elapsed(), failure);
        }
    }

    /// Counts an instance that was started.
    pub(crate) fn instance_started(&self) {
        if let Some(metrics) = &self.0 {
            metrics.instance_started();
        }
    }

    /// Counts an instance that ended.
    pub(crate) fn instance_ended(&self, end: InstanceEnd) {
        if let Some(metrics) = &self.0 {
            metrics.instance_ended(end);
        }
    }

    /// Counts a request that has waited for its turn.
    pub(crate) fn waited(&self, time: Duration) {
        if let Some(metrics) = &self.0 {
            metrics.waited(time);
        }
    }

    /// Counts a request or a connection that is refused, as there are too many.
    pub(crate) fn refused(&self, cause: Refused) {
        if let Some(metrics) = &self.0 {
            metrics.refused(cause);
        }
    }

    /// The same of a request, and logs why, from time to time.
    pub(crate) fn busy(&self, cause: Refused, why: &str) {
        static WARNING: LogThrottle = LogThrottle::new();
        self.refused(cause);
        if WARNING.is_due() {
            tracing::warn!("refused a request: {why}");
        }
    }

    /// Counts the answer to a question about credentials.
    pub(crate) fn login(&self, answer: &Answer) {
        let Some(metrics) = &self.0 else { return };
        metrics.login(match answer {
            Answer::Caller(_) => Login::Accepted,
            // No credentials were sent.
            Answer::Issued(_) => return,
            Answer::Refused(refusal) => match refusal {
                Refusal::Credentials | Refusal::Token(_) | Refusal::UnknownKey => Login::Refused,
                Refusal::Pause(_) => Login::Paused,
                Refusal::Busy => Login::Busy,
                Refusal::Failed(_) => Login::Failed,
            },
        });
    }

    /// Counts abandoned uploads that were removed.
    pub(crate) fn uploads_purged(&self, sessions: u64) {
        if let Some(metrics) = &self.0 {
            metrics.uploads_purged(sessions);
        }
    }
}
