//! One export: a request to a collector, with the retries that OTLP allows
//! (<https://opentelemetry.io/docs/specs/otlp/>).

mod grpc;
mod http;

use ::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Limited;
use hyper::body::Incoming;
use roadstead_http_client::{Connection, Message, Server};
use std::io::Write as _;
use std::time::Duration;

/// The longest response of a collector's, in bytes: it says what went wrong.
///
/// Limit: bytes of a collector's response; test: `collectors_that_cannot_be_used`.
const RESPONSE_LIMIT: usize = 64 * 1024;

/// The protocol by which a collector is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// OTLP/HTTP, as Protocol Buffers.
    Http,
    /// OTLP/gRPC.
    Grpc,
}

/// A collector's address.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) server: Server,
    /// `host:port`, as requests name it.
    pub(crate) authority: String,
    /// Of OTLP/HTTP's requests.
    pub(crate) path: String,
}

impl Endpoint {
    pub(crate) fn scheme(&self) -> &'static str {
        if self.server.tls.is_some() { "https" } else { "http" }
    }

    /// For the log.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority)
    }
}

/// Where spans go, and how.
#[derive(Clone)]
pub(crate) struct Destination {
    pub(crate) protocol: Protocol,
    pub(crate) endpoint: Endpoint,
    /// They may be secret.
    pub(crate) headers: HeaderMap,
    /// For each attempt.
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
}

/// How an attempt went.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The collector has taken all but so many spans, and may say why.
    Taken { rejected: u64, message: Option<String> },
    /// Another attempt may succeed: not before the time that the collector asks for.
    Later { cause: String, after: Option<Duration> },
    /// No other attempt will.
    Refused { cause: String },
}

/// Sends messages to a collector, over one connection, which is kept.
pub(crate) struct Client {
    destination: Destination,
    connection: Connection,
}

impl Client {
    pub(crate) fn new(destination: Destination) -> Self {
        let connection = Connection::new(destination.endpoint.server.clone());
        Self { destination, connection }
    }

    /// A message as it is sent, maybe compressed.
    pub(crate) fn body(&self, message: Vec<u8>) -> Bytes {
        let message = if self.destination.gzip { compressed(&message) } else { message };
        match self.destination.protocol {
            Protocol::Http => message.into(),
            Protocol::Grpc => grpc::framed(&message, self.destination.gzip),
        }
    }

    /// Sends what [`Self::body`] has made.
    pub(crate) async fn send(&mut self, body: Bytes) -> Outcome {
        let limit = self.destination.timeout;
        if let Ok(outcome) = tokio::time::timeout(limit, self.exchange(body)).await {
            return outcome;
        }
        // What comes late on this connection is of no use.
        self.connection.close();
        Outcome::Later { cause: format!("no response in {limit:?}"), after: None }
    }

    async fn exchange(&mut self, body: Bytes) -> Outcome {
        let request = || match self.destination.protocol {
            Protocol::Http => http::request(&self.destination, body.clone()),
            Protocol::Grpc => grpc::request(&self.destination, body.clone()),
        };
        let (head, body) = match self.connection.send(request).await {
            Ok(response) => response.into_parts(),
            Err(cause) => return Outcome::Later { cause, after: None },
        };
        let body = Limited::new(body, RESPONSE_LIMIT);
        let outcome = match self.destination.protocol {
            Protocol::Http => http::outcome(&head, body).await,
            Protocol::Grpc => grpc::outcome(&head, body).await,
        };
        outcome.unwrap_or_else(|cause| {
            self.connection.close();
            cause
        })
    }
}

type Body = Limited<Incoming>;

/// What requests say that they come from.
fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("OTel-OTLP-Exporter-Roadstead/", env!("CARGO_PKG_VERSION")))
}

fn compressed(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory does not fail.
    let _ = encoder.write_all(message);
    encoder.finish().unwrap_or_default()
}
