//! Lists of multipart uploads, of S3 and of Google's XML API.

use super::s3::{Answers, FAILED};
use super::{Fast, RSA_KEY, cloud};
use crate::open_uploads::PARTS_REQUESTS;
use crate::{OpenUpload, OpenUploads, SentParts, UploadLists, UploadMarker};
use object_store::client::HttpRequest;
use object_store::path::Path;
use std::sync::Arc;

/// The service that has the lists of a bucket `bkt`.
#[derive(Clone, Copy)]
enum Of {
    Amazon,
    Google,
}

fn lists(of: Of, service: Answers) -> Arc<dyn UploadLists> {
    let cloud = match of {
        Of::Amazon => cloud(&[
            ("S3_BUCKET", "bkt"),
            ("S3_REGION", "r"),
            ("S3_ACCESSKEY", "k"),
            ("S3_SECRETKEY", "s"),
            ("S3_FORCEPATHSTYLE", "true"),
        ]),
        Of::Google => {
            let key = serde_json::json!({
                "type": "service_account",
                "private_key": RSA_KEY,
                "private_key_id": "1",
                "client_email": "registry@project.iam.gserviceaccount.com",
            });
            cloud(&[("GCS_BUCKET", "bkt"), ("GCS_CREDENTIALS", &key.to_string())])
        }
    };
    crate::open(&cloud, service, Fast::default(), None).unwrap().uploads.unwrap()
}

/// The requests that a service has seen, by their paths and queries.
fn paths(of: Of, service: &Answers) -> Vec<String> {
    let (host, scheme) = match of {
        Of::Amazon => ("s3.r.amazonaws.com", "AWS4-HMAC-SHA256 "),
        Of::Google => ("storage.googleapis.com", "Bearer ey"),
    };
    let path_of = |request: HttpRequest| {
        assert_eq!(request.uri().host(), Some(host));
        assert!(request.headers()["authorization"].to_str().unwrap().starts_with(scheme));
        request.uri().path_and_query().unwrap().to_string()
    };
    std::mem::take(&mut *service.2.lock().unwrap()).into_iter().map(path_of).collect()
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
    for of in [Of::Amazon, Of::Google] {
        let list = async |service: Answers, after: Option<&UploadMarker>| {
            lists(of, service).list_uploads("p/", after, 2).await
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
        let first = "/bkt/?max-uploads=2&prefix=p%2F&uploads=";
        let after = format!("{first}&key-marker=p%2Fb");
        let both = format!("{after}&upload-id-marker=i2");
        assert_eq!(paths(of, &service), [first.to_owned(), both, after, first.to_owned()]);
        let none = list(Answers(200, NO_UPLOADS, Arc::default()), None).await;
        assert_eq!(none.unwrap(), OpenUploads::default());
        // A store that does not offer it.
        for (status, text) in [(501, FAILED), (400, FAILED), (404, ""), (200, "<html>"), (200, "")]
        {
            let answers = Answers(status, text, Arc::default());
            assert!(list(answers, None).await.is_err(), "{status} {text}");
        }
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
    for of in [Of::Amazon, Of::Google] {
        let list = async |service: Answers, after| {
            lists(of, service).sent_parts(&Path::from("a k"), &"i/d".to_owned(), after).await
        };
        let service = Answers(200, LAST, Arc::default());
        let newest = Some("2026-01-02T03:04:09Z".parse().unwrap());
        for after in [0, 7] {
            assert_eq!(
                list(service.clone(), after).await.unwrap(),
                SentParts { bytes: 11, newest }
            );
        }
        let queries = ["uploadId=i%2Fd", "part-number-marker=7&uploadId=i%2Fd"];
        assert_eq!(paths(of, &service), queries.map(|query| format!("/bkt/a%20k?{query}")));
        let endless = Answers(200, ENDLESS, Arc::default());
        assert!(list(endless.clone(), 0).await.is_err());
        assert_eq!(endless.2.lock().unwrap().len(), PARTS_REQUESTS);
        let gone = "<Error><Code>NoSuchUpload</Code></Error>";
        let gone = list(Answers(404, gone, Arc::default()), 0).await;
        assert!(matches!(gone, Err(object_store::Error::NotFound { .. })), "{gone:?}");
    }
}
