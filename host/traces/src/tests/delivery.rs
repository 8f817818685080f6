//! How spans get to a collector, and what becomes of them if they do not.

use super::receiver::{Answer, Receiver};
use super::{SOON, read, start, until};
use crate::protobuf::Writer;
use crate::{Counts, Traces};
use base64::Engine as _;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const PROTOCOLS: [&str; 2] = ["http/protobuf", "grpc"];

fn span(traces: &Traces) {
    drop(traces.begin(None, None).unwrap());
}

/// Counts as they are once a process ends.
fn counts(exported: u64, queue_full: u64, not_exported: u64) -> Counts {
    Counts { exported, queue_full, not_exported }
}

#[tokio::test]
async fn requests() {
    for gzip in ["none", "gzip"] {
        for (protocol, path, line) in [
            (PROTOCOLS[0], "", "POST HTTP/1.1 /v1/traces"),
            (PROTOCOLS[0], "/below/?x=1", "POST HTTP/1.1 /below/v1/traces"),
            (
                PROTOCOLS[1],
                "/ignored",
                "POST HTTP/2.0 URL/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            ),
        ] {
            let receiver = Receiver::start([]).await;
            let traces = start(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &(receiver.url() + path)),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b,authorization=Bearer%20x"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", gzip),
                ("OTEL_BSP_SCHEDULE_DELAY", "0"),
            ]);
            // Both over one connection.
            for number in 1..=2 {
                span(&traces);
                until("a span", || receiver.requests().len() == number).await;
                until("an answer", || traces.counts().exported == number as u64).await;
            }
            assert_eq!(receiver.connections(), 1);
            let request = receiver.requests().remove(0);
            assert_eq!(request.line, line.replace("URL", &receiver.url()));
            assert_eq!(request.spans.len(), 1);
            assert_eq!(request.headers["x-tenant"], "a b");
            assert_eq!(request.headers["authorization"], "Bearer x");
            assert!(request.headers["user-agent"].to_str().unwrap().starts_with("OTel-OTLP-"));
            if protocol == "grpc" {
                assert_eq!(request.headers["te"], "trailers");
                assert_eq!(request.headers["grpc-timeout"], "10000m");
            } else {
                assert_eq!(request.headers["host"], format!("127.0.0.1:{}", receiver.port));
            }
            traces.shut_down(SOON).await;
            assert_eq!(traces.counts(), counts(2, 0, 0));
        }
    }
}

/// A `google.rpc.Status` with a pause, as a header.
fn details(milliseconds: u32) -> String {
    let mut status = Writer::default();
    status.integer(1, 14);
    status.message(3, |any| {
        any.bytes(1, b"type.googleapis.com/google.rpc.RetryInfo");
        any.message(2, |info| {
            info.message(1, |delay| delay.integer(2, u64::from(milliseconds) * 1_000_000));
        });
    });
    base64::prelude::BASE64_STANDARD_NO_PAD.encode(status.into_bytes())
}

fn partial(rejected: u64) -> Vec<u8> {
    let mut response = Writer::default();
    response.message(1, |partial| {
        partial.integer(1, rejected);
        partial.bytes(2, b"no");
    });
    response.into_bytes()
}

fn failed(code: u32, details: &str) -> Answer {
    let status = ("grpc-status", code.to_string());
    Answer::Grpc(None, vec![status, ("grpc-status-details-bin", details.to_owned())])
}

