//! The headers about clients that a component receives.

use crate::secure::{Secure, get};
use crate::support::{TEST_LIMIT, build, within};
use crate::trap;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use roadstead_tests::{Registry, send};
use tokio::net::TcpStream;

/// Headers that only proxies and the host may set, sent by a client.
const FORGED: [(&str, &str); 10] = [
    ("forwarded", "for=192.0.2.1;proto=https"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "evil.test"),
    ("x-real-ip", "192.0.2.1"),
    ("x-request-id", "forged"),
    ("content-digest", "sha-256=:AAAA:"),
    ("x-roadstead-client", "192.0.2.1"),
    ("x-roadstead-scheme", "https"),
    ("x-roadstead-certificate", "admin"),
];

const AUTH: [(&str, &str); 2] = [
    ("REGISTRY_AUTH", "htpasswd"),
    (
        "REGISTRY_AUTH_HTPASSWD_ENTRIES",
        "user:$2y$04$otXFflgnRBs5/.9WB5WXoua48NmO/aSlvckSzhnCBf6fuoSZfGhni",
    ),
];

/// The identifier that the host made for a request, as [`heard`] has it.
const OWN_ID: (&str, &str) = ("x-request-id", "own");

/// The headers that the component received, without those unrelated to the
/// client's identity. An identifier of a request that no client sent is [`OWN_ID`].
fn heard(headers: &HeaderMap) -> Vec<(String, String)> {
    let heard = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("echo-")?;
        let value = match value.to_str().unwrap() {
            id if name == OWN_ID.0 && id != "forged" => OWN_ID.1,
            value => value,
        };
        Some((name.to_owned(), value.to_owned()))
    });
    let mut heard: Vec<_> = heard.collect();
    heard.sort_unstable();
    heard
}

fn expected(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn http1(address: &str, headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut request = build("GET /echo");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    heard(send(address, request.body(Bytes::new()).unwrap()).await.unwrap().headers())
}

async fn http2(address: &str, headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut request = build("GET http://registry.test:5000/echo");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = sender.send_request(request.body(Full::<Bytes>::default()).unwrap());
    heard(answer.await.unwrap().headers())
}

#[tokio::test]
async fn forged_headers() {
    let component = trap::build();
    let arguments = ["--component", component.to_str().unwrap()];
    let root = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, async {
        let host = Registry::start(root.path(), &[], &arguments).unwrap();
        let address = host.address.as_str();
        assert_eq!(http1(address, &FORGED).await, expected(&[("host", address), OWN_ID]));
        let host_of_http2 = ("host", "registry.test:5000");
        assert_eq!(http2(address, &FORGED).await, expected(&[host_of_http2, OWN_ID]));

        let host = Registry::start(root.path(), &AUTH, &arguments).unwrap();
        let address = host.address.as_str();
        let own = [("x-roadstead-client", "127.0.0.1"), ("x-roadstead-scheme", "http")];
        let all = [&[("host", address), OWN_ID][..], &own].concat();
        assert_eq!(http1(address, &FORGED).await, expected(&all));
        let all = [&[host_of_http2, OWN_ID][..], &own].concat();
        assert_eq!(http2(address, &FORGED).await, expected(&all));

        // A trusted proxy's headers are used; the others are still removed.
        let trusted = [("REGISTRY_HTTP_TRUSTEDPROXIES", "127.0.0.0/8")];
        let host = Registry::start(root.path(), &[&AUTH[..], &trusted].concat(), &arguments);
        let host = host.unwrap();
        let address = host.address.as_str();
        let told = [("x-roadstead-client", "192.0.2.1"), ("x-roadstead-scheme", "https")];
        let all = [&[("host", address), ("x-request-id", "forged")][..], &told].concat();
        assert_eq!(http1(address, &FORGED).await, expected(&all));
    })
    .await;
}

#[tokio::test]
async fn over_tls() {
    let component = trap::build();
    let arguments = ["--component", component.to_str().unwrap()];
    within(TEST_LIMIT, async {
        let secure = Secure::start(&AUTH, &arguments);
        for protocol in ["h2", "http/1.1"] {
            let client = secure.client().speaking(&[protocol]);
            let stream = client.connect(&secure.host.address).await.unwrap();
            let answer = get(stream, "/echo", &FORGED).await.unwrap();
            let own = [
                ("host", "registry.test"),
                OWN_ID,
                ("x-roadstead-client", "127.0.0.1"),
                ("x-roadstead-scheme", "https"),
            ];
            assert_eq!(heard(answer.headers()), expected(&own), "{protocol}");
        }
    })
    .await;
}
