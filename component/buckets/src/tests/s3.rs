//! Requests to S3 for which object_store has no method.

use super::{Fast, cloud};
use crate::open_uploads::PARTS_REQUESTS;
use crate::{OpenUpload, OpenUploads, S3Operations, SentParts, UploadMarker, Verified};
use async_trait::async_trait;
use http::{Method, StatusCode};
use object_store::client::{HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use object_store::path::Path;
use std::sync::{Arc, Mutex};

const COPIED: &str = "<CopyPartResult><LastModified>2026-01-01T00:00:00Z</LastModified>\
    <ETag>&quot;abc&quot;</ETag></CopyPartResult>";
const FAILED: &str = "<Error><Code>InternalError</Code><Message>again</Message></Error>";

/// A service that gives every request the same response.
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

/// As S3 prints it, but for the names of people.
const UPLOADS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <ListMultipartUploadsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
    <Bucket>bkt</Bucket><KeyMarker></KeyMarker><UploadIdMarker></UploadIdMarker>\
    <NextKeyMarker>p/b</NextKeyMarker><NextUploadIdMarker>i2</NextUploadIdMarker>\
    <Prefix>p/</Prefix><MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>\
    <Upload><Key>p/a</Key><UploadId>i1</UploadId>\
    <Initiator><ID>x</ID><DisplayName>y</DisplayName></Initiator><Owner><ID>x</ID></Owner>\
    <StorageClass>STANDARD</StorageClass><Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload>\
    <Upload><Key>p/b</Key><UploadId>i2</UploadId>\
    <Initiated>2026-01-02T03:04:06Z</Initiated></Upload></ListMultipartUploadsResult>";

const NO_UPLOADS: &str = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>\
    <NextKeyMarker></NextKeyMarker></ListMultipartUploadsResult>";

#[tokio::test]
async fn uploads_are_listed() {
    let list = async |service: Answers, after: Option<&UploadMarker>| {
        s3(service, &[("S3_FORCEPATHSTYLE", "true")]).list_uploads("p/", after, 2).await
    };
    let service = Answers(200, UPLOADS, Arc::default());
    let found = list(service.clone(), None).await.unwrap();
    let upload = |key, id: &str, second| OpenUpload {
        key: Path::from(key),
        id: id.to_owned(),
        initiated: format!("2026-01-02T03:04:0{second}Z").parse().unwrap(),
    };
    assert_eq!(found.uploads, [upload("p/a", "i1", 5), upload("p/b", "i2", 6)]);
    let next = UploadMarker { key: "p/b".to_owned(), id: "i2".to_owned() };
    assert_eq!(found.next.as_ref(), Some(&next));
    let key_only = UploadMarker { id: String::new(), ..next.clone() };
    for after in [&next, &key_only, &UploadMarker::default()] {
        list(service.clone(), Some(after)).await.unwrap();
    }
    let seen = std::mem::take(&mut *service.2.lock().unwrap());
    let paths: Vec<String> =
        seen.iter().map(|seen| seen.uri().path_and_query().unwrap().to_string()).collect();
    let first = "/bkt/?max-uploads=2&prefix=p%2F&uploads=";
    let after = format!("{first}&key-marker=p%2Fb");
    let both = format!("{after}&upload-id-marker=i2");
    assert_eq!(paths, [first.to_owned(), both, after, first.to_owned()]);
    let none = list(Answers(200, NO_UPLOADS, Arc::default()), None).await;
    assert_eq!(none.unwrap(), OpenUploads::default());
    // A store that does not offer it.
    for (status, text) in [(501, FAILED), (400, FAILED), (404, ""), (200, "<html>"), (200, "")] {
        let answers = Answers(status, text, Arc::default());
        assert!(list(answers, None).await.is_err(), "{status} {text}");
    }
}

#[tokio::test]
async fn parts_are_listed_to_the_end() {
    const LAST: &str = "<ListPartsResult><PartNumberMarker>7</PartNumberMarker>\
        <NextPartNumberMarker>9</NextPartNumberMarker><IsTruncated>false</IsTruncated>\
        <Part><PartNumber>8</PartNumber><LastModified>2026-01-02T03:04:09.000Z</LastModified>\
        <ETag>&quot;a&quot;</ETag><Size>5</Size></Part>\
        <Part><PartNumber>9</PartNumber><LastModified>2026-01-02T03:04:05.000Z</LastModified>\
        <ETag>&quot;b&quot;</ETag><Size>6</Size></Part></ListPartsResult>";
    const ENDLESS: &str = "<ListPartsResult><NextPartNumberMarker>9</NextPartNumberMarker>\
        <IsTruncated>true</IsTruncated></ListPartsResult>";
    let list = async |service: Answers, after| {
        s3(service, &[]).sent_parts(&Path::from("k"), &"i/d".to_owned(), after).await
    };
    let service = Answers(200, LAST, Arc::default());
    let newest = Some("2026-01-02T03:04:09Z".parse().unwrap());
    for after in [0, 7] {
        assert_eq!(list(service.clone(), after).await.unwrap(), SentParts { bytes: 11, newest });
    }
    let seen = std::mem::take(&mut *service.2.lock().unwrap());
    assert_eq!(seen[0].uri().path_and_query().unwrap(), "/k?uploadId=i%2Fd");
    let query = "/k?part-number-marker=7&uploadId=i%2Fd";
    assert_eq!(seen[1].uri().path_and_query().unwrap(), query);
    let endless = Answers(200, ENDLESS, Arc::default());
    assert!(list(endless.clone(), 0).await.is_err());
    assert_eq!(endless.2.lock().unwrap().len(), PARTS_REQUESTS);
    let gone = "<Error><Code>NoSuchUpload</Code></Error>";
    let gone = list(Answers(404, gone, Arc::default()), 0).await;
    assert!(matches!(gone, Err(object_store::Error::NotFound { .. })), "{gone:?}");
}
