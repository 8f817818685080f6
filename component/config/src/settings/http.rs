//! `http`, but for TLS.

use super::kinds::{Below, Flag, Leaf, List, Number, Parsed, Span, Text, Tree, boolean};
use super::{Scope, Setting, State, table};
use crate::{
    DEFAULT_ADDRESS, DEFAULT_DRAIN_TIMEOUT, DEFAULT_MAX_CONNECTIONS,
    DEFAULT_MAX_CONNECTIONS_PER_CLIENT, DEFAULT_MAX_REQUESTS, DEFAULT_MAX_REQUESTS_PER_CLIENT,
    DEFAULT_STALL_TIMEOUT, MAX_MAX_CONNECTIONS, MAX_MAX_REQUESTS,
};
use std::time::Duration;

/// Longest `http.warning`, in bytes.
///
/// Limit: bytes of the notice to users; test: `the_rest`; setting:
/// `REGISTRY_HTTP_WARNING`.
const WARNING_LIMIT: usize = 1024;

/// The path of metrics, where `http.debug.prometheus.path` does not say otherwise.
const METRICS_PATH: &str = "/metrics";

/// The most that `http.debug.prometheus.repositories` can say.
///
/// Limit: repositories with metrics of their own, at most; test: `what_operators_watch`; setting:
/// `REGISTRY_HTTP_DEBUG_PROMETHEUS_REPOSITORIES`.
const MAX_REPOSITORY_SERIES: u64 = 10_000;

