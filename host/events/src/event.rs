//! Events, as distribution's consumers know them (its `notifications/event.go`).

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::SystemTime;

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Content was read.
    Pull,
    /// Content was stored.
    Push,
    /// A blob was mounted from another repository.
    Mount,
    /// A manifest, a blob, a tag or a repository was deleted.
    Delete,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pull, Self::Push, Self::Mount, Self::Delete];

    /// As events have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Mount => "mount",
            Self::Delete => "delete",
        }
    }
}

/// An event, with an identifier and the time at which it was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What has happened.
    pub action: Action,
    /// To which content.
    pub target: Target,
    /// By which request.
    pub request: Request,
    /// Who sent it, if that is known.
    pub actor: Option<String>,
    pub(crate) id: String,
    pub(crate) time: SystemTime,
}

/// What an event is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Target {
    /// The content's media type; empty for deletions.
    pub media_type: String,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its digest.
    pub digest: Option<String>,
    /// The repository.
    pub repository: String,
    /// The repository from which a blob was mounted.
    pub from_repository: Option<String>,
    /// Where the content can be read.
    pub url: Option<String>,
    /// The tag by which a manifest was pushed or pulled, or the one that was deleted.
    pub tag: Option<String>,
    /// What a manifest refers to; sent only with `notifications.events.includereferences`.
    pub references: Vec<Descriptor>,
}

/// A descriptor among a manifest's references.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Descriptor {
    /// The media type.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// The digest.
    pub digest: String,
    /// The size in bytes.
    pub size: u64,
}

/// The request that an event comes of.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Request {
    /// Its identifier, as in the log.
    pub id: String,
    /// The client's address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub addr: String,
    /// The host that the client has named.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Its method.
    pub method: String,
    /// What the client says that it is.
    #[serde(rename = "useragent")]
    pub user_agent: String,
}

/// The registry that events come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Source {
    /// `host:port`, by which people know this machine.
    pub addr: String,
    /// The URL at which clients reach the registry, if it is known: the source of `CloudEvents`.
    pub url: Option<String>,
}

impl Event {
    /// An event of now.
    pub fn new(action: Action, target: Target, request: Request, actor: Option<String>) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        Self { action, target, request, actor, id, time: SystemTime::now() }
    }

    /// The same event, with the identifier and the time that it was given elsewhere.
    #[must_use]
    pub fn made(self, id: u128, time: SystemTime) -> Self {
        Self { id: uuid::Uuid::from_u128(id).to_string(), time, ..self }
    }

    /// The event in JSON, with the fields of Go's structs in their order.
    pub(crate) fn encode(
        &self,
        source: &SourceRecord,
        references: bool,
    ) -> serde_json::Result<Vec<u8>> {
        let Target { media_type, digest, repository, from_repository, url, tag, .. } = &self.target;
        let size = self.target.size.unwrap_or_default();
        serde_json::to_vec(&Record {
            id: &self.id,
            timestamp: timestamp(self.time),
            action: self.action.as_str(),
            target: TargetRecord {
                media_type,
                digest: digest.as_deref().unwrap_or_default(),
                size,
                length: size,
                repository,
                from_repository: from_repository.as_deref().unwrap_or_default(),
                url: url.as_deref().unwrap_or_default(),
                tag: tag.as_deref().unwrap_or_default(),
                references: if references { &self.target.references } else { &[] },
            },
            request: &self.request,
            actor: ActorRecord { name: self.actor.as_deref().unwrap_or_default() },
            source,
        })
    }
}

/// As Go writes it: RFC 3339 with nanoseconds, without zeros at the end.
fn timestamp(time: SystemTime) -> String {
    let time = chrono::DateTime::<chrono::Utc>::from(time);
    let text = time.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    let digits = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{digits}Z")
}

/// `SourceRecord` of distribution.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SourceRecord {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) addr: String,
    #[serde(rename = "instanceID")]
    pub(crate) instance: String,
}

impl SourceRecord {
    /// The source of this process, which has an identifier of its own.
    pub(crate) fn new(source: Source) -> Self {
        Self { addr: source.addr, instance: uuid::Uuid::new_v4().to_string() }
    }
}

#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    timestamp: String,
    action: &'a str,
    target: TargetRecord<'a>,
    request: &'a Request,
    actor: ActorRecord<'a>,
    source: &'a SourceRecord,
}

#[derive(Serialize)]
struct TargetRecord<'a> {
    // The first three are those of a descriptor, which has them even if they are empty.
    #[serde(rename = "mediaType")]
    media_type: &'a str,
    digest: &'a str,
    size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    length: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    repository: &'a str,
    #[serde(rename = "fromRepository", skip_serializing_if = "str::is_empty")]
    from_repository: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    url: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tag: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    references: &'a [Descriptor],
}

#[derive(Serialize)]
struct ActorRecord<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What is read of an event again: by which endpoints choose, and what `CloudEvents` repeat.
#[derive(Deserialize, Debug)]
pub(crate) struct Head<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) timestamp: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) action: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) target: HeadTarget<'a>,
}

/// [`Head::target`].
#[derive(Deserialize, Debug)]
pub(crate) struct HeadTarget<'a> {
    #[serde(rename = "mediaType", borrow)]
    pub(crate) media_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) digest: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(crate) repository: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(crate) tag: Cow<'a, str>,
}

impl<'a> Head<'a> {
    /// Reads what [`Event::encode`] has written.
    pub(crate) fn parse(record: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(record).ok()
    }
}
