//! Renewal of certificates while the host runs.

use crate::secure::{Authority, Pair, Secure, serial};
use crate::support::{TEST_LIMIT, eventually, within};
use std::fs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The host's log line for files that it cannot use.
const UNUSABLE: &str = "cannot be used; what they held before stays in use";

async fn new_serial(secure: &Secure, expected: u64) {
    let client = secure.client();
    eventually("new connections get the new certificate", async || {
        let found = client.serial(&secure.host.address).await.unwrap();
        (found == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn renewed_files() {
    within(TEST_LIMIT, async {
        let secure = Secure::start(&[], &[]);
        let (address, directory) = (&secure.host.address, secure.directory.path());
        let mut old = secure.client().connect(address).await.unwrap();
        assert_eq!(serial(&old), 1);
        old.write_all(b"GET /v2/ HTTP/1.1\r\n").await.unwrap();

        secure.authority.server(2).write(directory);
        new_serial(&secure, 2).await;
        // The connection with the first certificate stays open.
        old.write_all(b"Host: registry.test\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        old.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

        // One file of the pair, which is not used alone; then the other.
        let third = secure.authority.server(3);
        let [certificate, key] = Pair::files(directory);
        fs::write(&certificate, &third.certificate).unwrap();
        eventually("the log says so", async || secure.host.log().contains(UNUSABLE).then_some(()))
            .await;
        assert!(secure.host.log().contains("does not belong to the first certificate"));
        new_serial(&secure, 2).await;
        fs::write(&key, &third.key).unwrap();
        new_serial(&secure, 3).await;

        fs::write(&key, "").unwrap();
        eventually("the log says so", async || {
            secure.host.log().contains("there is no private key in").then_some(())
        })
        .await;
        fs::remove_file(&key).unwrap();
        eventually("the log says so", async || {
            secure.host.log().contains("cannot read").then_some(())
        })
        .await;
        new_serial(&secure, 3).await;
        fs::write(&key, &third.key).unwrap();
    })
    .await;
}

/// On SIGHUP, files are read again even if they look unchanged.
#[tokio::test]
async fn a_signal() {
    within(TEST_LIMIT, async {
        let secure = Secure::start(&[], &[]);
        secure.host.signal("HUP").unwrap();
        eventually("the files are read", async || {
            secure.host.log().contains("the files were read again").then_some(())
        })
        .await;
        assert_eq!(secure.client().serial(&secure.host.address).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn renewed_authorities_of_clients() {
    within(TEST_LIMIT, async {
        let first = Authority::new("first");
        let second = Authority::new("second");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("clients.pem");
        fs::write(&file, first.pem()).unwrap();
        let variables = [("REGISTRY_HTTP_TLS_CLIENTCAS_0", file.to_str().unwrap())];
        let secure = Secure::start(&variables, &[]);
        let address = &secure.host.address;
        let known = secure.client().with(&first.client(Some("a"), &[]));
        let new = secure.client().with(&second.client(Some("b"), &[]));
        assert_eq!(known.get(address, "/v2/").await.unwrap().status(), 200);
        assert!(new.get(address, "/v2/").await.is_err());

        fs::write(&file, second.pem()).unwrap();
        eventually("clients of the new CA are accepted", async || {
            new.get(address, "/v2/").await.ok()
        })
        .await;
        assert!(known.get(address, "/v2/").await.is_err());
    })
    .await;
}
