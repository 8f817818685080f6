//! What S3 offers and object_store has no method for.

use crate::RustCrypto;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Error, MultipartId, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use roadstead_config::{Encryption, S3};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io;
use std::ops::Range;

/// How errors name the store, as object_store's do.
const STORE: &str = "S3";

/// Encryption by the store; with more after it, by which key.
const ENCRYPTION: &str = "x-amz-server-side-encryption";

/// Largest answer that is read, in bytes: an error's text.
const ANSWER_LIMIT: usize = 64 * 1024;

/// What signatures leave as it is, in a path.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The same in a query.
const QUERY: &AsciiSet = &PATH.add(b'/');

/// What a store can do beyond object_store's traits.
#[async_trait]
pub trait Extras: fmt::Debug + Send + Sync {
    /// Makes a range of an object a part of a multipart upload, without its
    /// bytes leaving the store. `index` counts from 0, as in
    /// [`object_store::multipart::MultipartStore::put_part`].
    async fn copy_part(
        &self,
        from: &Path,
        range: Range<u64>,
        to: &Path,
        id: &MultipartId,
        index: usize,
    ) -> Result<PartId>;

    /// The head of a request that makes its body an object, with metadata,
    /// unless the body has another SHA-256: then the store refuses it.
    ///
    /// Whether the store does, [`Extras::verifies`] finds out.
    fn put_verified(
        &self,
        key: &Path,
        sha256: &[u8],
        metadata: Option<(&str, &str)>,
    ) -> Result<Parts>;

    /// The head of a request for an object, or for those of its bytes that a
    /// `Range` header names.
    fn get(&self, key: &Path, range: Option<&str>) -> Result<Parts>;

    /// Whether the store refuses a body whose SHA-256 is not the one announced:
    /// it is sent one, to be written to `key`.
    ///
    /// # Errors
    /// When its answer says neither.
    async fn verifies(&self, key: &Path) -> Result<bool>;
}

/// What became of a request of [`Extras::put_verified`], by its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verified {
    /// The object is there.
    Stored,
    /// The body has another hash, and nothing was stored.
    Mismatch,
    /// Nothing was stored for another reason.
    Refused,
}

impl Verified {
    /// Reads an answer, of whose body the beginning is enough.
    pub fn of(status: StatusCode, body: &[u8]) -> Self {
        /// Amazon's codes for it; Garage has but the last.
        const CODES: [&str; 3] = ["XAmzContentSHA256Mismatch", "BadDigest", "InvalidDigest"];
        if status.is_success() {
            return Self::Stored;
        }
        let text = String::from_utf8_lossy(body);
        let named = |code| text.contains(&format!("<Code>{code}</Code>"));
        if status == StatusCode::BAD_REQUEST && CODES.into_iter().any(named) {
            Self::Mismatch
        } else {
            Self::Refused
        }
    }
}

/// Signs requests to S3 and those that speak like it.
pub(crate) struct S3Extras {
    settings: S3,
    credential: AwsCredential,
    client: HttpClient,
    user_agent: HeaderValue,
}

impl fmt::Debug for S3Extras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Extras").field("bucket", &self.settings.bucket).finish_non_exhaustive()
    }
}

impl S3Extras {
    pub(crate) fn new(settings: &S3, client: HttpClient, user_agent: HeaderValue) -> Self {
        let credential = AwsCredential {
            key_id: settings.access_key.clone(),
            secret_key: settings.secret_key.0.clone(),
            token: settings.session_token.as_ref().map(|token| token.0.clone()),
        };
        Self { settings: settings.clone(), credential, client, user_agent }
    }

    /// A signed request without its body, whose SHA-256 is given.
    fn signed(
        &self,
        method: Method,
        (key, query): (&Path, &str),
        headers: Vec<(String, String)>,
        sha256: &[u8],
    ) -> Result<HttpRequest> {
        let S3 { endpoint, bucket, path_style, region, .. } = &self.settings;
        let bucket = if *path_style { format!("/{bucket}") } else { String::new() };
        let uri = format!("{endpoint}{bucket}/{}{query}", utf8_percent_encode(key.as_ref(), PATH));
        let request = Request::builder().method(method).uri(uri);
        let mut request = request.body(HttpRequestBody::empty()).map_err(failed)?;
        for (name, value) in headers {
            let name = HeaderName::try_from(name).map_err(failed)?;
            request.headers_mut().insert(name, HeaderValue::try_from(value).map_err(failed)?);
        }
        AwsAuthorizer::new(&self.credential, "s3", region)
            .with_crypto(&RustCrypto)
            .try_authorize(&mut request, Some(sha256))?;
        request.headers_mut().insert(USER_AGENT, self.user_agent.clone());
        Ok(request)
    }

