//! Where spans go.

use super::values::{Variables, flag, limit, milliseconds, pairs};
use super::{LONGEST, TIMEOUT, tls};
use crate::export::{Destination, Endpoint, Protocol};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use roadstead_http_client::{Server, Version};
use rustls::RootCertStore;

/// The path of traces below `OTEL_EXPORTER_OTLP_ENDPOINT`.
const PATH: &str = "v1/traces";

/// A collector on the same machine.
const LOCAL_HTTP: &str = "http://localhost:4318";
const LOCAL_GRPC: &str = "http://localhost:4317";

/// Headers that are the exporter's own.
const RESERVED: [&str; 7] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
];

/// Whether variables name a collector.
pub(super) fn is_named(variables: &Variables<'_>) -> bool {
    variables.of_exporter("ENDPOINT").is_some()
}

pub(super) fn read(
    variables: &Variables<'_>,
    roots: fn() -> RootCertStore,
) -> Result<Destination, String> {
    let protocol = protocol(variables)?;
    let timeout = match variables.of_exporter("TIMEOUT") {
        None => TIMEOUT,
        Some((name, text)) => limit(milliseconds(&name, &text)?, LONGEST),
    };
    let gzip = match variables.of_exporter("COMPRESSION") {
        None => false,
        Some((name, text)) => match text.to_ascii_lowercase().as_str() {
            "gzip" => true,
            "none" => false,
            _ => return Err(format!("{name}: `{text}` is not supported; use gzip or none")),
        },
    };
    let endpoint = endpoint(variables, protocol, roots)?;
    Ok(Destination { protocol, endpoint, headers: headers(variables)?, timeout, gzip })
}

fn protocol(variables: &Variables<'_>) -> Result<Protocol, String> {
    let Some((name, text)) = variables.of_exporter("PROTOCOL") else { return Ok(Protocol::Http) };
    match text.to_ascii_lowercase().as_str() {
        "http/protobuf" => Ok(Protocol::Http),
        "grpc" => Ok(Protocol::Grpc),
        _ => Err(format!("{name}: `{text}` is not supported; use http/protobuf or grpc")),
    }
}

fn endpoint(
    variables: &Variables<'_>,
    protocol: Protocol,
    roots: fn() -> RootCertStore,
) -> Result<Endpoint, String> {
    let (name, text) = variables.of_exporter("ENDPOINT").unwrap_or_else(|| {
        let local = if protocol == Protocol::Grpc { LOCAL_GRPC } else { LOCAL_HTTP };
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), local.to_owned())
    });
    let of_all_signals = !name.contains("_TRACES_");
    // The text may have a password in it.
    let wrong = |what: &str| format!("{name}: {what}; it has the form http://HOST:PORT");
    let mut url = text;
    if !url.contains("://") {
        if protocol == Protocol::Http {
            return Err(wrong("it does not begin with http:// or https://"));
        }
        let insecure = match variables.of_exporter("INSECURE") {
            Some((name, text)) => flag(&name, &text)?,
            None => false,
        };
        url = format!("{}://{url}", if insecure { "http" } else { "https" });
    }
    let uri: Uri = url.parse().map_err(|error| wrong(&format!("it is not a URL: {error}")))?;
    let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
    if authority.as_str().contains('@') {
        let headers = "OTEL_EXPORTER_OTLP_HEADERS=authorization=Basic%20…";
        return Err(wrong(&format!("it has credentials, which belong into {headers}")));
    }
    let (tls, port) = match uri.scheme_str() {
        Some("http") => (None, 80),
        Some("https") => (Some(tls::client(variables, protocol, roots)?), 443),
        _ => return Err(wrong("it begins neither with http:// nor with https://")),
    };
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    if host.is_empty() || authority.as_str().ends_with(':') {
        return Err(wrong("it names no host, or no port after a colon"));
    }
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let path = if of_all_signals {
        format!("{}/{PATH}", uri.path().trim_end_matches('/'))
    } else {
        path.to_owned()
    };
    let port = authority.port_u16().unwrap_or(port);
    let version = match protocol {
        Protocol::Http => Version::Http1,
        Protocol::Grpc => Version::Http2,
    };
    let server = Server { host, port, tls, version };
    Ok(Endpoint { server, authority: authority.as_str().to_owned(), path })
}

/// Headers, which often are credentials: errors do not show their values.
fn headers(variables: &Variables<'_>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let Some((variable, text)) = variables.of_exporter("HEADERS") else { return Ok(headers) };
    for (name, value) in pairs(&variable, &text)? {
        let name = HeaderName::try_from(&name)
            .map_err(|_| format!("{variable}: `{name}` is not the name of a header"))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(format!("{variable}: {name} cannot be set"));
        }
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| format!("{variable}: the value of {name} is not one of a header"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}
