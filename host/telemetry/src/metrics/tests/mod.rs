//! All of it together: what a scrape has, and what the documentation says of it.

mod documentation;
mod scrape;

use super::{
    About, Answered, CacheReading, Cached, CollectionOutcome, CollectionRun, CollectionStage,
    Direction, EndpointReading, Handler, InstanceEnd, Login, Method, Metrics, Readings, Refused,
    RepositoryUse, Share, StorageFailure, StorageOperation,
};
use std::sync::Arc;
use std::time::Duration;

fn about() -> About {
    About {
        version: "1.2.3".to_owned(),
        commit: "0123abc".to_owned(),
        component: "sha256:00".to_owned(),
        driver: "filesystem".to_owned(),
        repositories: 2,
    }
}

fn metrics() -> Arc<Metrics> {
    Metrics::new(&about()).unwrap()
}

/// A pull of a manifest, from the cache.
fn pull() -> Answered {
    Answered {
        handler: Handler::Manifest,
        method: Method::Get,
        status: 200,
        time: Duration::from_millis(7),
        received: 0,
        sent: 1500,
        cache: Some(Cached::Hit),
    }
}

fn readings() -> Readings {
    Readings {
        ready: true,
        cache: CacheReading { entries: 11, bytes: 12, purges: 13 },
        turns: Share { used: 14, limit: 15 },
        waiting: 16,
        connections: Share { used: 17, limit: 18 },
        streams: Share { used: 19, limit: 20 },
        collection_interval: Some(Duration::from_millis(22_500)),
        log_lines_dropped: 23,
        endpoints: vec![alice()],
    }
}

fn alice() -> EndpointReading {
    EndpointReading {
        name: "alice".to_owned(),
        events: 1,
        successes: 1,
        statuses: [(200, 1)].into(),
        ..EndpointReading::default()
    }
}

fn text(metrics: &Metrics, readings: &Readings) -> String {
    String::from_utf8(metrics.render(readings).unwrap()).unwrap()
}

/// Metrics in which everything has happened once.
fn busy() -> Arc<Metrics> {
    let metrics = metrics();
    metrics.answered(&pull());
    metrics.transferred(Direction::Sent, 1500);
    metrics.storage(StorageOperation::Read, Duration::from_millis(1), Some(StorageFailure::Full));
    metrics.instance_started();
    metrics.instance_ended(InstanceEnd::Idle);
    metrics.waited(Duration::from_millis(1));
    metrics.refused(Refused::Turns);
    metrics.login(Login::Accepted);
    metrics.uploads_purged(1);
    metrics.collection_goes_on(Some(CollectionStage::Blobs));
    metrics.collection_ended(&CollectionRun {
        outcome: CollectionOutcome::Done,
        time: Duration::from_secs(90),
        removed: 2,
        freed: 4096,
    });
    metrics.repository("team/app", RepositoryUse { pulls: 1, ..RepositoryUse::default() });
    metrics
}
