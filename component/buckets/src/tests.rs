//! Which requests are retried; cryptography against known values.

mod open_uploads;
mod s3;

use crate::{
    Client, Clock, MAX_ATTEMPTS, Refusal, RustCrypto, honours_conditions, is_readable,
    is_unavailable, open,
};
use async_trait::async_trait;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, StatusCode};
use object_store::ObjectStoreExt as _;
use object_store::client::{
    CryptoProvider as _, DigestAlgorithm, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService, SigningAlgorithm,
};
use object_store::multipart::PartId;
use object_store::path::Path;
use roadstead_config::{Cloud, Config};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The outcome of a request to a service.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Status(u16),
    After(u16, u64),
    Refused(u16, &'static str),
    Failure(HttpErrorKind),
}

use Outcome::{After, Failure, Refused, Status};

/// A service that gives each request the same outcome, and records them.
#[derive(Clone, Debug)]
struct Always(Outcome, Arc<Mutex<Vec<HttpRequest>>>);

#[async_trait]
impl HttpService for Always {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.1.lock().unwrap().push(request);
        let mut response = HttpResponse::new(HttpResponseBody::from(Vec::new()));
        match self.0 {
            Status(status) => *response.status_mut() = StatusCode::from_u16(status).unwrap(),
            After(status, seconds) => {
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response.headers_mut().insert("retry-after", seconds.into());
            }
            Refused(status, body) => {
                response = HttpResponse::new(HttpResponseBody::from(body.as_bytes().to_vec()));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
            }
            Failure(kind) => {
                return Err(HttpError::new(kind, std::io::Error::other("as configured")));
            }
        }
        Ok(response)
    }
}

/// A clock that does not wait, and records the requested times.
#[derive(Clone, Debug, Default)]
struct Fast(Arc<Mutex<Vec<Duration>>>);

impl Clock for Fast {
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap().push(time);
        Box::pin(async {})
    }
}

const PLAIN: &[(&str, &str)] = &[];
const CREATE: &[(&str, &str)] = &[("if-none-match", "*")];
const GCS_CREATE: &[(&str, &str)] = &[("x-goog-if-generation-match", "0")];
const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];

/// How often a request is sent, and the pauses between attempts.
async fn attempts(
    method: &Method,
    headers: &[(&'static str, &'static str)],
    outcome: Outcome,
    conflicts_end: bool,
) -> (usize, Vec<Duration>) {
    let (seen, clock) = (Arc::default(), Fast::default());
    let service = Always(outcome, Arc::clone(&seen));
    let agent = HeaderValue::from_static("a test");
    let client = Client::new(service, clock.clone(), agent, conflicts_end, "s3://a");
    let mut request = HttpRequest::new(HttpRequestBody::from(b"body".to_vec()));
    *request.method_mut() = method.clone();
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    let _ = client.call(request).await;
    let seen = seen.lock().unwrap();
    for request in seen.iter() {
        assert_eq!(request.headers()["user-agent"], "a test");
        assert_eq!(request.body().as_bytes().unwrap().as_ref(), b"body");
    }
    let pauses = clock.0.lock().unwrap().clone();
    (seen.len(), pauses)
}

#[tokio::test]
async fn safe_requests_are_retried() {
    let all = MAX_ATTEMPTS as usize;
    let (get, put, post, delete) = (Method::GET, Method::PUT, Method::POST, Method::DELETE);
    for (method, headers, outcome, expected) in [
        (&get, PLAIN, Status(200), 1),
        (&get, PLAIN, Status(404), 1),
        (&get, PLAIN, Status(403), 1),
        (&get, PLAIN, Status(501), 1),
        (&get, PLAIN, Status(500), all),
        (&get, PLAIN, Status(503), all),
        (&get, CREATE, Status(500), all),
        (&get, PLAIN, Failure(HttpErrorKind::Timeout), all),
        (&get, PLAIN, Failure(HttpErrorKind::Interrupted), all),
        (&get, PLAIN, Failure(HttpErrorKind::Unknown), 1),
        (&get, PLAIN, Failure(HttpErrorKind::Decode), 1),
        (&put, PLAIN, Status(500), all),
        (&put, PLAIN, Status(409), 1),
        (&put, PLAIN, Failure(HttpErrorKind::Interrupted), all),
        (&delete, PLAIN, Failure(HttpErrorKind::Interrupted), all),
        // The first attempt may have succeeded; a retry would report that the
        // object exists.
        (&put, CREATE, Status(500), 1),
        (&put, CREATE, Failure(HttpErrorKind::Interrupted), 1),
        (&put, GCS_CREATE, Failure(HttpErrorKind::Timeout), 1),
        (&put, CREATE, Status(412), 1),
        // The first attempt was not applied.
        (&put, CREATE, Status(503), all),
        (&put, CREATE, Status(409), all),
        (&put, CREATE, Failure(HttpErrorKind::Connect), all),
        (&post, PLAIN, Status(500), 1),
        (&post, FORM, Status(500), all),
        (&post, FORM, Status(400), 1),
        (&post, PLAIN, Failure(HttpErrorKind::Interrupted), 1),
        (&post, PLAIN, Status(429), all),
        (&post, PLAIN, Failure(HttpErrorKind::Connect), all),
    ] {
        let (seen, pauses) = attempts(method, headers, outcome, true).await;
        assert_eq!(seen, expected, "{method} {headers:?} {outcome:?}");
        assert_eq!(pauses.len(), expected - 1);
    }
    // On Azure, 409 means that the object exists.
    assert_eq!(attempts(&put, CREATE, Status(409), false).await.0, 1);
}

