//! `notifications`.

use super::kinds::{Choice, Each, Flag, HeaderLines, List, Number, Path, Span, Text};
use super::{Scope, Setting, table};
use crate::{EventFormat, StoredEvents};
use std::time::Duration;

/// The most that `notifications.outbox.maxsize` can say: 64 GiB.
///
/// Limit: bytes of the outbox, at most; test: `what_is_wrong_with_endpoints`; setting:
/// `REGISTRY_NOTIFICATIONS_OUTBOX_MAXSIZE`.
const MAX_OUTBOX: u64 = 64 * 1024 * 1024 * 1024;

/// The least: an event can have 4 MiB.
const MIN_OUTBOX: u64 = 32 * 1024 * 1024;

table! {
    NOTIFICATIONS_TABLE:

    ENDPOINT_NAME: Each<Text> = Setting::new(
        "notifications.endpoints.name",
        Scope::Host,
        Each(Text("text")),
        "The endpoint's name, in the log and in metrics. By it, the registry knows after a restart how \
         far the endpoint has come: under another name, it gets only new events.",
    )
    .by_default("required");

    ENDPOINT_DISABLED: Each<Flag> = Setting::new(
        "notifications.endpoints.disabled",
        Scope::Host,
        Each(Flag(false)),
        "`true`: as if the endpoint were not there.",
    );

    ENDPOINT_URL: Each<Text> = Setting::new(
        "notifications.endpoints.url",
        Scope::Host,
        Each(Text("URL")),
        "Where events are sent, by `POST`.",
    )
    .by_default("required");

    ENDPOINT_FORMAT: Each<Choice<EventFormat>> = Setting::new(
        "notifications.endpoints.format",
        Scope::Host,
        Each(Choice {
            default: EventFormat::Distribution,
            words: &[
                ("distribution", EventFormat::Distribution),
                ("cloudevents", EventFormat::CloudEvents),
            ],
            also: &[],
            refused: &[],
            boolean: None,
            blank: true,
        }),
        "`distribution`: envelopes with up to 100 events, as of distribution. `cloudevents`: CloudEvents \
         1.0 in structured mode, one a request.",
    )
    .ours();

    ENDPOINT_HEADERS: HeaderLines = Setting::new(
        "notifications.endpoints.headers",
        Scope::Host,
        HeaderLines,
        "Headers of the requests, such as `Authorization`. In a file, a key for each; as a variable, \
         lines such as `Authorization: Bearer token`, or a variable for each, as in \
         `…_HEADERS_AUTHORIZATION`.",
    )
    .secret();

    ENDPOINT_SECRET: Each<Text> = Setting::new(
        "notifications.endpoints.secret",
        Scope::Host,
        Each(Text("text")),
        "A key: requests have the HMAC-SHA256 of their body in `X-Roadstead-Signature`.",
    )
    .ours()
    .secret();

    ENDPOINT_ROOTCAS: Each<Path> = Setting::new(
        "notifications.endpoints.rootcas",
        Scope::Host,
        Each(Path("file in PEM")),
        "CAs that are trusted in addition to the system's. Read at the start.",
    )
    .by_default("the system's trust store")
    .ours();

    ENDPOINT_TIMEOUT: Each<Span> = Setting::new(
        "notifications.endpoints.timeout",
        Scope::Host,
        Each(Span {
            default: Duration::from_secs(5),
            least: Duration::ZERO,
            most: Duration::from_hours(1),
        }),
        "How long a request and its response may take; 0 is the default.",
    )
    .differs("the default is `5s`, not `1s`: a request can have 100 events");

    ENDPOINT_THRESHOLD: Each<Number> = Setting::new(
        "notifications.endpoints.threshold",
        Scope::Host,
        Each(Number { default: 10, least: 0, most: 1_000_000, multiple_of: 1, unit: None }),
        "How many requests fail in a row before each pause is as long as `backoff`; until then, \
         they grow from 100 ms. 0 is the default.",
    );

    ENDPOINT_BACKOFF: Each<Span> = Setting::new(
        "notifications.endpoints.backoff",
        Scope::Host,
        Each(Span {
            default: Duration::from_secs(1),
            least: Duration::ZERO,
            most: Duration::from_hours(24),
        }),
        "The longest pause between two attempts, unless `Retry-After` asks for a longer one; 0 is \
         the default. Events are sent until they are taken.",
    );

    ENDPOINT_IGNOREDMEDIATYPES: Each<List> = Setting::new(
        "notifications.endpoints.ignoredmediatypes",
        Scope::Host,
        Each(List("media types")),
        "Events about content of these types are not sent.",
    );

    ENDPOINT_IGNORE_MEDIATYPES: Each<List> = Setting::new(
        "notifications.endpoints.ignore.mediatypes",
        Scope::Host,
        Each(List("media types")),
        "The same.",
    );

    ENDPOINT_IGNORE_ACTIONS: Each<List> = Setting::new(
        "notifications.endpoints.ignore.actions",
        Scope::Host,
        Each(List("`pull`, `push`, `mount` and `delete`")),
        "Events of these actions are not sent.",
    );

    INCLUDE_REFERENCES: Flag = Setting::new(
        "notifications.events.includereferences",
        Scope::Host,
        Flag(false),
        "`true`: events about manifests have the descriptors that these refer to.",
    );

    OUTBOX_MAXSIZE: Number = Setting::new(
        "notifications.outbox.maxsize",
        Scope::Host,
        Number {
            default: 256 * 1024 * 1024,
            least: MIN_OUTBOX,
            most: MAX_OUTBOX,
            multiple_of: 1,
            unit: Some("bytes"),
        },
        "How large the outbox may become on disk, while endpoints do not take events. \
         [notifications.md](notifications.md#a-full-outbox) says what is lost then.",
    )
    .ours();

    OUTBOX_PATH: Path = Setting::new(
        "notifications.outbox.path",
        Scope::Host,
        Path("directory"),
        "Where the outbox is: on a local disk, and for each registry another one.",
    )
    .by_default("in the storage directory; required over a bucket")
    .ours();

    OUTBOX_STORAGE: Choice<StoredEvents> = Setting::new(
        "notifications.outbox.storage",
        Scope::Both,
        Choice {
            default: StoredEvents::Off,
            words: &[
                ("off", StoredEvents::Off),
                ("changes", StoredEvents::Changes),
                ("all", StoredEvents::All),
            ],
            also: &[],
            refused: &[],
            boolean: None,
            blank: true,
        },
        "For other hosts than the native one, which send no events: which of them they leave in the \
         storage, all but those of pulls, or all. Under the native host: whether it takes what others \
         leave there, and sends it to its endpoints \
         ([notifications.md](notifications.md#events-of-other-hosts)).",
    )
    .ours();
}
