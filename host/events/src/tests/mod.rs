//! Tests of the whole: events that are published reach receivers.

mod crashes;
mod delivery;
mod envelope;
mod full;
mod publishing;
mod receiver;
mod settings;
mod trouble;

use crate::{Action, Event, Level, Log, Notifications, Request, Settings, Source, Target};
use roadstead_config::{EventFormat, NotificationEndpoint, Notifications as Config};
use rustls::RootCertStore;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything in a test takes, unless it hangs.
pub(crate) const LONG: Duration = Duration::from_mins(2);

/// An endpoint with short pauses.
pub(crate) fn endpoint(name: &str, url: &str) -> NotificationEndpoint {
    NotificationEndpoint {
        name: name.to_owned(),
        url: url.to_owned(),
        format: EventFormat::Distribution,
        headers: Vec::new(),
        secret: None,
        root_cas: None,
        timeout: LONG,
        threshold: 3,
        backoff: Duration::from_millis(2),
        ignored_media_types: Vec::new(),
        ignored_actions: Vec::new(),
    }
}

pub(crate) fn settings(endpoints: Vec<NotificationEndpoint>, outbox_limit: u64) -> Settings {
    let config = Config { endpoints, include_references: true, outbox_limit, ..Config::default() };
    Settings::new(&config, RootCertStore::empty).unwrap()
}

/// Lines of the log.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

impl Lines {
    pub(crate) fn log(&self) -> Log {
        let lines = Arc::clone(&self.0);
        Arc::new(move |level, text| lines.lock().unwrap().push((level, text.to_owned())))
    }

    pub(crate) fn all(&self) -> Vec<(Level, String)> {
        self.0.lock().unwrap().clone()
    }
}

pub(crate) fn start(endpoints: Vec<NotificationEndpoint>, directory: &Path) -> Notifications {
    start_with(endpoints, 64 << 20, directory, &Lines::default())
}

pub(crate) fn start_with(
    endpoints: Vec<NotificationEndpoint>,
    limit: u64,
    directory: &Path,
    lines: &Lines,
) -> Notifications {
    let source = Source { addr: "registry.example:5000".to_owned(), url: None };
    let settings = settings(endpoints, limit);
    let begin = || Notifications::start(settings.clone(), directory, source.clone(), lines.log());
    unlocked(begin, |error| error.contains("another process")).unwrap()
}

/// Opens an outbox whose lock was just given back: a process that another test begins at that moment
/// has it too, until it runs its program.
pub(crate) fn unlocked<T, E>(
    open: impl Fn() -> Result<T, E>,
    is_locked: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let deadline = Instant::now() + LONG;
    loop {
        match open() {
            Err(error) if is_locked(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            opened => return opened,
        }
    }
}

/// An event with a number as its tag.
pub(crate) fn event(action: Action, number: usize) -> Event {
    let target = Target {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        size: Some(7),
        digest: Some(format!("sha256:{}", "a".repeat(64))),
        repository: "team/app".to_owned(),
        tag: Some(number.to_string()),
        ..Target::default()
    };
    Event::new(action, target, Request::default(), Some("alice".to_owned()))
}
