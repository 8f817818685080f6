//! Spans that have begun and not ended.

use crate::attribute::{self, Value};
use crate::context::{Context, Parent, SpanId};
use crate::queue::Queue;
use crate::random;
use crate::record::{Kind, Record};
use http::header::{HOST, USER_AGENT};
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use roadstead_telemetry::Target;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The longest name of a storage operation, in bytes; all of them are shorter.
///
/// Limit: bytes of the name of a storage operation in a trace; test: `operations`.
const OPERATION_LIMIT: usize = 32;

/// What a span below a request's is for.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The request waits for its turn.
    Turn,
    /// The host's cache has the response.
    Cache,
    /// The component answers.
    Component,
    /// The component asks who a caller is.
    Access,
    /// The component has a body hashed.
    Hashing,
    /// The component asks for what to sign a request to an object store with.
    Credentials,
    /// A storage operation of the component's: the message that it has sent, as in
    /// `roadstead_bridge::storage`.
    Storage(&'a [u8]),
    /// A request that the host sends, to an object store for example.
    Request(&'a Method, &'a Uri),
}

/// A span that has begun. It ends when it is dropped.
///
/// Everything that it holds is sent to a collector: no method takes a credential, and none
/// keeps a query.
#[derive(Debug)]
pub struct Active(Box<Open>);

/// In a box, so that `Option<Active>` is of the size of a pointer: most requests have none.
#[derive(Debug)]
struct Open {
    /// `None` once it has ended.
    record: Option<Record>,
    context: Context,
    begun: Instant,
    queue: Arc<Queue>,
}

impl Active {
    /// The span of a request, below a client's span if it has one.
    pub(crate) fn server(
        queue: &Arc<Queue>,
        context: Context,
        parent: Option<&Parent<'_>>,
    ) -> Self {
        let parent = parent.map(Parent::span);
        Self::begin(queue, context, parent, parent.is_some(), "HTTP".into(), Kind::Server)
    }

    /// A span below another one of this process.
    pub(crate) fn below(queue: &Arc<Queue>, parent: &Context, step: Step<'_>) -> Self {
        let context = parent.with_span(random::span_id());
        let (name, kind): (Cow<'static, str>, _) = match step {
            Step::Turn => ("turn".into(), Kind::Internal),
            Step::Cache => ("cache".into(), Kind::Internal),
            Step::Component => ("component".into(), Kind::Internal),
            Step::Access => ("access".into(), Kind::Internal),
            Step::Hashing => ("hashing".into(), Kind::Internal),
            Step::Credentials => ("credentials".into(), Kind::Internal),
            Step::Storage(message) => {
                (format!("storage {}", operation(message)).into(), Kind::Internal)
            }
            Step::Request(method, _) => (known(method).into(), Kind::Client),
        };
        let mut span = Self::begin(queue, context, Some(parent.span), false, name, kind);
        match step {
            Step::Storage(message) => span.set(attribute::OPERATION, operation(message).to_owned()),
            Step::Request(method, uri) => span.outbound(method, uri),
            _ => {}
        }
        span
    }

