use super::{Outbound, variables};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use roadstead_config::{Cloud, Config};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use wasmtime_wasi_http::{Error, WasiBody};

fn cloud(endpoint: &str) -> Cloud {
    let variables = [
        ("REGISTRY_STORAGE_S3_BUCKET", "images"),
        ("REGISTRY_STORAGE_S3_REGIONENDPOINT", endpoint),
        ("REGISTRY_STORAGE_S3_ACCESSKEY", "a"),
        ("REGISTRY_STORAGE_S3_SECRETKEY", "b"),
        ("REGISTRY_STORAGE_S3_FORCEPATHSTYLE", "true"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config::from_variables(variables).unwrap().cloud.unwrap()
}

fn body(bytes: &'static [u8]) -> WasiBody {
    Full::new(Bytes::from_static(bytes)).map_err(|never| match never {}).boxed_unsync()
}

/// A server that answers with what it was sent, at `127.0.0.1:port`.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async {
                let host = request.headers()["host"].to_str().unwrap().to_owned();
                let line = format!("{} {} {host} ", request.method(), request.uri());
                let bytes = request.into_body().collect().await.unwrap().to_bytes();
                let answer = [line.as_bytes(), &bytes].concat();
                Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(answer))))
            });
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// What is logged of one place leaves the lines of another alone.
#[test]
fn each_place_has_its_own_lines() {
    let [store, source] = [(); 2].map(|()| Outbound::new(&cloud("127.0.0.1:1")).unwrap());
    assert!(store.failed.is_due() && !store.failed.is_due());
    assert!(source.failed.is_due() && source.denied.is_due());
}

#[tokio::test]
async fn requests_reach_the_store_as_they_are() {
    let address = echo().await;
    let outbound = Arc::new(Outbound::new(&cloud(&format!("http://{address}"))).unwrap());
    outbound.check().await.unwrap();
    for _ in 0..2 {
        let request = Request::put(format!("http://{address}/images/a%20b?x=%2F"))
            .header("host", "elsewhere")
            .body(body(b"content"))
            .unwrap();
        let response = Arc::clone(&outbound).send(request, None).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let expected = format!("PUT /images/a%20b?x=%2F {address} content");
        assert_eq!(bytes, expected.as_bytes());
    }
}

#[tokio::test]
async fn nothing_else_is_reached() {
    let address = echo().await;
    let port = address.rsplit_once(':').unwrap().1;
    let outbound = Arc::new(Outbound::new(&cloud("http://127.0.0.1:1")).unwrap());
    for place in [
        format!("http://{address}"),
        format!("http://localhost:{port}"),
        "https://127.0.0.1:1".to_owned(),
        "http://127.0.0.1".to_owned(),
        "http://images.127.0.0.1:1".to_owned(),
        "http://store.internal".to_owned(),
        "http://169.254.169.254".to_owned(),
    ] {
        let request = Request::get(format!("{place}/")).body(body(b"")).unwrap();
        let denied = Arc::clone(&outbound).send(request, None).await;
        assert!(matches!(denied, Err(Error::HttpRequestDenied)), "{place}: {denied:?}");
    }
}

/// The host's client for a source of credentials does not reach the store, nor the
/// component's client the source.
#[test]
fn a_source_of_credentials_is_apart() {
    let cloud = cloud("http://store.test");
    let source = ["http://169.254.170.2", "https://sts.test"];
    let of_host = Outbound::to_source(&cloud, source.into_iter()).unwrap();
    let of_component = Outbound::new(&cloud).unwrap();
    for (uri, by_host, by_component) in [
        ("http://169.254.170.2/v2/credentials", true, false),
        ("https://sts.test/", true, false),
        ("http://store.test/images", false, true),
        ("http://169.254.169.254/latest/user-data", false, false),
        ("http://169.254.170.2:8080/", false, false),
        ("http://sts.test/", false, false),
    ] {
        let uri = uri.parse().unwrap();
        let found = (of_host.allows(&uri), of_component.allows(&uri));
        assert_eq!(found, (by_host, by_component), "{uri}");
    }
}