/// Each collector has three spans to take at first.
#[tokio::test]
async fn collectors_that_cannot_be_used() {
    let ok = || vec![("grpc-status", "0".to_owned())];
    let internal =
        || vec![("grpc-status", "13".to_owned()), ("grpc-message", "not%20now".to_owned())];
    let retry = |value: &str| Some(("retry-after", value.to_owned()));
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (protocol, answers, requests, taken) in [
        // Taken by the second attempt.
        (0, vec![Answer::status(429)], 2, 3),
        (0, vec![Answer::status(502)], 2, 3),
        (0, vec![Answer::Http(503, retry("0"), vec![])], 2, 3),
        (0, vec![Answer::Http(503, retry(past), vec![])], 2, 3),
        (0, vec![Answer::status(504); 4], 5, 3),
        (0, vec![Answer::Close], 2, 3),
        (0, vec![Answer::Silence(SOON)], 2, 3),
        (1, vec![Answer::grpc(14)], 2, 3),
        (1, vec![failed(14, &details(1))], 2, 3),
        // Exhausted, and it says for how long.
        (1, vec![failed(8, &details(1))], 2, 3),
        (1, vec![Answer::status(503)], 2, 3),
        (1, vec![Answer::Close], 2, 3),
        (1, vec![Answer::Silence(SOON)], 2, 3),
        // Refused for good.
        (0, vec![Answer::status(400)], 1, 0),
        (0, vec![Answer::status(401)], 1, 0),
        (0, vec![Answer::status(404)], 1, 0),
        (0, vec![Answer::status(500)], 1, 0),
        (
            0,
            vec![Answer::Http(307, Some(("location", "http://127.0.0.1:1/".to_owned())), vec![])],
            1,
            0,
        ),
        (0, vec![Answer::Http(400, None, vec![b'x'; 100_000])], 1, 0),
        (1, vec![Answer::grpc(3)], 1, 0),
        (1, vec![Answer::grpc(8)], 1, 0),
        (1, vec![failed(8, "not base64")], 1, 0),
        (1, vec![Answer::grpc(99)], 1, 0),
        (1, vec![Answer::Grpc(Some(vec![]), internal())], 1, 0),
        (1, vec![Answer::Grpc(Some(vec![]), vec![])], 1, 0),
        (1, vec![Answer::status(404)], 1, 0),
        // Taken in part, or with a body that says too much.
        (0, vec![Answer::Http(200, None, partial(2))], 1, 1),
        (0, vec![Answer::Http(200, None, partial(9))], 1, 0),
        (0, vec![Answer::Http(202, None, partial(0))], 1, 3),
        (0, vec![Answer::Http(200, None, vec![b'x'; 100_000])], 1, 3),
        (1, vec![Answer::Grpc(Some(partial(2)), ok())], 1, 1),
        // Not before time is up.
        (0, vec![Answer::status(503); 1_000], 0, 0),
        (1, vec![Answer::grpc(14); 1_000], 0, 0),
    ] {
        let name = format!("{} {answers:?}", PROTOCOLS[protocol]);
        let forever = answers.len() == 1_000;
        let receiver = Receiver::start(answers).await;
        let traces = start(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", PROTOCOLS[protocol]),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_BSP_EXPORT_TIMEOUT", if forever { "100" } else { "20000" }),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "3"),
        ]);
        (0..3).for_each(|_| span(&traces));
        let all = || traces.counts().exported + traces.counts().not_exported;
        until(&name, || all() == 3).await;
        assert_eq!(traces.counts(), counts(taken, 0, 3 - taken), "{name}");
        let sent = receiver.requests().len();
        assert!(if forever { sent > 1 } else { sent == requests }, "{name}: {sent}");
        // Whatever it was, later spans are sent.
        if !forever {
            span(&traces);
            traces.shut_down(SOON).await;
            assert_eq!(traces.counts().exported, taken + 1, "{name}");
        }
    }
}

#[tokio::test]
async fn nobody_listens() {
    // Taken, so that nobody else listens there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for protocol in PROTOCOLS {
        for host in ["127.0.0.1", "host.invalid"] {
            let traces = start(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{host}:{port}")),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_BSP_EXPORT_TIMEOUT", "200"),
            ]);
            span(&traces);
            traces.shut_down(SOON).await;
            assert_eq!(traces.counts(), counts(0, 0, 1), "{protocol} {host}");
            // What comes later is counted too.
            span(&traces);
            assert_eq!(traces.counts(), counts(0, 0, 2), "{protocol} {host}");
        }
    }
}

#[tokio::test]
async fn a_queue_that_is_full() {
    // The first batch is on its way for as long as this takes.
    let receiver = Receiver::start([Answer::Silence(SOON)]).await;
    let traces = start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2"),
        ("OTEL_BSP_SCHEDULE_DELAY", "60000"),
    ]);
    (0..2).for_each(|_| span(&traces));
    until("a request", || receiver.requests().len() == 1).await;
    (0..7).for_each(|_| span(&traces));
    assert_eq!(traces.counts(), counts(0, 3, 0));
    // It does not wait for the receiver.
    traces.shut_down(Duration::from_millis(50)).await;
    assert_eq!(traces.counts(), counts(0, 3, 6));
}

#[tokio::test]
async fn batches() {
    let receiver = Receiver::start([]).await;
    let traces = start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10"),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
    ]);
    (0..10).for_each(|_| span(&traces));
    // A batch that is complete does not wait.
    until("a batch", || traces.counts().exported == 10).await;
    (0..25).for_each(|_| span(&traces));
    until("two batches", || traces.counts().exported == 30).await;
    traces.shut_down(SOON).await;
    let sizes: Vec<_> = receiver.requests().iter().map(|request| request.spans.len()).collect();
    assert_eq!(sizes, [10, 10, 10, 5]);
}

