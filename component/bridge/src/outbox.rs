//! Events that a component without a native host leaves in the storage, and how a native host
//! over the same storage gets them.

use crate::change::Change;
use serde::{Deserialize, Serialize};

/// The path at which the native host gets events, by a [`TakeRequest`].
pub const PATH: &str = "/v2/_roadstead/events";

/// The longest header of a client that an event repeats, in bytes; of longer ones it has the beginning.
///
/// Limit: bytes of a client's header in a notification; test: `events_repeat_little`.
pub const SHOWN: usize = 512;

/// What a request has done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeftEvent {
    /// Sets it apart from all others, in 32 hexadecimal digits.
    #[serde(with = "hex")]
    pub id: u128,
    /// When it happened, in milliseconds since 1970.
    pub time: u64,
    /// What was changed, or read.
    pub change: Change,
    /// The request.
    pub request: LeftRequest,
    /// Who sent it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// A request, as far as an event repeats it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LeftRequest {
    /// Its identifier.
    pub id: String,
    /// The host that the client has named.
    pub host: String,
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// What the client says that it is.
    pub user_agent: String,
    /// The scheme and the host by which the client has reached the registry.
    pub base: String,
}

/// What the native host asks for: the oldest events.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeRequest {
    /// The names of objects whose events the host has taken: they are removed before.
    pub taken: Vec<String>,
}

/// The oldest events of the storage.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EventsAnswer {
    /// Objects with events, the oldest first.
    pub objects: Vec<LeftEvents>,
}

/// An object with events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeftEvents {
    /// Its name.
    pub name: String,
    /// What is in it; nothing if it cannot be read.
    pub events: Vec<LeftEvent>,
}

/// Numbers as texts, since JSON's are read by others as floating-point numbers.
mod hex {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{id:032x}"))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<u128, D::Error> {
        let text = String::deserialize(from)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}
