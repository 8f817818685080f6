//! Client certificates.

use crate::secure::{Authority, Client, Pair, Secure, connect, get};
use crate::support::{TEST_LIMIT, eventually, within};
use crate::trap;
use http::HeaderMap;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use std::fs;
use std::sync::Arc;

/// Settings with which the host passes client names to the component.
const AUTH: [(&str, &str); 2] = [
    ("REGISTRY_AUTH", "htpasswd"),
    (
        "REGISTRY_AUTH_HTPASSWD_ENTRIES",
        "alice:$2y$04$otXFflgnRBs5/.9WB5WXoua48NmO/aSlvckSzhnCBf6fuoSZfGhni",
    ),
];

/// The names that the component receives for these client certificates.
async fn told(secure: &Secure, certificate: Option<&Pair>) -> Option<HeaderMap> {
    let mut heard = None;
    for protocol in ["http/1.1", "h2"] {
        let mut client = secure.client().speaking(&[protocol]);
        if let Some(certificate) = certificate {
            client = client.with(certificate);
        }
        let forged = [("x-roadstead-certificate", "admin")];
        let stream = client.connect(&secure.host.address).await.ok()?;
        // In TLS 1.3, a client is refused only after its handshake is complete.
        let answer = get(stream, "/echo", &forged).await.ok()?;
        assert_eq!(answer.headers()["echo-x-roadstead-scheme"], "https");
        assert_eq!(answer.headers()["echo-host"], "registry.test");
        let mut headers = answer.headers().clone();
        headers.remove("date");
        heard.get_or_insert(headers);
    }
    heard
}

fn name(headers: Option<HeaderMap>) -> Option<String> {
    let headers = headers.expect("the client is served");
    Some(headers.get("echo-x-roadstead-certificate")?.to_str().unwrap().to_owned())
}

async fn said(secure: &Secure, expected: &str) {
    eventually(expected, async || secure.host.log().contains(expected).then_some(())).await;
}

/// Clients that do not trust the server's CA.
#[tokio::test]
async fn strangers() {
    within(TEST_LIMIT, async {
        let secure = Secure::start(&[], &[]);
        let stranger = Client::new(&Authority::new("other").pem());
        let error = stranger.connect(&secure.host.address).await.unwrap_err();
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
        said(&secure, "a client at 127.0.0.1 does not trust the certificate (UnknownCA)").await;
    })
    .await;
}

#[tokio::test]
async fn certificates_of_clients() {
    let component = trap::build();
    within(TEST_LIMIT, async {
        let [authority, second, stranger] = ["clients", "others", "stranger"].map(Authority::new);
        let directory = tempfile::tempdir().unwrap();
        let files = ["clients.pem", "others.pem"].map(|name| directory.path().join(name));
        fs::write(&files[0], authority.pem()).unwrap();
        fs::write(&files[1], second.pem()).unwrap();
        let cas = [
            ("REGISTRY_HTTP_TLS_CLIENTCAS_0", files[0].to_str().unwrap()),
            ("REGISTRY_HTTP_TLS_CLIENTCAS_1", files[1].to_str().unwrap()),
        ];
        let arguments = ["--component", component.to_str().unwrap()];
        for optional in [false, true] {
            let chosen = if optional {
                "verify-client-cert-if-given"
            } else {
                "require-and-verify-client-cert"
            };
            let auth = [("REGISTRY_HTTP_TLS_CLIENTAUTH", chosen)];
            let secure = Secure::start(&[&cas[..], &AUTH, &auth].concat(), &arguments);

            let known = authority.client(Some("ci, Zoë"), &["ci.test"]);
            assert_eq!(name(told(&secure, Some(&known)).await).unwrap(), "ci%2C%20Zo%C3%AB");
            let other = second.client(Some("other"), &[]);
            assert_eq!(name(told(&secure, Some(&other)).await).unwrap(), "other");
            let unnamed = authority.client(None, &["ci.test"]);
            assert_eq!(name(told(&secure, Some(&unnamed)).await).unwrap(), "ci.test");

            let strange = stranger.client(Some("ci"), &[]);
            assert!(told(&secure, Some(&strange)).await.is_none());
            // The CA of the server is not a CA of clients.
            let server = secure.authority.client(Some("ci"), &[]);
            assert!(told(&secure, Some(&server)).await.is_none());
            let without = told(&secure, None).await;
            assert_eq!(without.is_some(), optional);
            if optional {
                assert_eq!(name(without), None);
            } else {
                said(&secure, "sent no certificate, which REGISTRY_HTTP_TLS_CLIENTCAS requires")
                    .await;
            }
            said(&secure, "sent a certificate that is not accepted: UnknownIssuer").await;
        }
    })
    .await;
}

/// The component allows a certificate's name what rules allow, and no more;
/// without rules, a certificate does not replace a password.
#[tokio::test]
async fn rules_for_certificates() {
    within(TEST_LIMIT, async {
        let authority = Authority::new("clients");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("clients.pem");
        fs::write(&file, authority.pem()).unwrap();
        let cas = ("REGISTRY_HTTP_TLS_CLIENTCAS_0", file.to_str().unwrap());
        let known = authority.client(Some("builder"), &[]);
        let rules = ("REGISTRY_AUTH_RULES", "cert:builder pull team/**; cert:other all **");
        for (rules, statuses) in [(Some(rules), [200, 404, 401]), (None, [401, 401, 401])] {
            let settings: Vec<_> = AUTH.into_iter().chain([cas]).chain(rules).collect();
            let secure = Secure::start(&settings, &[]);
            let paths = ["/v2/", "/v2/team/a/manifests/1", "/v2/secret/manifests/1"];
            for (path, status) in paths.into_iter().zip(statuses) {
                let client = secure.client().with(&known);
                let answer = client.get(&secure.host.address, path).await.unwrap();
                assert_eq!(answer.status(), status, "{path}, {rules:?}");
            }
        }
    })
    .await;
}

/// A resumed session still belongs to the client that began it.
#[tokio::test]
async fn resumed_sessions() {
    let component = trap::build();
    within(TEST_LIMIT, async {
        let authority = Authority::new("clients");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, authority.pem()).unwrap();
        let cas = [("REGISTRY_HTTP_TLS_CLIENTCAS_0", file.path().to_str().unwrap())];
        let arguments = ["--component", component.to_str().unwrap()];
        let secure = Secure::start(&[&cas[..], &AUTH].concat(), &arguments);
        for version in [&TLS12, &TLS13] {
            let pair = authority.client(Some("ci"), &[]);
            let config = secure.client().with(&pair).of_version(version).config();
            for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let stream = connect(&secure.host.address, Arc::clone(&config)).await.unwrap();
                assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
                let answer = get(stream, "/echo", &[]).await.unwrap();
                assert_eq!(answer.headers()["echo-x-roadstead-certificate"], "ci");
            }
        }
    })
    .await;
}