/// The last one that knows of traces has gone, and not said that they end.
#[tokio::test]
async fn traces_that_are_dropped() {
    let receiver = Receiver::start([]).await;
    let traces = start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
    ]);
    span(&traces);
    drop(traces);
    until("the span", || receiver.spans().len() == 1).await;
}

#[tokio::test]
async fn a_pause_that_a_collector_asks_for() {
    let forever = u64::MAX.to_string();
    for wait in ["86400", forever.as_str()] {
        let answer = Answer::Http(429, Some(("retry-after", wait.to_owned())), vec![]);
        let receiver = Receiver::start([answer]).await;
        let traces = start(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
        ]);
        span(&traces);
        // No attempt is made within the time for an export.
        until("the answer", || traces.counts().not_exported == 1).await;
        span(&traces);
        // The end does not wait.
        traces.shut_down(SOON).await;
        assert_eq!(receiver.requests().len(), 2);
        assert_eq!(traces.counts(), counts(1, 0, 1));
    }
}

#[tokio::test]
async fn collectors_with_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, &ca_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(file("ca"), ca.pem()).unwrap();
    std::fs::write(file("key"), key.serialize_pem()).unwrap();
    std::fs::write(file("certificate"), certificate.pem()).unwrap();

    for (protocol, alpn, trusted, taken) in [
        ("http/protobuf", &b"http/1.1"[..], true, true),
        ("http/protobuf", b"http/1.1", false, false),
        ("grpc", b"h2", true, true),
        ("grpc", b"h2", false, false),
        // It would speak HTTP/1.1.
        ("grpc", b"", true, false),
    ] {
        let roots = Arc::new({
            let mut roots = rustls::RootCertStore::empty();
            roots.add(ca.der().clone()).unwrap();
            roots
        });
        let provider = Arc::new(ring::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            roots,
            Arc::clone(&provider),
        );
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, private)
            .unwrap();
        config.alpn_protocols =
            Some(alpn.to_vec()).into_iter().filter(|alpn| !alpn.is_empty()).collect();
        let tls = TlsAcceptor::from(Arc::new(config));
        let receiver = Receiver::start_with(Some(tls), []).await;
        let url = format!("https://127.0.0.1:{}", receiver.port);
        let (ca, key, certificate) = (file("ca"), file("key"), file("certificate"));
        let mut variables = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key),
            ("OTEL_BSP_EXPORT_TIMEOUT", if taken { "20000" } else { "200" }),
        ];
        if trusted {
            variables.push(("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", &ca));
        }
        let traces = start(&variables);
        span(&traces);
        traces.shut_down(SOON).await;
        assert_eq!(traces.counts().exported, u64::from(taken), "{protocol} {alpn:?} {trusted}");
    }
}

#[test]
fn files_of_certificates() {
    const CA: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
    const OWN: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
    const KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = file("certificate", params.self_signed(&key).unwrap().pem().as_bytes());
    let key = file("key", key.serialize_pem().as_bytes());
    let other = file("other", KeyPair::generate().unwrap().serialize_pem().as_bytes());
    let (empty, large) = (file("empty", b""), file("large", &vec![b'\n'; 1024 * 1024 + 1]));
    for (variables, problem) in [
        (vec![(CA, certificate.as_str())], None),
        (vec![(OWN, &certificate), (KEY, &key)], None),
        (vec![(CA, "/nowhere")], Some((CA, "No such file"))),
        (vec![(CA, &empty)], Some((CA, "has no certificates"))),
        (vec![(CA, &key)], Some((CA, "has no certificates"))),
        (vec![(CA, &large)], Some((CA, "is larger than"))),
        (vec![(OWN, &certificate)], Some((OWN, "the key is missing"))),
        (vec![(KEY, &key)], Some((KEY, "the certificate is missing"))),
        (vec![(OWN, &certificate), (KEY, &other)], Some((KEY, ""))),
        (vec![(OWN, &certificate), (KEY, &certificate)], Some((KEY, ""))),
    ] {
        let mut all = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector")];
        all.extend(variables.clone());
        match (read(&all).map(drop), problem) {
            (Ok(()), None) => {}
            (Err(text), Some((name, what))) => {
                assert!(text.starts_with(&format!("{name}: ")) && text.contains(what), "{text}");
            }
            other => panic!("{variables:?}: {other:?}"),
        }
    }
}
