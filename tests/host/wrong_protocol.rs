//! Clients that speak TLS to a plain HTTP port, and the other way round.

use crate::secure::{Authority, Client, Secure};
use crate::support::{TEST_LIMIT, assert_well, eventually, within};
use crate::wire::Wire;
use roadstead_tests::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn plain_http_on_a_tls_port() {
    within(TEST_LIMIT, async {
        let secure = Secure::start(&[], &[]);
        let address = &secure.host.address;
        for line in ["GET /v2/", "HEAD /v2/a/manifests/b", "POST /v2/a/blobs/uploads/"] {
            let mut wire = Wire::connect(address).await;
            wire.head(line, &[]).await;
            let answer = wire.answer().await.unwrap();
            assert_eq!(answer.status, 400);
            assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
            assert_eq!(answer.headers["connection"], "close");
            let text = String::from_utf8(answer.body).unwrap();
            for expected in
                ["HTTPS", "https://registry.test/", "/etc/docker/certs.d/registry.test/ca.crt"]
            {
                assert!(text.contains(expected), "{text}");
            }
            wire.closed().await;
        }
        // HTTP/2, and neither.
        for start in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"SSH-2.0-x\r\n\r\n", b"\0\x01\x02"]
        {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(start).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
        }
        assert_eq!(secure.client().get(address, "/v2/").await.unwrap().status(), 200);
        let warning = "WARN a client spoke plain HTTP";
        eventually(warning, async || secure.host.log().contains(warning).then_some(())).await;
        let log = secure.host.log();
        assert_eq!(log.matches(warning).count(), 1, "{log}");
    })
    .await;
}

#[tokio::test]
async fn tls_on_a_plain_port() {
    within(TEST_LIMIT, async {
        let root = tempfile::tempdir().unwrap();
        let host = Registry::start(root.path(), &[("REGISTRY_LOG_LEVEL", "debug")], &[]).unwrap();
        for _ in 0..2 {
            let mut wire = Wire::connect(&host.address).await;
            // The first bytes of TLS.
            wire.write(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03").await;
            let answer = wire.answer().await.unwrap();
            assert_eq!(answer.status, 400);
            assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
            let text = String::from_utf8(answer.body).unwrap();
            for expected in ["plain HTTP", "REGISTRY_HTTP_TLS_CERTIFICATE", "insecure-registries"] {
                assert!(text.contains(expected), "{text}");
            }
            wire.closed().await;
        }
        // A whole ClientHello: unread bytes of it must not lose the response.
        let client = Client::new(&Authority::new("any").pem());
        let error = client.connect(&host.address).await.unwrap_err();
        assert_eq!(error.to_string(), "received corrupt message of type InvalidContentType");
        assert_well(&host.address).await;
        // Docker does the same on its own machine, before it goes on with plain HTTP.
        let tried = "DEBUG a client on this machine tried TLS";
        eventually(tried, async || (host.log().matches(tried).count() == 3).then_some(())).await;
        assert!(!host.log().contains("WARN"), "{}", host.log());
    })
    .await;
}
