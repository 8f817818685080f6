//! The configuration of an image: how its program is started.

use crate::layer::Layer;
use crate::{Description, Platform, USER};
use serde_json::{Value, json};

/// Nanoseconds of a second, the unit of times in a health check.
const SECOND: u64 = 1_000_000_000;

/// The configuration (image-spec, config.md). `Healthcheck` is Docker's extension.
pub(crate) fn of(
    platform: Platform,
    layer: &Layer,
    description: &Description,
) -> anyhow::Result<Value> {
    let created = description.time()?;
    Ok(json!({
        "architecture": platform.architecture(),
        "os": "linux",
        "created": created,
        "config": {
            "User": format!("{USER}:{USER}"),
            "Env": [
                "PATH=/bin",
                // Whether a network lies between clients and this port, only the user
                // knows: guides publish it to the own machine, and proxies terminate TLS.
                "REGISTRY_AUTH_PLAINHTTP=true",
            ],
            // It finds the configuration file, and takes the arguments of
            // distribution's images.
            "Entrypoint": ["/bin/registry"],
            "WorkingDir": "/",
            "ExposedPorts": { "5000/tcp": {} },
            "Volumes": { "/var/lib/registry": {} },
            "StopSignal": "SIGTERM",
            "Healthcheck": {
                "Test": ["CMD", "/bin/registry", "health"],
                "Interval": 30 * SECOND,
                "Timeout": 10 * SECOND,
                "StartPeriod": 10 * SECOND,
                "Retries": 3,
            },
            "Labels": description.labels()?,
        },
        "rootfs": { "type": "layers", "diff_ids": [layer.uncompressed.as_str()] },
        "history": [{ "created": created, "created_by": "roadstead-image", "comment": "the registry" }],
    }))
}