#[tokio::test]
async fn a_store_that_is_not_there() {
    let outbound = Arc::new(Outbound::new(&cloud("http://127.0.0.1:1")).unwrap());
    let problem = format!("{:#}", outbound.check().await.unwrap_err());
    for part in ["http://127.0.0.1:1", "REGISTRY_STORAGE_S3_BUCKET", "Connection refused"] {
        assert!(problem.contains(part), "{problem}");
    }
    let request = Request::get("http://127.0.0.1:1/images").body(body(b"")).unwrap();
    let refused = outbound.send(request, None).await;
    assert!(matches!(refused, Err(Error::ConnectionRefused)), "{refused:?}");
}

/// It accepts connections and requests, and never responds.
#[tokio::test]
async fn a_store_that_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.push(stream);
        }
    });
    let outbound = Arc::new(Outbound::new(&cloud(&format!("http://{address}"))).unwrap());
    let soon = Some(Duration::from_millis(20));
    for request in [
        Request::head(format!("http://{address}/images/a")).body(body(b"")),
        Request::get(format!("http://{address}/images/a")).body(body(b"")),
        Request::put(format!("http://{address}/images/a")).body(body(b"content")),
    ] {
        let timed_out = Arc::clone(&outbound).send(request.unwrap(), soon).await;
        assert!(matches!(timed_out, Err(Error::HttpResponseTimeout)), "{timed_out:?}");
    }
}

/// An error that a retry would not help.
#[tokio::test]
async fn a_store_that_does_not_speak_tls() {
    let origin = format!("https://{}", echo().await);
    let outbound = Arc::new(Outbound::new(&cloud(&origin)).unwrap());
    let problem = format!("{:#}", outbound.check().await.unwrap_err());
    for part in [origin.as_str(), "REGISTRY_STORAGE_S3_BUCKET", "corrupt message"] {
        assert!(problem.contains(part), "{problem}");
    }
    // A root certificate would not help.
    assert!(!problem.contains("ROOTCERTBUNDLE"), "{problem}");
    let request = Request::get(format!("{origin}/images")).body(body(b"")).unwrap();
    let refused = outbound.send(request, None).await;
    assert!(matches!(refused, Err(Error::TlsCertificateError)), "{refused:?}");
}

#[test]
fn origins_are_compared() {
    for (endpoint, uri, expected) in [
        ("https://store.test", "https://store.test/a?b=c", true),
        ("https://store.test", "https://STORE.test:443/", true),
        ("https://store.test:443", "https://store.test/", true),
        ("http://store.test:80", "http://store.test/", true),
        ("http://store.test", "https://store.test/", false),
        ("http://store.test", "http://store.test:443/", false),
        ("https://store.test", "https://store.test:8443/", false),
        ("https://store.test", "https://store.test@other.test/", false),
        ("https://store.test", "https://store.test.other.test/", false),
        ("https://store.test", "/", false),
    ] {
        let outbound = Outbound::new(&cloud(endpoint)).unwrap();
        assert_eq!(outbound.allows(&uri.parse().unwrap()), expected, "{endpoint}: {uri}");
    }
}

#[test]
fn the_component_gets_a_key_and_no_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{}").unwrap();
    let given = vec![
        ("REGISTRY_STORAGE_GCS_BUCKET".to_owned(), "images".to_owned()),
        ("REGISTRY_STORAGE_GCS_KEYFILE".to_owned(), file.path().display().to_string()),
    ];
    let config = Config::from_variables(given.clone()).unwrap();
    let found = variables(config.cloud.as_ref(), given.clone()).unwrap();
    assert_eq!(found[0], given[0]);
    assert_eq!(found[1], ("REGISTRY_STORAGE_GCS_CREDENTIALS".to_owned(), "{}".to_owned()));
    drop(file);
    let problem = variables(config.cloud.as_ref(), given).unwrap_err();
    assert!(format!("{problem:#}").contains("REGISTRY_STORAGE_GCS_KEYFILE"), "{problem:#}");
}