table! {
    HTTP_TABLE:

    HTTP_ADDR: Parsed<String> = Setting::new(
        "http.addr",
        Scope::Host,
        Parsed {
            name: "`host:port` or `:port`",
            default: || DEFAULT_ADDRESS.to_owned(),
            written: Some(DEFAULT_ADDRESS),
            parse: address,
        },
        "Where to listen. `:port` means all addresses; port 0 lets the system choose. Without \
         authentication, anyone who can connect can push.",
    )
    .help("address to listen on")
    .differs("the default is reachable from this machine only");

    HTTP_DRAINTIMEOUT: Span = Setting::new(
        "http.draintimeout",
        Scope::Host,
        Span { default: DEFAULT_DRAIN_TIMEOUT, least: Duration::ZERO, most: Duration::MAX },
        "How long requests in flight may take to finish after SIGTERM or SIGINT. A second signal \
         ends the process at once.",
    )
    .help("time for requests in flight at shutdown")
    .differs("the default is `1m`, not 0");

    HTTP_DRAINDELAY: Span = Setting::new(
        "http.draindelay",
        Scope::Host,
        Span { default: Duration::ZERO, least: Duration::ZERO, most: Duration::from_hours(1) },
        "How long new connections are still accepted after SIGTERM or SIGINT, while `/readyz` says 503 \
         already: as long as a load balancer takes to notice.",
    )
    .ours();

    HTTP_MAXREQUESTS: Number = Setting::new(
        "http.maxrequests",
        Scope::Host,
        Number {
            default: DEFAULT_MAX_REQUESTS as u64,
            least: 1,
            most: MAX_MAX_REQUESTS as u64,
            multiple_of: 1,
            unit: None,
        },
        "Requests in flight at a time, request bodies included. More wait for up to 10 s and are \
         then answered with 503.",
    )
    .ours()
    .help("requests in flight; more wait up to 10 s");

    HTTP_MAXREQUESTSPERCLIENT: Number = Setting::new(
        "http.maxrequestsperclient",
        Scope::Host,
        Number {
            default: DEFAULT_MAX_REQUESTS_PER_CLIENT as u64,
            least: 1,
            most: MAX_MAX_REQUESTS as u64,
            multiple_of: 1,
            unit: None,
        },
        "Requests in flight of one client at a time, so that none can keep all others out. A client \
         is an IPv4 address or a /64 network of IPv6; behind trusted proxies, it is the address \
         that they report.",
    )
    .ours();

    HTTP_MAXCONNECTIONS: Number = Setting::new(
        "http.maxconnections",
        Scope::Host,
        Number {
            default: DEFAULT_MAX_CONNECTIONS as u64,
            least: 1,
            most: MAX_MAX_CONNECTIONS as u64,
            multiple_of: 1,
            unit: None,
        },
        "Open connections. Where there is no room for a new one, those close that have been idle \
         for longest. Fewer if the process may not open four times as many files.",
    )
    .ours();

    HTTP_MAXCONNECTIONSPERCLIENT: Number = Setting::new(
        "http.maxconnectionsperclient",
        Scope::Host,
        Number {
            default: DEFAULT_MAX_CONNECTIONS_PER_CLIENT as u64,
            least: 1,
            most: MAX_MAX_CONNECTIONS as u64,
            multiple_of: 1,
            unit: None,
        },
        "Open connections of one client. Trusted proxies may have any number.",
    )
    .ours();

    HTTP_STALLTIMEOUT: Span = Setting::new(
        "http.stalltimeout",
        Scope::Both,
        Span {
            default: DEFAULT_STALL_TIMEOUT,
            least: Duration::from_secs(1),
            most: Duration::from_hours(1),
        },
        "How long a client may stall while it sends or receives a body. A transfer that moves has no \
         limit, but of a response at least 16 KiB must be taken in that time, and of a manifest or \
         a token request 64 KiB must arrive, or its end.",
    )
    .ours();

    HTTP_HOST: Parsed<Option<String>> = Setting::new(
        "http.host",
        Scope::Component,
        Parsed { name: "URL without a path", default: || None, written: None, parse: host },
        "The URL at which clients reach the registry, as in `https://registry.example`, where it \
         cannot be derived from their requests.",
    )
    .by_default("derived from each request")
    .differs("it names the token service, and no locations: those are always relative");

    HTTP_TRUSTEDPROXIES: List = Setting::new(
        "http.trustedproxies",
        Scope::Host,
        List("addresses and networks, as in `10.0.0.0/8`"),
        "Proxies whose forwarding headers (`Forwarded`, `X-Forwarded-For`, `X-Forwarded-Proto`) \
         are trusted for a client's address and scheme. See [tls.md](tls.md).",
    )
    .ours()
    .help("proxies whose forwarding headers are trusted");

    HTTP_SECRET: Text = Setting::new(
        "http.secret",
        Scope::Host,
        Text("text"),
        "The key that signs the registry's own tokens: long, random, and the same for all \
         instances of one registry. Hosts other than `roadstead serve` need it for \
         `REGISTRY_AUTH=token`.",
    )
    .by_default("random at each start")
    .secret()
    .differs("several instances need it only to issue tokens");

    HTTP_WARNING: Parsed<Option<String>> = Setting::new(
        "http.warning",
        Scope::Component,
        Parsed {
            name: "text, at most 1,024 ASCII characters",
            default: || None,
            written: None,
            parse: warning,
        },
        "A notice to users, sent with every response in a `Warning` header. Some clients show it.",
    )
    .ours();

    HTTP_DEBUG_ADDR: Parsed<Option<String>> = Setting::new(
        "http.debug.addr",
        Scope::Host,
        Parsed {
            name: "`host:port` or `:port`",
            default: || None,
            written: None,
            parse: debug_address,
        },
        "Where `/debug/health`, `/debug/vars` and, if they are enabled, metrics are served, over HTTP and \
         without a login: keep it from clients.",
    )
    .by_default("not served")
    .help("address of metrics and health checks");

    HTTP_DEBUG_PROMETHEUS_ENABLED: Flag = Setting::new(
        "http.debug.prometheus.enabled",
        Scope::Host,
        Flag(false),
        "`true`: [metrics](metrics.md) are served at `http.debug.addr`, for Prometheus.",
    )
    .help("true: metrics are served there");

    HTTP_DEBUG_PROMETHEUS_PATH: Parsed<String> = Setting::new(
        "http.debug.prometheus.path",
        Scope::Host,
        Parsed {
            name: "path",
            default: || METRICS_PATH.to_owned(),
            written: Some(METRICS_PATH),
            parse: metrics_path,
        },
        "The path of metrics.",
    );

    HTTP_DEBUG_PROMETHEUS_REPOSITORIES: Number = Setting::new(
        "http.debug.prometheus.repositories",
        Scope::Host,
        Number { default: 0, least: 0, most: MAX_REPOSITORY_SERIES, multiple_of: 1, unit: None },
        "How many repositories have metrics of their own: the first ones that are used. All others \
         count as one.",
    )
    .ours();

    RELATIVEURLS: Leaf = Setting::ignored(
        "http.relativeurls",
        "locations are always relative",
        Leaf,
    );
    NET: Leaf = Setting::unused(
        "http.net",
        State::IgnoredWithWarning("connections are TCP", |value| matches!(value, "" | "tcp")),
        Leaf,
    );
    HTTP2: Leaf = Setting::unused(
        "http.http2.disabled",
        State::IgnoredWithWarning("HTTP/2 is always on", |value| boolean(value) == Some(false)),
        Leaf,
    );
    H2C: Leaf = Setting::ignored(
        "http.h2c.enabled",
        "HTTP/2 without TLS is always on",
        Leaf,
    );
    CONTENT_TYPE_OPTIONS: Leaf = Setting::ignored(
        "http.headers.X-Content-Type-Options",
        "`nosniff` is sent with every response whose body a browser could misread",
        Leaf,
    );
    CONTENT_TYPE_OPTIONS_ITEMS: Below = Setting::ignored(
        "http.headers.X-Content-Type-Options",
        "`nosniff` is sent with every response whose body a browser could misread",
        Below(&[]),
    );
    HEADERS: Tree = Setting::refused(
        "http.headers",
        "response headers are fixed; add others in a proxy",
        Tree(&["*"]),
    );
    PREFIX: Leaf = Setting::refused(
        "http.prefix",
        "the API is at /v2/; rewrite paths in a proxy",
        Leaf,
    );
}

