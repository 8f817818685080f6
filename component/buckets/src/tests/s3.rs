//! Requests to S3 for which object_store has no method.

use super::{Fast, cloud};
use crate::{S3Operations, Verified};
use async_trait::async_trait;
use http::{Method, StatusCode};
use object_store::client::{HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use object_store::path::Path;
use std::sync::{Arc, Mutex};

const COPIED: &str = "<CopyPartResult><LastModified>2026-01-01T00:00:00Z</LastModified>\
    <ETag>&quot;abc&quot;</ETag></CopyPartResult>";
pub(super) const FAILED: &str = "<Error><Code>InternalError</Code><Message>again</Message></Error>";

/// A service that gives every request the same response.
#[derive(Clone, Debug)]
pub(super) struct Answers(
    pub(super) u16,
    pub(super) &'static str,
    pub(super) Arc<Mutex<Vec<HttpRequest>>>,
);

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

fn s3(service: Answers, settings: &[(&str, &str)]) -> Arc<dyn S3Operations> {
    let basic =
        [("S3_BUCKET", "bkt"), ("S3_REGION", "r"), ("S3_ACCESSKEY", "k"), ("S3_SECRETKEY", "s")];
    let cloud = cloud(&[&basic, settings].concat());
    crate::open(&cloud, service, Fast::default(), None).unwrap().s3.unwrap()
}

fn silent() -> Answers {
    Answers(200, "", Arc::default())
}

#[tokio::test]
async fn objects_are_addressed_and_their_hash_is_signed() {
    let key = Path::from("some/k+y");
    for (settings, uri) in [
        (&[][..], "https://bkt.s3.r.amazonaws.com/some/k%2By"),
        (&[("S3_REGIONENDPOINT", "http://127.0.0.1:9")], "http://127.0.0.1:9/bkt/some/k%2By"),
    ] {
        let s3 = s3(silent(), settings);
        let head = s3.put_verified(&key, &[0xab; 32], Some(("repository", "a/b"))).await.unwrap();
        assert_eq!((head.method, head.uri.to_string()), (Method::PUT, uri.to_owned()));
        assert_eq!(head.headers["x-amz-content-sha256"], "ab".repeat(32));
        assert_eq!(head.headers["x-amz-meta-repository"], "a/b");
        let signed = head.headers["authorization"].to_str().unwrap();
        for name in ["host;", "x-amz-content-sha256;", "x-amz-meta-repository"] {
            assert!(signed.contains(name), "{signed}");
        }
        let head = s3.get(&key, Some("bytes=1-2")).await.unwrap();
        assert_eq!((head.method, head.uri.to_string()), (Method::GET, uri.to_owned()));
        assert_eq!(head.headers["range"], "bytes=1-2");
    }
    for (settings, expected) in [
        (&[("S3_ENCRYPT", "true")][..], [Some("AES256"), None]),
        (&[("S3_ENCRYPT", "true"), ("S3_KEYID", "id")], [Some("aws:kms"), Some("id")]),
    ] {
        let head = s3(silent(), settings).put_verified(&key, &[0; 32], None).await.unwrap();
        let name = "x-amz-server-side-encryption";
        let names = [name.to_owned(), format!("{name}-aws-kms-key-id")];
        let found = names.map(|name| head.headers.get(name).cloned());
        assert_eq!(found.each_ref().map(|v| v.as_ref().map(|v| v.to_str().unwrap())), expected);
    }
}

#[tokio::test]
async fn parts_are_copied() {
    let copy = async |service: Answers| {
        let s3 = s3(service, &[]);
        let (from, to, id) = (Path::from("from here"), Path::from("to"), "a/b=".to_owned());
        s3.copy_part(&from, 5..9, &to, &id, 2).await
    };
    let service = Answers(200, COPIED, Arc::default());
    assert_eq!(copy(service.clone()).await.unwrap().content_id, "\"abc\"");
    let seen = std::mem::take(&mut *service.2.lock().unwrap());
    assert_eq!(seen[0].uri().path_and_query().unwrap(), "/to?partNumber=3&uploadId=a%2Fb%3D");
    assert_eq!(seen[0].headers()["x-amz-copy-source"], "/bkt/from%20here");
    assert_eq!(seen[0].headers()["x-amz-copy-source-range"], "bytes=5-8");
    // An error may follow after the response has begun.
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
        let s3 = s3(Answers(status, body, Arc::default()), &[]);
        assert_eq!(s3.verifies(&Path::from("probe")).await.ok(), verifies);
    }
}