    fn begin(
        queue: &Arc<Queue>,
        context: Context,
        parent: Option<SpanId>,
        remote: bool,
        name: Cow<'static, str>,
        kind: Kind,
    ) -> Self {
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            context: context.clone(),
            parent,
            remote,
            name,
            kind,
            start: u64::try_from(start.as_nanos()).unwrap_or(u64::MAX),
            end: 0,
            attributes: Vec::new(),
            dropped_attributes: 0,
            failed: false,
        };
        let (record, queue) = (Some(record), Arc::clone(queue));
        Self(Box::new(Open { record, context, begun: Instant::now(), queue }))
    }

    /// Begins a span below this one.
    #[must_use = "it ends when it is dropped"]
    pub fn child(&self, step: Step<'_>) -> Self {
        Self::below(&self.0.queue, &self.0.context, step)
    }

    /// What others are told of this span.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// Says what the request is, and names the span by it. `client` is the client's address,
    /// as trusted proxies report it, and `tls` whether it speaks HTTPS.
    pub fn request(
        &mut self,
        (method, uri, version): (&Method, &Uri, Version),
        headers: &HeaderMap,
        client: IpAddr,
        tls: bool,
    ) {
        let target = Target::of(uri.path());
        let name = known(method);
        let route = target.template();
        self.name(route.map_or(name.into(), |route| format!("{name} {route}").into()));
        self.method(method);
        self.set(attribute::SCHEME, if tls { "https" } else { "http" });
        self.set(attribute::PATH, target.shown(uri.path()).into_owned());
        if let Some(route) = route {
            self.set(attribute::ROUTE, route);
        }
        if let Some(repository) = target.repository {
            self.set(attribute::REPOSITORY, repository.to_owned());
        }
        self.set(attribute::CLIENT, client.to_string());
        self.set(
            attribute::VERSION,
            match version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                Version::HTTP_3 => "3",
                _ => "1.1",
            },
        );
        if let Some(agent) = headers.get(USER_AGENT) {
            self.set(attribute::USER_AGENT, String::from_utf8_lossy(agent.as_bytes()).into_owned());
        }
        let host = || headers.get(HOST)?.to_str().ok()?.parse().ok();
        if let Some(authority) = uri.authority().cloned().or_else(host) {
            self.server_address(&authority);
        }
    }

    /// Says what the response's status is. One that means a failure makes the span one that
    /// has failed: 5xx for a request of a client's, and 4xx too for one that the host has sent.
    pub fn response(&mut self, status: StatusCode) {
        self.set(attribute::STATUS, status.as_u16());
        let client = self.0.record.as_ref().is_some_and(|record| record.kind == Kind::Client);
        if status.is_server_error() || (client && status.is_client_error()) {
            self.fail(status.as_str().to_owned());
        }
    }

    /// Says that what the span is for has failed, by a word for the kind of failure. Causes
    /// may have paths and secrets in them, and belong into the log.
    pub fn fail(&mut self, kind: impl Into<Value>) {
        self.set(attribute::ERROR, kind);
        if let Some(record) = &mut self.0.record {
            record.failed = true;
        }
    }

    /// Sets an attribute; see [`attribute`] for names.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(record) = &mut self.0.record {
            record.set(name, value.into());
        }
    }

    fn outbound(&mut self, method: &Method, uri: &Uri) {
        self.method(method);
        let scheme = uri.scheme_str().unwrap_or("https");
        let Some(authority) = uri.authority() else { return };
        let (host, path) = (address(authority), uri.path());
        self.set(attribute::URL, format!("{scheme}://{host}{path}"));
        self.server_address(authority);
    }

    fn method(&mut self, method: &Method) {
        let known = known(method);
        if known == "HTTP" {
            self.set(attribute::METHOD, "_OTHER");
            self.set(attribute::METHOD_ORIGINAL, method.as_str().to_owned());
        } else {
            self.set(attribute::METHOD, known);
        }
    }

    fn server_address(&mut self, authority: &Authority) {
        self.set(attribute::SERVER, authority.host().trim_matches(['[', ']']).to_owned());
        if let Some(port) = authority.port_u16() {
            self.set(attribute::SERVER_PORT, port);
        }
    }

    fn name(&mut self, name: Cow<'static, str>) {
        if let Some(record) = &mut self.0.record {
            record.name = name;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        let took = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        record.end = record.start.saturating_add(took);
        self.queue.push(record);
    }
}

/// The name of a method in traces: what clients make up is not one.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "HTTP",
    }
}

/// The name of the operation in a message: JSON such as `{"manifest":…}` or `"done"`.
fn operation(message: &[u8]) -> &str {
    let name = |message: &'_ [u8]| -> Option<usize> {
        message.iter().position(|&byte| byte == b'"').filter(|&end| end <= OPERATION_LIMIT)
    };
    let message = message.strip_prefix(b"{").unwrap_or(message);
    let message = message.strip_prefix(b"\"").unwrap_or_default();
    let name = name(message).map(|end| &message[..end]).unwrap_or_default();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'-';
    match std::str::from_utf8(name) {
        Ok(name) if !name.is_empty() && name.bytes().all(|byte| plain(&byte)) => name,
        _ => "operation",
    }
}

/// Host and port, without user information.
fn address(authority: &Authority) -> &str {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::operation;

    #[test]
    fn operations() {
        for (message, name) in [
            (r#"{"manifest":{"repository":"a","content":true}}"#, "manifest"),
            (r#"{"append-and-commit":{}}"#, "append-and-commit"),
            (r#""done""#, "done"),
            (r#"{"":{}}"#, "operation"),
            (r#"{"a b":{}}"#, "operation"),
            (r#"{"\n":{}}"#, "operation"),
            ("manifest", "operation"),
            ("{\"manifest", "operation"),
            ("", "operation"),
            (&format!("{{\"{}\":1}}", "x".repeat(32)), &"x".repeat(32)),
            (&format!("{{\"{}\":1}}", "x".repeat(33)), "operation"),
        ] {
            assert_eq!(operation(message.as_bytes()), name, "{message}");
        }
    }
}