/// No text is as good as none set.
fn debug_address(value: &str) -> Result<Option<String>, &'static str> {
    if value.is_empty() { Ok(None) } else { address(value).map(Some) }
}

fn metrics_path(value: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    match value {
        "" => Ok(METRICS_PATH.to_owned()),
        _ if value.starts_with('/') && value.bytes().all(plain) => Ok(value.to_owned()),
        _ => Err("must be a path, as in /metrics"),
    }
}

fn address(value: &str) -> Result<String, &'static str> {
    const RULE: &str = "must be host:port, or :port for all addresses, as in 127.0.0.1:5000";
    const NO_URL: &str = "must be host:port, or :port for all addresses, without a scheme and a \
                          path; HTTPS is served if {http.tls.certificate} is set";
    if value.contains('/') {
        return Err(NO_URL);
    }
    let (host, port) = value.rsplit_once(':').ok_or(RULE)?;
    port.parse::<u16>().map_err(|_| RULE)?;
    Ok(if host.is_empty() { format!("[::]:{port}") } else { value.to_owned() })
}

/// `https://registry.example`, without a path.
fn host(value: &str) -> Result<Option<String>, &'static str> {
    if value.is_empty() {
        return Ok(None);
    }
    let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    let name = rest.unwrap_or_default().trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err("must be a URL without a path, as in https://registry.example:5000");
    }
    Ok(Some(value.trim_end_matches('/').to_owned()))
}

/// Text of a `Warning` header: what needs no escape within quotes.
fn warning(value: &str) -> Result<Option<String>, &'static str> {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if value.len() <= WARNING_LIMIT && value.bytes().all(plain) {
        Ok((!value.is_empty()).then(|| value.to_owned()))
    } else {
        Err("must be at most 1024 ASCII characters without quotes and backslashes")
    }
}