/// The settings of a store that is never contacted.
fn cloud(settings: &[(&str, &str)]) -> Cloud {
    let settings = settings
        .iter()
        .map(|(name, value)| (format!("REGISTRY_STORAGE_{name}"), (*value).to_owned()));
    Config::from_variables(settings).unwrap().cloud.unwrap()
}

const RSA_KEY: &str = include_str!("../../access/src/tests/data/rsa.key");

/// Settings of a store of each kind.
const STORES: [&[(&str, &str)]; 3] = [
    &[("S3_BUCKET", "abc"), ("S3_REGION", "r"), ("S3_ACCESSKEY", "k"), ("S3_SECRETKEY", "s")],
    &[("AZURE_CONTAINER", "abc"), ("AZURE_ACCOUNTNAME", "n"), ("AZURE_ACCOUNTKEY", "a2V5")],
    &[
        ("GCS_BUCKET", "abc"),
        ("GCS_CREDENTIALS_PRIVATE_KEY", RSA_KEY),
        ("GCS_CREDENTIALS_PRIVATE_KEY_ID", "1"),
        ("GCS_CREDENTIALS_CLIENT_EMAIL", "a@b"),
    ],
];

/// Unavailability is detected below all errors that object_store's clients wrap
/// around it.
#[tokio::test]
async fn unavailability_is_detected() {
    for (outcome, expected) in [
        (Status(429), true),
        (Status(502), true),
        (Status(503), true),
        (Status(504), true),
        (Status(507), true),
        (Status(401), true),
        (Status(403), true),
        (Status(400), false),
        (Status(404), false),
        (Status(500), false),
        (Failure(HttpErrorKind::Connect), true),
        (Failure(HttpErrorKind::Timeout), true),
        (Failure(HttpErrorKind::Interrupted), true),
        (Failure(HttpErrorKind::Decode), false),
        (Failure(HttpErrorKind::Unknown), false),
    ] {
        for settings in STORES {
            let service = Always(outcome, Arc::default());
            let bucket = open(&cloud(settings), service, Fast::default(), None).unwrap().bucket;
            let key = Path::from("a");
            for error in [
                bucket.head(&key).await.unwrap_err(),
                bucket.put(&key, "content".into()).await.unwrap_err(),
                bucket.copy(&key, &Path::from("b")).await.unwrap_err(),
                bucket.list_with_delimiter(None).await.unwrap_err(),
                bucket.put_part(&key, &String::new(), 0, "part".into()).await.unwrap_err(),
            ] {
                assert_eq!(is_unavailable(&error), expected, "{outcome:?}: {error:?}");
                let missing = matches!(Refusal::cause_of(&error), Some(Refusal::MissingParts(_)));
                assert!(!missing, "{error:?}");
            }
        }
    }
}

/// An object that is missing is an answer; a bucket that is missing, or that the
/// registry may not use, is a failure, and the log says what to do about it.
#[tokio::test]
async fn buckets_that_do_not_serve() {
    for (status, code, remedy) in [
        (404, "NoSuchBucket", "the bucket does not exist"),
        (404, "ContainerNotFound", "the bucket does not exist"),
        (404, "NoSuchKey", ""),
        (404, "BlobNotFound", ""),
        (404, "", ""),
        (401, "InvalidAuthenticationInfo", "does not accept the credentials"),
        (403, "AccessDenied", "let these credentials list the bucket"),
        (403, "QuotaExceeded", "make room in it"),
        (400, "XMinioAdminBucketQuotaExceeded", "make room in it"),
        (400, "ExpiredToken", "temporary credentials have expired"),
        (400, "InvalidToken", "temporary credentials have expired"),
        (507, "XMinioStorageFull", "make room in it"),
    ] {
        let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
        for settings in STORES {
            let service = Always(Refused(status, Box::leak(body.clone().into())), Arc::default());
            let bucket = open(&cloud(settings), service, Fast::default(), None).unwrap().bucket;
            let key = Path::from("a");
            let missing = bucket.get(&key).await.unwrap_err();
            let is_answer = matches!(missing, object_store::Error::NotFound { .. });
            assert_eq!(is_answer, remedy.is_empty(), "{status} {code}: {missing}");
            for error in [
                missing,
                bucket.put(&key, "content".into()).await.unwrap_err(),
                bucket.list_with_delimiter(None).await.unwrap_err(),
            ] {
                assert_eq!(is_unavailable(&error), !remedy.is_empty(), "{status} {code}: {error}");
                let is_full = Refusal::cause_of(&error).is_some_and(Refusal::is_full);
                assert_eq!(is_full, remedy == "make room in it", "{status} {code}: {error}");
                if remedy.is_empty() {
                    continue;
                }
                let (text, setting) =
                    (error.to_string(), format!("REGISTRY_STORAGE_{}", settings[0].0));
                for part in [remedy, "://abc", setting.as_str(), code] {
                    assert!(text.contains(part), "{text}: {part}");
                }
            }
        }
    }
}

