//! `health`.

use super::kinds::{Below, Flag, Number, Span};
use super::{Scope, Setting, State, table};
use std::time::Duration;

table! {
    HEALTH_TABLE:

    HEALTH_STORAGEDRIVER_ENABLED: Flag = Setting::new(
        "health.storagedriver.enabled",
        Scope::Host,
        Flag(true),
        "Whether the storage is checked from time to time. If not, `/readyz` is 200 until the process \
         shuts down.",
    )
    .differs("the default is `true`; pulls and pushes are never refused for a failed check");

    HEALTH_STORAGEDRIVER_INTERVAL: Span = Setting::new(
        "health.storagedriver.interval",
        Scope::Host,
        Span {
            default: Duration::from_secs(10),
            least: Duration::from_secs(1),
            most: Duration::from_hours(24),
        },
        "The time between two checks of the storage. Over a bucket, each is one request.",
    );

    HEALTH_STORAGEDRIVER_THRESHOLD: Number = Setting::new(
        "health.storagedriver.threshold",
        Scope::Host,
        Number { default: 3, least: 1, most: 1000, multiple_of: 1, unit: None },
        "How many checks in a row must fail until `/readyz` is 503; after the next one that succeeds it is \
         200 again.",
    );

    HEALTH: Below = Setting::unused(
        "health",
        State::IgnoredWithWarning("there are no health checks of files and other servers", |_| {
            false
        }),
        Below(&["file", "http", "tcp"]),
    );
}
