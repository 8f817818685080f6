//! The names and values of attributes: those of OpenTelemetry's semantic conventions
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>, version 1.37), and some
//! of Roadstead's own.

use std::borrow::Cow;

/// The method of a request; `_OTHER` if it is not one that HTTP defines.
pub const METHOD: &str = "http.request.method";
/// Such another method.
pub const METHOD_ORIGINAL: &str = "http.request.method_original";
/// The status of a response.
pub const STATUS: &str = "http.response.status_code";
/// The kind of route, with names in braces.
pub const ROUTE: &str = "http.route";
/// `http` or `https`.
pub const SCHEME: &str = "url.scheme";
/// The path of a request's URL. There is no attribute for its query, which may have tokens.
pub const PATH: &str = "url.path";
/// The URL of a request that the host sends, without its query.
pub const URL: &str = "url.full";
/// The client's address, as trusted proxies report it.
pub const CLIENT: &str = "client.address";
/// The name by which a server is reached.
pub const SERVER: &str = "server.address";
/// Its port, if one is named.
pub const SERVER_PORT: &str = "server.port";
/// The version of HTTP.
pub const VERSION: &str = "network.protocol.version";
/// What the client says that it is.
pub const USER_AGENT: &str = "user_agent.original";
/// Why something failed: a status, or a short word.
pub const ERROR: &str = "error.type";
/// The repository of a request.
pub const REPOSITORY: &str = "roadstead.repository";
/// Whether the host's cache had the response.
pub const CACHED: &str = "roadstead.cached";
/// The storage operation that the component asked for.
pub const OPERATION: &str = "roadstead.storage.operation";
/// Bytes that an operation has read or written.
pub const SIZE: &str = "roadstead.storage.size";

/// The value of an attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A number.
    Integer(i64),
    /// Yes or no.
    Flag(bool),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}