/// A service that refuses writes, and answers reads like this.
#[derive(Clone, Debug)]
struct ReadOnly {
    write: u16,
    read: u16,
}

#[async_trait]
impl HttpService for ReadOnly {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let writes = *request.method() == Method::PUT;
        let status = if writes { self.write } else { self.read };
        let body = "<Error><Code>Any</Code></Error>".as_bytes().to_vec();
        let mut response = HttpResponse::new(HttpResponseBody::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(response)
    }
}

#[tokio::test]
async fn a_bucket_that_can_only_be_read() {
    for (write, read, expected) in [
        (403, 404, true),
        (507, 404, true),
        (403, 403, false),
        (401, 404, false),
        (503, 404, false),
        (500, 404, false),
    ] {
        let service = ReadOnly { write, read };
        let bucket = open(&cloud(STORES[0]), service, Fast::default(), None).unwrap().bucket;
        let root = Path::from("root");
        let reason = honours_conditions(&*bucket, &root).await.unwrap_err();
        assert_eq!(is_readable(&*bucket, &root, &reason).await, expected, "{write} {read}");
    }
}

/// S3 and GCS name the part, Azure the list of blocks.
#[tokio::test]
async fn parts_that_a_store_does_not_have() {
    for (status, code, expected) in [
        (400, "InvalidPart", true),
        (400, "InvalidBlockList", true),
        (400, "InvalidPartOrder", false),
        (400, "EntityTooSmall", false),
        (405, "InvalidPart", false),
        (404, "NoSuchUpload", false),
    ] {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>InvalidPart</Message></Error>"
        );
        for settings in STORES {
            let service = Always(Refused(status, Box::leak(body.clone().into())), Arc::default());
            let bucket = open(&cloud(settings), service, Fast::default(), None).unwrap().bucket;
            let parts = vec![PartId { content_id: "1".to_owned() }];
            let (key, id) = (Path::from("a"), "id".to_owned());
            let error = bucket.complete_multipart(&key, &id, parts).await.unwrap_err();
            let missing = matches!(Refusal::cause_of(&error), Some(Refusal::MissingParts(_)));
            assert_eq!(missing, expected, "{status} {code}: {error:?}");
            // The log has the response.
            assert!(error.to_string().contains(&format!("<Code>{code}</Code>")), "{error}");
            assert!(!is_unavailable(&error));
        }
    }
}

#[tokio::test]
async fn pauses_between_attempts() {
    let (_, pauses) = attempts(&Method::GET, PLAIN, Status(500), true).await;
    for (pause, most) in pauses.iter().zip([100, 200, 400]) {
        let range = Duration::from_millis(most / 2)..=Duration::from_millis(most);
        assert!(range.contains(pause), "{pauses:?}");
    }
    let (seen, pauses) = attempts(&Method::GET, PLAIN, After(503, 1), true).await;
    assert_eq!((seen, pauses), (4, vec![Duration::from_secs(1); 3]));
    // Too long: the registry's client is asked to wait instead.
    assert_eq!(attempts(&Method::GET, PLAIN, After(503, 60), true).await.0, 1);
}

/// Known values: RFC 4231, test case 2, and FIPS 180-2.
#[test]
fn digests_and_codes() {
    let mut digest = RustCrypto.digest(DigestAlgorithm::Sha256).unwrap();
    digest.update(b"a");
    digest.update(b"bc");
    assert_eq!(
        hex(digest.finish().unwrap()),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let mut mac = RustCrypto.hmac(DigestAlgorithm::Sha256, b"Jefe").unwrap();
    mac.update(b"what do ya want ");
    mac.update(b"for nothing?");
    assert_eq!(
        hex(mac.finish().unwrap()),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn signatures() {
    let signer = RustCrypto.sign(SigningAlgorithm::RS256, RSA_KEY.as_bytes()).unwrap();
    let signature = signer.sign(b"header.claims").unwrap();
    assert_eq!(signature.len(), 256);
    // The padding of PKCS #1 is deterministic.
    assert_eq!(signature, signer.sign(b"header.claims").unwrap());
    assert_ne!(signature, signer.sign(b"header.claim").unwrap());
    assert!(RustCrypto.sign(SigningAlgorithm::RS256, b"no key").is_err());
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}