    /// Sends a request, and reads its answer.
    async fn send(&self, request: HttpRequest) -> Result<(StatusCode, Bytes)> {
        let (head, body) = self.client.execute(request).await.map_err(failed)?.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| Error::Generic { store: STORE, source: error })?;
        Ok((head.status, body.to_bytes()))
    }
}

#[async_trait]
impl Extras for S3Extras {
    async fn copy_part(
        &self,
        from: &Path,
        range: Range<u64>,
        to: &Path,
        id: &MultipartId,
        index: usize,
    ) -> Result<PartId> {
        let (number, id) = (index + 1, utf8_percent_encode(id, QUERY));
        let query = format!("?partNumber={number}&uploadId={id}");
        let from = utf8_percent_encode(from.as_ref(), PATH);
        let last = range.end.saturating_sub(1);
        let headers = [
            ("x-amz-copy-source", format!("/{}/{from}", self.settings.bucket)),
            ("x-amz-copy-source-range", format!("bytes={}-{last}", range.start)),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        let nothing = Sha256::digest([]);
        let request = self.signed(Method::PUT, (to, &query), headers, &nothing)?;
        let (status, body) = self.send(request).await?;
        let text = String::from_utf8_lossy(&body);
        // A copy that fails after its answer has begun is a 200 with an error.
        match quick_xml::de::from_str::<CopyPartResult>(&text) {
            Ok(copied) if status.is_success() => Ok(PartId { content_id: copied.e_tag }),
            _ => Err(failed(io::Error::other(format!("copy of a part: {status}: {text}")))),
        }
    }

    fn put_verified(
        &self,
        key: &Path,
        sha256: &[u8],
        metadata: Option<(&str, &str)>,
    ) -> Result<Parts> {
        let mut headers = match &self.settings.encryption {
            Encryption::Default => vec![],
            Encryption::Store => vec![(ENCRYPTION.to_owned(), "AES256".to_owned())],
            Encryption::Key(key) => {
                let by_key = (ENCRYPTION.to_owned(), "aws:kms".to_owned());
                vec![by_key, (format!("{ENCRYPTION}-aws-kms-key-id"), key.clone())]
            }
        };
        headers
            .extend(metadata.map(|(name, value)| (format!("x-amz-meta-{name}"), value.to_owned())));
        Ok(self.signed(Method::PUT, (key, ""), headers, sha256)?.into_parts().0)
    }

    fn get(&self, key: &Path, range: Option<&str>) -> Result<Parts> {
        let headers = range.map(|range| ("range".to_owned(), range.to_owned()));
        let (headers, nothing) = (headers.into_iter().collect(), Sha256::digest([]));
        Ok(self.signed(Method::GET, (key, ""), headers, &nothing)?.into_parts().0)
    }

    async fn verifies(&self, key: &Path) -> Result<bool> {
        const TEXT: &[u8] = b"Made to find out whether this store refuses it.\n";
        let head = self.put_verified(key, &Sha256::digest([]), None)?;
        let request = HttpRequest::from_parts(head, HttpRequestBody::from(TEXT.to_vec()));
        let (status, body) = self.send(request).await?;
        match Verified::of(status, &body) {
            Verified::Mismatch => Ok(true),
            Verified::Stored => Ok(false),
            Verified::Refused => {
                let text = String::from_utf8_lossy(&body);
                Err(failed(io::Error::other(format!("{status}: {text}"))))
            }
        }
    }
}

/// The answer to a copy of a part.
#[derive(Deserialize)]
struct CopyPartResult {
    #[serde(rename = "ETag")]
    e_tag: String,
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: STORE, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::{Extras, Verified};
    use crate::Clock;
    use async_trait::async_trait;
    use futures::future::BoxFuture;
    use http::{Method, StatusCode};
    use object_store::client::{
        HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    };
    use object_store::path::Path;
    use roadstead_config::Config;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    const COPIED: &str = "<CopyPartResult><LastModified>2026-01-01T00:00:00Z</LastModified>\
        <ETag>&quot;abc&quot;</ETag></CopyPartResult>";
    const FAILED: &str = "<Error><Code>InternalError</Code><Message>again</Message></Error>";

    /// Gives one answer to all.
    #[derive(Clone, Debug)]
    struct Answers(u16, &'static str, Arc<Mutex<Vec<HttpRequest>>>);

    #[async_trait]
    impl HttpService for Answers {
        async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
            self.2.lock().unwrap().push(request);
            let body = HttpResponseBody::from(self.1.as_bytes().to_vec());
            let mut response = HttpResponse::new(body);
            *response.status_mut() = StatusCode::from_u16(self.0).unwrap();
            Ok(response)
        }
    }

    #[derive(Clone, Debug)]
    struct NoClock;

    impl Clock for NoClock {
        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(async {})
        }
    }

