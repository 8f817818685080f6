//! A layer larger than the host's memory limit, pushed to a bucket and pulled.

use super::{Instances, NAME, closing, header_of, request};
use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Instant;
use tokio::net::TcpStream;

/// The size of the layer in MiB, overridden by `ROADSTEAD_LAYER_MIB`: more than
/// the memory that the host may use.
const SIZE: u64 = 384;

/// Resident memory that the host may use, in bytes.
pub(super) const MEMORY_LIMIT: u64 = 192 * 1024 * 1024;

const MIB: usize = 1024 * 1024;

/// The number of concurrent uploads, and their size in MiB: several parts.
const AT_ONCE: usize = 48;
const EACH: u64 = 32;

/// One PATCH without `Content-Length`.
#[tokio::test]
async fn a_layer_of_unknown_length() {
    let Some(all) = Instances::start("a_layer_of_unknown_length") else { return };
    let size = std::env::var("ROADSTEAD_LAYER_MIB").map_or(SIZE, |size| size.parse().unwrap());
    // The same MiB repeatedly, which the nodes store once.
    let piece = super::content(7, MIB);
    let mut sha256 = Sha256::new();
    (0..size).for_each(|_| sha256.update(&piece));
    let blob = named(sha256);

    let uploads = format!("/v2/{NAME}/blobs/uploads/");
    let begun = all.ask(0, request("POST", &uploads, &[], Bytes::new())).await;
    let location = header_of(&begun, "location").to_owned();
    let started = Instant::now();
    let address = &all.registries[0].address;
    let location = patch(address, &location, &piece, size).await;
    let end = request("PUT", &closing(&location, &blob), &[], Bytes::new());
    // The store copies it to its final key.
    let ended = roadstead_tests::send(address, end).await.unwrap();
    assert_eq!(ended.status(), 201, "{ended:?}");
    let pushed = started.elapsed();

    // From the instance that serves blobs itself.
    let started = Instant::now();
    let address = &all.registries[1].address;
    let get =
        request("GET", &format!("/v2/{NAME}/blobs/{blob}"), &[("host", address)], Bytes::new());
    let get = get.map(http_body_util::Full::new);
    let mut body = exchange(address, get).await.into_body();
    let (mut sha256, mut came) = (Sha256::new(), 0);
    while let Some(frame) = body.frame().await {
        let bytes = frame.unwrap().into_data().unwrap();
        came += bytes.len() as u64;
        sha256.update(&bytes);
    }
    let pulled = started.elapsed();
    assert_eq!((came, named(sha256)), (size * MIB as u64, blob));
    for (registry, what) in all.registries.iter().zip(["push", "pull"]) {
        let peak = registry.peak_memory().unwrap();
        println!("{size} MiB, {what}: peak memory {} MiB", peak >> 20);
        assert!(peak < MEMORY_LIMIT, "{what}: {peak} bytes of memory");
    }
    println!("{size} MiB: pushed in {pushed:.1?}, pulled in {pulled:.1?}");
}

/// More concurrent uploads than one instance of the component accepts.
#[tokio::test]
async fn many_layers_at_once() {
    let Some(all) = Instances::start("many_layers_at_once") else { return };
    let address = &all.registries[0].address;
    let uploads = format!("/v2/{NAME}/blobs/uploads/");
    let push = |number: usize| {
        let (all, uploads) = (&all, &uploads);
        async move {
            let piece = super::content(100 + number, MIB);
            let mut sha256 = Sha256::new();
            (0..EACH).for_each(|_| sha256.update(&piece));
            let blob = named(sha256);
            let begun = all.ask(0, request("POST", uploads, &[], Bytes::new())).await;
            let location = patch(address, header_of(&begun, "location"), &piece, EACH).await;
            let end = request("PUT", &closing(&location, &blob), &[], Bytes::new());
            let ended = roadstead_tests::send(address, end).await.unwrap();
            assert_eq!(ended.status(), 201, "{ended:?}");
        }
    };
    futures::future::join_all((0..AT_ONCE).map(push)).await;
    let log = all.registries[0].log();
    assert!(!log.contains("ERROR"), "{log}");
}

/// Sends a piece repeatedly, without `Content-Length`; returns the next location.
async fn patch(address: &str, location: &str, piece: &Bytes, times: u64) -> String {
    let piece = piece.clone();
    let pieces = (0..times).map(move |_| Ok::<_, Infallible>(Frame::data(piece.clone())));
    let patch = Request::patch(location).header("host", address);
    let patch = patch.body(StreamBody::new(stream::iter(pieces))).unwrap();
    let answer = exchange(address, patch).await;
    assert_eq!(answer.status(), 202);
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// Sends a request on a new connection; both bodies are streamed.
pub(super) async fn exchange<B>(address: &str, request: Request<B>) -> Response<Incoming>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

/// The digest of a hash.
pub(super) fn named(sha256: Sha256) -> String {
    sha256.finalize().iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
