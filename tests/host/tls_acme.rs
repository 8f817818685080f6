//! Certificates by ACME, from pebble, Let's Encrypt's test server.

use crate::secure::{Authority, Client, NAME, Pair, skip_without};
use crate::support::{TEST_LIMIT, eventually, within};
use rcgen::CertificateParams;
use roadstead_tests::{Registry, binary_named};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// An unused loopback address: pebble cannot report ports that the system chose.
const PEBBLE: &str = "127.0.0.9";

/// A third-party server, killed when dropped.
struct Server(Child);

impl Server {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Free ports.
fn ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind((PEBBLE, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// pebble, which validates names on the registry's port.
fn pebble(
    program: &Path,
    directory: &Path,
    [port, management, dns]: [u16; 3],
    tls: &str,
) -> Server {
    let [certificate, key] = Pair::files(directory);
    let config = serde_json::json!({ "pebble": {
        "listenAddress": format!("{PEBBLE}:{port}"),
        "managementListenAddress": format!("{PEBBLE}:{management}"),
        "certificate": certificate,
        "privateKey": key,
        "tlsPort": tls.parse::<u16>().unwrap(),
        "retryAfter": { "authz": 1, "order": 1 },
    } });
    let file = directory.join("pebble.json");
    fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(program);
    command.arg("-config").arg(file).arg("-dnsserver").arg(format!("{PEBBLE}:{dns}"));
    Server::start(command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0"))
}

#[tokio::test]
async fn a_certificate_from_pebble() {
    let programs = [binary_named(&["pebble"]), binary_named(&["pebble-challtestsrv"])];
    let [Some(program), Some(names)] = programs else {
        return skip_without("pebble", "a_certificate_from_pebble");
    };
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let own = Authority::new("pebble");
    let for_both = vec![NAME.to_owned(), PEBBLE.to_owned()];
    own.sign(&CertificateParams::new(for_both).unwrap()).write(directory);
    let authority = directory.join("authority.pem");
    fs::write(&authority, own.pem()).unwrap();
    let (root, cache) = (directory.join("root"), directory.join("acme"));
    let [port, management, dns] = ports();
    let url = format!("https://{PEBBLE}:{port}/dir");
    let variables = [
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS_0", NAME),
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_EMAIL", "admin@registry.test"),
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_CACHEFILE", cache.to_str().unwrap()),
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_DIRECTORYURL", &url),
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_DIRECTORYCA", authority.to_str().unwrap()),
    ];
    within(TEST_LIMIT, async {
        let host = Registry::start(&root, &variables, &[]).unwrap();
        // Without an ACME server yet: the error is logged, and the order retried.
        eventually("the log says so", async || {
            host.log().contains("no certificate of registry.test").then_some(())
        })
        .await;
        let strange = Client::new(&own.pem()).connect(&host.address).await;
        assert!(strange.is_err(), "{strange:?}");

        let mut arguments = vec!["-dnsserver".to_owned(), format!("{PEBBLE}:{dns}")];
        for unused in ["-http01", "-https01", "-tlsalpn01", "-doh", "-management", "-defaultIPv6"] {
            arguments.extend([unused.to_owned(), String::new()]);
        }
        let _names = Server::start(Command::new(names).args(arguments));
        let (_, tls) = host.address.rsplit_once(':').unwrap();
        let server = pebble(&program, directory, [port, management, dns], tls);
        let management = format!("{PEBBLE}:{management}");
        let issuer = eventually("pebble returns its CA", async || {
            Client::new(&own.pem()).get(&management, "/roots/0").await.ok()
        })
        .await;
        let client = Client::new(std::str::from_utf8(issuer.body()).unwrap());
        let answer = eventually("the certificate is served", async || {
            client.get(&host.address, "/v2/").await.ok()
        })
        .await;
        assert_eq!(answer.status(), 200);
        let new = "new certificate of registry.test from the ACME server";
        eventually(new, async || host.log().contains(new).then_some(())).await;
        assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
        eventually("the certificate is cached", async || {
            let mut names = fs::read_dir(&cache).unwrap().map(|file| file.unwrap().file_name());
            names.find(|name| name.to_string_lossy().starts_with("cached_cert_"))
        })
        .await;
        drop(host);

        // From the cache, without a request to the server.
        drop(server);
        let host = Registry::start(&root, &variables, &[]).unwrap();
        let answer = eventually("the certificate is served", async || {
            client.clone().speaking(&["h2"]).get(&host.address, "/v2/").await.ok()
        })
        .await;
        assert_eq!(answer.status(), 200);
        let kept = "certificate of registry.test, from the cache";
        eventually(kept, async || host.log().contains(kept).then_some(())).await;
    })
    .await;
}
