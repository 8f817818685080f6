//! What operators watch a registry by: the debug address, and checks of the storage.

use crate::reader::Reader;
use crate::settings;
use std::time::Duration;

/// What is served apart from the registry, for operators.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Debugging {
    /// `host:port`.
    pub address: String,
    /// The path of metrics, if they are served.
    pub metrics: Option<String>,
    /// How many repositories have metrics of their own.
    pub repositories: usize,
}

/// How the storage is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HealthCheck {
    /// The time between two checks.
    pub interval: Duration,
    /// How many must fail in a row.
    pub threshold: u64,
}

impl Debugging {
    /// Reads `REGISTRY_HTTP_DEBUG_*`, with a warning where metrics are enabled and served nowhere, of
    /// which distribution says nothing.
    pub(crate) fn read(reader: &mut Reader<'_>) -> (Option<Self>, Option<String>) {
        let address = reader.read(&settings::HTTP_DEBUG_ADDR);
        let enabled = reader.read(&settings::HTTP_DEBUG_PROMETHEUS_ENABLED);
        let path = reader.read(&settings::HTTP_DEBUG_PROMETHEUS_PATH);
        let repositories = reader.read(&settings::HTTP_DEBUG_PROMETHEUS_REPOSITORIES);
        let Some(address) = address else {
            let enabled = enabled.then(|| {
                let enabled = reader.name(&settings::HTTP_DEBUG_PROMETHEUS_ENABLED.row);
                let address = reader.with(&settings::HTTP_DEBUG_ADDR.row, "127.0.0.1:5001");
                format!("{enabled} has no effect without an address, as in {address}")
            });
            return (None, enabled);
        };
        let metrics = enabled.then_some(path);
        let repositories = usize::try_from(repositories).unwrap_or_default();
        (Some(Self { address, metrics, repositories }), None)
    }
}

impl HealthCheck {
    /// Reads `REGISTRY_HEALTH_STORAGEDRIVER_*`.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let enabled = reader.read(&settings::HEALTH_STORAGEDRIVER_ENABLED);
        let check = Self {
            interval: reader.read(&settings::HEALTH_STORAGEDRIVER_INTERVAL),
            threshold: reader.read(&settings::HEALTH_STORAGEDRIVER_THRESHOLD),
        };
        enabled.then_some(check)
    }
}
