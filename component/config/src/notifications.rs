//! What is sent to whom when content is pushed, pulled or deleted.

use crate::reader::Reader;
use crate::secrets;
use crate::settings::{self, Shape};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The actions of events.
const ACTIONS: [&str; 4] = ["pull", "push", "mount", "delete"];

/// `REGISTRY_NOTIFICATIONS_*`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notifications {
    /// Where events are sent: those that are not disabled.
    pub endpoints: Vec<NotificationEndpoint>,
    /// `REGISTRY_NOTIFICATIONS_EVENTS_INCLUDEREFERENCES`.
    pub include_references: bool,
    /// `REGISTRY_NOTIFICATIONS_OUTBOX_MAXSIZE`: bytes.
    pub outbox_limit: u64,
    /// `REGISTRY_NOTIFICATIONS_OUTBOX_PATH`.
    pub outbox: Option<PathBuf>,
    /// `REGISTRY_NOTIFICATIONS_OUTBOX_STORAGE`.
    pub stored: StoredEvents,
}

/// Which events hosts that send none leave in the storage, for a native host over the same storage
/// that sends them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StoredEvents {
    /// None. The default.
    #[default]
    Off,
    /// Those of pushes, mounts and deletions.
    Changes,
    /// Those of pulls too.
    All,
}

/// How an endpoint wants events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventFormat {
    /// In distribution's envelopes. The default.
    Distribution,
    /// As `CloudEvents`.
    CloudEvents,
}

/// Where events are sent.
#[derive(Clone, PartialEq, Eq)]
pub struct NotificationEndpoint {
    /// Its name.
    pub name: String,
    /// Its URL, which can have a password.
    pub url: String,
    /// How it wants events.
    pub format: EventFormat,
    /// Names and values of headers, which may be secret.
    pub headers: Vec<(String, String)>,
    /// The key of signatures.
    pub secret: Option<String>,
    /// A file of CAs.
    pub root_cas: Option<PathBuf>,
    /// For a request and its response.
    pub timeout: Duration,
    /// How many requests fail in a row before pauses are as long as `backoff`.
    pub threshold: u64,
    /// The longest pause.
    pub backoff: Duration,
    /// Media types of events that are not sent.
    pub ignored_media_types: Vec<String>,
    /// Actions of events that are not sent.
    pub ignored_actions: Vec<String>,
}

impl fmt::Debug for NotificationEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest may be secret.
        f.debug_struct("NotificationEndpoint").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Notifications {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let mut endpoints: Vec<NotificationEndpoint> = Vec::new();
        for number in reader.mappings("notifications.endpoints.") {
            if reader.read_each(&settings::ENDPOINT_DISABLED, number) {
                continue;
            }
            let Some(endpoint) = endpoint(reader, number) else { continue };
            if endpoints.iter().any(|other| other.name == endpoint.name) {
                let name = reader.name_each(&settings::ENDPOINT_NAME.row, number);
                reader.problem(format!("{name}: another endpoint is called {:?}", endpoint.name));
            }
            endpoints.push(endpoint);
        }
        Self {
            endpoints,
            include_references: reader.read(&settings::INCLUDE_REFERENCES),
            outbox_limit: reader.read(&settings::OUTBOX_MAXSIZE),
            outbox: reader.read(&settings::OUTBOX_PATH),
            stored: reader.read(&settings::OUTBOX_STORAGE),
        }
    }
}

fn endpoint(reader: &mut Reader<'_>, number: u32) -> Option<NotificationEndpoint> {
    let name = reader.read_each(&settings::ENDPOINT_NAME, number);
    let url = reader.read_each(&settings::ENDPOINT_URL, number);
    for (value, row) in [(&name, &settings::ENDPOINT_NAME.row), (&url, &settings::ENDPOINT_URL.row)]
    {
        if value.is_none() {
            let name = reader.name_each(row, number);
            reader.problem(format!("{name} is missing"));
        }
    }
    if let Some(url) = &url
        && !url.starts_with("http://")
        && !url.starts_with("https://")
    {
        let name = reader.name_each(&settings::ENDPOINT_URL.row, number);
        reader.problem(format!("{name}: must begin with http:// or https://"));
    }
    let or = |duration: Duration, default: Duration| {
        if duration.is_zero() { default } else { duration }
    };
    let timeout = reader.read_each(&settings::ENDPOINT_TIMEOUT, number);
    let backoff = reader.read_each(&settings::ENDPOINT_BACKOFF, number);
    let threshold = match reader.read_each(&settings::ENDPOINT_THRESHOLD, number) {
        0 => settings::ENDPOINT_THRESHOLD.kind.0.default,
        threshold => threshold,
    };
    let mut ignored = reader.list_each(&settings::ENDPOINT_IGNOREDMEDIATYPES, number);
    ignored.extend(reader.list_each(&settings::ENDPOINT_IGNORE_MEDIATYPES, number));
    Some(NotificationEndpoint {
        format: reader.read_each(&settings::ENDPOINT_FORMAT, number),
        headers: reader.headers(&settings::ENDPOINT_HEADERS, number),
        secret: reader.read_each(&settings::ENDPOINT_SECRET, number),
        root_cas: reader.read_each(&settings::ENDPOINT_ROOTCAS, number),
        timeout: or(timeout, settings::ENDPOINT_TIMEOUT.kind.0.default),
        threshold,
        backoff: or(backoff, settings::ENDPOINT_BACKOFF.kind.0.default),
        ignored_media_types: ignored,
        ignored_actions: actions(reader, number),
        name: name?,
        url: url?,
    })
}

fn actions(reader: &mut Reader<'_>, number: u32) -> Vec<String> {
    let actions = reader.list_each(&settings::ENDPOINT_IGNORE_ACTIONS, number);
    for action in actions.iter().filter(|action| !ACTIONS.contains(&action.as_str())) {
        let name = reader.name_each(&settings::ENDPOINT_IGNORE_ACTIONS.row, number);
        let action = secrets::shown(&settings::ENDPOINT_IGNORE_ACTIONS.row, action);
        reader.problem(format!("{name}: {action:?} must be pull, push, mount or delete"));
    }
    actions
}

impl Reader<'_> {
    /// The numbers of the mappings of a list that have any value.
    fn mappings(&self, list: &str) -> BTreeSet<u32> {
        let slots = self.settings.slots.iter();
        let of_list = slots.filter(|slot| slot.row.key.starts_with(list));
        of_list.filter_map(|slot| slot.place.mapping).collect()
    }

    /// The headers of a mapping, in the order of their names.
    fn headers(
        &mut self,
        setting: &settings::Setting<settings::HeaderLines>,
        number: u32,
    ) -> Vec<(String, String)> {
        debug_assert_eq!(setting.row.shape, Shape::EachMap);
        let mut headers = Vec::new();
        for slot in
            self.settings.slots.iter().filter(|slot| {
                slot.row.key == setting.row.key && slot.place.mapping == Some(number)
            })
        {
            if let Some(name) = &slot.place.below {
                headers.push((name.clone(), slot.place.item, slot.value.clone()));
                continue;
            }
            for line in slot.value.lines().map(str::trim).filter(|line| !line.is_empty()) {
                if let Some((name, value)) = line.split_once(':') {
                    headers.push((name.trim().to_owned(), None, value.trim().to_owned()));
                } else {
                    self.problems
                        .push(format!("{}: must be lines such as `Name: value`", slot.name));
                }
            }
        }
        headers.sort();
        headers.into_iter().map(|(name, _, value)| (name, value)).collect()
    }
}