    fn extras(service: Answers, settings: &[(&str, &str)]) -> Arc<dyn Extras> {
        let basic = [("BUCKET", "bkt"), ("REGION", "r"), ("ACCESSKEY", "k"), ("SECRETKEY", "s")];
        let settings = basic.iter().chain(settings);
        let settings = settings
            .map(|(name, value)| (format!("REGISTRY_STORAGE_S3_{name}"), (*value).to_owned()));
        let config = Config::from_variables(settings).unwrap();
        crate::open(&config.cloud.unwrap(), service, NoClock).unwrap().extras.unwrap()
    }

    fn silent() -> Answers {
        Answers(200, "", Arc::default())
    }

    #[test]
    fn objects_are_addressed_and_their_hash_is_signed() {
        let key = Path::from("some/k+y");
        for (settings, uri) in [
            (&[][..], "https://bkt.s3.r.amazonaws.com/some/k%2By"),
            (&[("REGIONENDPOINT", "http://127.0.0.1:9")], "http://127.0.0.1:9/bkt/some/k%2By"),
        ] {
            let extras = extras(silent(), settings);
            let head = extras.put_verified(&key, &[0xab; 32], Some(("repository", "a/b"))).unwrap();
            assert_eq!((head.method, head.uri.to_string()), (Method::PUT, uri.to_owned()));
            assert_eq!(head.headers["x-amz-content-sha256"], "ab".repeat(32));
            assert_eq!(head.headers["x-amz-meta-repository"], "a/b");
            let signed = head.headers["authorization"].to_str().unwrap();
            for name in ["host;", "x-amz-content-sha256;", "x-amz-meta-repository"] {
                assert!(signed.contains(name), "{signed}");
            }
            let head = extras.get(&key, Some("bytes=1-2")).unwrap();
            assert_eq!((head.method, head.uri.to_string()), (Method::GET, uri.to_owned()));
            assert_eq!(head.headers["range"], "bytes=1-2");
        }
        for (settings, expected) in [
            (&[("ENCRYPT", "true")][..], [Some("AES256"), None]),
            (&[("ENCRYPT", "true"), ("KEYID", "id")], [Some("aws:kms"), Some("id")]),
        ] {
            let head = extras(silent(), settings).put_verified(&key, &[0; 32], None).unwrap();
            let name = "x-amz-server-side-encryption";
            let names = [name.to_owned(), format!("{name}-aws-kms-key-id")];
            let found = names.map(|name| head.headers.get(name).cloned());
            assert_eq!(found.each_ref().map(|v| v.as_ref().map(|v| v.to_str().unwrap())), expected);
        }
    }

    #[tokio::test]
    async fn parts_are_copied() {
        let copy = async |service: Answers| {
            let extras = extras(service, &[]);
            let (from, to, id) = (Path::from("from here"), Path::from("to"), "a/b=".to_owned());
            extras.copy_part(&from, 5..9, &to, &id, 2).await
        };
        let service = Answers(200, COPIED, Arc::default());
        assert_eq!(copy(service.clone()).await.unwrap().content_id, "\"abc\"");
        let seen = std::mem::take(&mut *service.2.lock().unwrap());
        assert_eq!(seen[0].uri().path_and_query().unwrap(), "/to?partNumber=3&uploadId=a%2Fb%3D");
        assert_eq!(seen[0].headers()["x-amz-copy-source"], "/bkt/from%20here");
        assert_eq!(seen[0].headers()["x-amz-copy-source-range"], "bytes=5-8");
        // An error may come after the answer has begun.
        for (status, body) in [(200, FAILED), (200, ""), (404, COPIED), (503, FAILED)] {
            assert!(copy(Answers(status, body, Arc::default())).await.is_err(), "{status} {body}");
        }
    }

    #[tokio::test]
    async fn whether_a_store_verifies() {
        let mismatch = "<Error><Code>XAmzContentSHA256Mismatch</Code></Error>";
        for (status, body, expected, verifies) in [
            (200, "", Verified::Stored, Some(false)),
            (400, mismatch, Verified::Mismatch, Some(true)),
            (400, "<Error><Code>InvalidDigest</Code></Error>", Verified::Mismatch, Some(true)),
            (400, "<Error><Code>IncompleteBody</Code></Error>", Verified::Refused, None),
            (403, mismatch, Verified::Refused, None),
            (503, FAILED, Verified::Refused, None),
        ] {
            let status_code = StatusCode::from_u16(status).unwrap();
            assert_eq!(Verified::of(status_code, body.as_bytes()), expected, "{status} {body}");
            let extras = extras(Answers(status, body, Arc::default()), &[]);
            assert_eq!(extras.verifies(&Path::from("probe")).await.ok(), verifies);
        }
    }
}
