//! TLS: negotiation, and clients that stall.

use crate::secure::{Client, Secure, get};
use crate::support::{TEST_LIMIT, within};
use crate::wire::Wire;
use roadstead_tests::Registry;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The number of connections that stall while others are served.
const STALLED: usize = 500;

#[tokio::test]
async fn protocols_and_versions() {
    within(TEST_LIMIT, async {
        let secure = Secure::start(&[], &[]);
        let address = &secure.host.address;
        let client = secure.client();
        for (offered, agreed) in [
            (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
            (&["http/1.1", "h2"], Some(b"h2")),
            (&["http/1.1"], Some(b"http/1.1")),
            (&[], None),
        ] {
            for version in [&TLS12, &TLS13] {
                let client = client.clone().speaking(offered).of_version(version);
                let stream = client.connect(address).await.unwrap();
                let (_, session) = stream.get_ref();
                assert_eq!(session.alpn_protocol(), agreed, "{offered:?}");
                assert_eq!(session.protocol_version(), Some(version.version));
                let answer = get(stream, "/v2/", &[]).await.unwrap();
                assert_eq!(answer.status(), 200, "{offered:?}");
            }
        }
        let unknown = client.clone().speaking(&["gopher"]).connect(address).await;
        assert!(unknown.is_err(), "{unknown:?}");
        assert!(secure.host.log().contains("TLS: certificate of registry.test, valid until"));
    })
    .await;
}

#[tokio::test]
async fn the_oldest_version() {
    within(TEST_LIMIT, async {
        let secure = Secure::start(&[("REGISTRY_HTTP_TLS_MINIMUMTLS", "tls1.3")], &[]);
        let address = &secure.host.address;
        let old = secure.client().of_version(&TLS12).connect(address).await.unwrap_err();
        assert!(old.to_string().contains("ProtocolVersion"), "{old}");
        let new = secure.client().of_version(&TLS13).get(address, "/v2/").await.unwrap();
        assert_eq!(new.status(), 200);
    })
    .await;
}

/// A stalled client occupies a connection, and does not affect others.
#[tokio::test]
async fn stalled_handshakes() {
    within(TEST_LIMIT, async {
        let mut secure = Secure::start(&[], &[]);
        let address = secure.host.address.clone();
        let mut stalled = Vec::new();
        for number in 0..STALLED {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            // Nothing, the first byte, or a part of a ClientHello.
            let part = &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..[0, 1, 11][number % 3]];
            stream.write_all(part).await.unwrap();
            stalled.push(stream);
        }
        for protocol in ["h2", "http/1.1"] {
            let client = secure.client().speaking(&[protocol]);
            assert_eq!(client.get(&address, "/v2/").await.unwrap().status(), 200);
        }
        // They time out: one of each kind,
        for mut stream in stalled.drain(..3) {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
        assert!(secure.client().get(&address, "/v2/").await.is_ok());
        // and the shutdown does not wait for the others.
        let mut silent = TcpStream::connect(&address).await.unwrap();
        silent.write_all(b"\x16\x03\x01").await.unwrap();
        secure.host.signal("TERM").unwrap();
        assert_eq!(secure.host.wait().unwrap().code(), Some(0));
        assert!(!secure.host.log().contains("cut off"), "{}", secure.host.log());
    })
    .await;
}

/// Silent clients time out, and do not delay the shutdown.
#[tokio::test]
async fn silent_connections() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    within(TEST_LIMIT, async {
        let root = tempfile::tempdir().unwrap();
        for ends in [false, true] {
            let mut host = Registry::start(root.path(), &[], &[]).unwrap();
            let mut silent = Vec::new();
            for start in [
                b"".as_slice(),
                b"P",
                &PREFACE[..20],
                PREFACE,
                b"GET /v2/ HTTP/1.1\r\nHost: a\r\n",
                // SETTINGS, and HEADERS that do not end.
                &[PREFACE, b"\0\0\0\x04\0\0\0\0\0", b"\0\0\x01\x01\0\0\0\0\x01\x82"].concat(),
            ] {
                let mut stream = TcpStream::connect(&host.address).await.unwrap();
                stream.write_all(start).await.unwrap();
                silent.push(stream);
            }
            if ends {
                // By now all of them have been accepted.
                let mut last = Wire::connect(&host.address).await;
                last.head("GET /v2/", &[]).await;
                assert_eq!(last.answer().await.unwrap().status, 200);
                host.signal("TERM").unwrap();
                assert_eq!(host.wait().unwrap().code(), Some(0));
                assert!(!host.log().contains("cut off"), "{}", host.log());
            }
            for mut stream in silent {
                let mut rest = Vec::new();
                // A reset closes it as well.
                let _ = stream.read_to_end(&mut rest).await;
            }
        }
    })
    .await;
}

/// A client that is silent after the handshake times out too.
#[tokio::test]
async fn silence_after_a_handshake() {
    within(TEST_LIMIT, async {
        let secure = Secure::start(&[], &[]);
        let mut silent = Vec::new();
        for protocols in [&["h2"][..], &["http/1.1"], &[]] {
            let client: Client = secure.client().speaking(protocols);
            silent.push(client.connect(&secure.host.address).await.unwrap());
        }
        for mut stream in silent {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    })
    .await;
}
