//! Random requests: no response is a 5xx, and nothing panics.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri};
use roadstead_tests::{Registry, Target};

/// The number of random requests. They share a registry, so later ones see the
/// effects of earlier ones.
const REQUESTS: usize = 20_000;

/// The seed of the random requests.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Valid paths, to be mutated.
const PATHS: [&str; 9] = [
    "/v2/",
    "/v2/_catalog?n=3&last=a",
    "/v2/a/tags/list?n=2&last=b",
    "/v2/a/b/manifests/latest",
    "/v2/a/manifests/DIGEST?tag=x&tag=y",
    "/v2/a/blobs/DIGEST",
    "/v2/a/blobs/uploads/?digest=DIGEST",
    "/v2/a/blobs/uploads/?mount=DIGEST&from=b",
    "/v2/a/referrers/DIGEST?artifactType=x&n=1&last=sha256-00",
];

/// Pieces that are inserted anywhere.
const PIECES: [&str; 23] = [
    "/",
    "//",
    "%2f",
    "%00",
    "%ff%fe",
    "%",
    "..",
    ".",
    "a",
    "Z",
    "_",
    "-",
    "&n=",
    "&last=%0a",
    "?n=-1",
    "99999999999999999999",
    "sha256:",
    "sha512:",
    "%F0%9F%98%80",
    "%7f",
    "blobs",
    "uploads",
    "=",
];

const BODIES: [&str; 8] = [
    "",
    "x",
    "{}",
    r#"{"schemaVersion":2,"manifests":[]}"#,
    r#"{"schemaVersion":2,"config":{"digest":"sha256:0"},"layers":[]}"#,
    r#"{"schemaVersion":2,"manifests":[],"subject":{"mediaType":"a/b","digest":"DIGEST","size":0}}"#,
    "[[[[[[[[",
    "\u{0}\u{1}\u{2}",
];

const HEADERS: [(&str, &[u8]); 12] = [
    ("content-type", b"application/vnd.oci.image.index.v1+json"),
    ("content-type", b"\xff\xfe"),
    ("content-range", b"0-0"),
    ("content-range", b"18446744073709551615-18446744073709551615"),
    ("content-range", b"bytes 5-1/*"),
    ("range", b"bytes=0-0"),
    ("range", b"bytes=-18446744073709551616"),
    ("range", b"bytes=9-1"),
    ("range", b"\xff"),
    ("if-none-match", b"\"x\", W/\"y\", *"),
    ("content-length", b"nonsense"),
    ("accept", b"\xf0\x9f"),
];

struct Random(fastrand::Rng);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

const SETTINGS: [(&str, &str); 1] = [("REGISTRY_STORAGE_DELETE_ENABLED", "true")];

#[tokio::test]
async fn no_request_is_the_registrys_failure() {
    let root = tempfile::tempdir().unwrap();
    make_up(&Target::native(root.path(), &SETTINGS).unwrap(), REQUESTS).await;
}

#[tokio::test]
async fn nor_is_it_over_a_bucket() {
    make_up(&Target::bucket(&SETTINGS).unwrap(), REQUESTS / 4).await;
}

/// Fewer, as each needs a connection; they test the interface between component
/// and host.
#[tokio::test]
async fn nor_is_it_in_the_host() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &SETTINGS, &[]).unwrap();
    make_up(&Target::Server(host.address.clone()), REQUESTS / 10).await;
}

/// Sends random requests.
async fn make_up(target: &Target, requests: usize) {
    let mut random = Random(fastrand::Rng::with_seed(SEED));
    let mut upload = String::new();
    let mut successes = 0;
    for number in 0..requests {
        let mut path = random.of(&PATHS).replace("DIGEST", DIGEST);
        if random.below(6) == 0 && !upload.is_empty() {
            path = format!("{upload}?digest={DIGEST}");
        }
        for _ in 0..random.below(3) {
            let at = random.below(path.len() + 1);
            if path.is_char_boundary(at) {
                path.insert_str(at, random.of(&PIECES));
            }
        }
        let Ok(uri) = path.parse::<Uri>() else { continue };
        if uri.path().is_empty() {
            continue;
        }
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"];
        let method = Method::from_bytes(random.of(&methods).as_bytes()).unwrap();
        let body = random.of(&BODIES).replace("DIGEST", DIGEST);
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        for _ in 0..random.below(3) {
            let (name, value) = HEADERS[random.below(HEADERS.len())];
            request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let shown = format!("request {number}: {request:?}");
        // Skips what the client refuses to send, or the server to parse.
        let Ok(answer) = target.send(request).await else { continue };
        assert!(!answer.status().is_server_error(), "{shown}: {answer:?}");
        successes += usize::from(answer.status().is_success());
        if answer.status() == 202
            && method == Method::POST
            && let Some(location) = answer.headers().get("location")
        {
            location.to_str().unwrap().clone_into(&mut upload);
        }
    }
    // Otherwise the requests would only have tested the router.
    assert!(successes > requests / 50, "{successes}");
}
