//! What the native host is told of what requests change, for its notifications.

use bytes::Bytes;
use http::Request;
use roadstead_bridge::change::{Change, ChangeKind, REFERENCES_LIMIT};
use roadstead_bridge::{Account, Services};
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::images::{IMAGE, INDEX, descriptor, image};
use roadstead_kit::native::{NativeRegistry, NativeStorage};
use serde_json::{Value, json};

const SETTINGS: &[(&str, &str)] = &[("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
const BLOB: &str = "application/octet-stream";

async fn send(
    registry: &NativeRegistry,
    line: &str,
    media_type: &str,
    body: &str,
) -> (u16, Option<Change>, String) {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(path).header("content-type", media_type);
    let request = request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
    let (mut parts, _) = registry.send(request).await.into_parts();
    let location = parts.headers.get("location").map(|at| at.to_str().unwrap().to_owned());
    let change = Account::take(&mut parts.headers).and_then(|account| account.change);
    (parts.status.as_u16(), change, location.unwrap_or_default())
}

fn said(change: Option<Change>) -> Value {
    serde_json::to_value(change).unwrap()
}

fn registries(services: Services) -> [(tempfile::TempDir, NativeRegistry); 2] {
    [false, true].map(|bucket| {
        let root = tempfile::tempdir().unwrap();
        let storage: NativeStorage = if bucket {
            let backend = MemoryBucket::default().backend("");
            CloudStorage::new(backend, Options::default()).into()
        } else {
            let directory = Directory::open(root.path()).unwrap();
            DirectoryStorage(NativeDirectory::new(directory)).into()
        };
        (root, NativeRegistry::offered(storage, SETTINGS, services).unwrap())
    })
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is one table")]
async fn what_requests_change() {
    let services = Services::parse("front,notifications");
    for (_root, registry) in registries(services) {
        let (config, layer) = ("{}", "a layer");
        let digests = [config, layer].map(|text| sha256(text.as_bytes()));
        // A session, and bytes in two requests: only the last one stores something.
        let (status, change, location) =
            send(&registry, "POST /v2/a/blobs/uploads/", BLOB, "").await;
        assert_eq!((status, change), (202, None));
        let (status, change, location) =
            send(&registry, &format!("PATCH {location}"), BLOB, "a la").await;
        assert_eq!((status, change), (202, None));
        let and = if location.contains('?') { '&' } else { '?' };
        let line = format!("PUT {location}{and}digest={}", digests[1]);
        let (status, change, _) = send(&registry, &line, BLOB, "yer").await;
        assert_eq!(status, 201);
        let pushed = |digest: &str, size: usize| {
            json!({
                "kind": "push", "repository": "a", "digest": digest,
                "media_type": BLOB, "size": size,
            })
        };
        assert_eq!(said(change), pushed(digests[1].as_str(), 7));
        let line = format!("POST /v2/a/blobs/uploads/?digest={}", digests[0]);
        let (_, change, _) = send(&registry, &line, BLOB, config).await;
        assert_eq!(said(change), pushed(digests[0].as_str(), 2));

        let manifest = image(config, layer).to_string();
        let digest = sha256(manifest.as_bytes());
        let references = [descriptor("", config), descriptor("", layer)];
        let (status, change, _) = send(&registry, "PUT /v2/a/manifests/v1", IMAGE, &manifest).await;
        assert_eq!(status, 201);
        let change = change.unwrap();
        for (reference, expected) in change.references.iter().zip(&references) {
            assert_eq!(json!(reference.digest), expected["digest"]);
            assert_eq!(json!(reference.size), expected["size"]);
        }
        assert_eq!(change.references.len(), 2);
        let expected = Change {
            kind: ChangeKind::Push,
            repository: "a".to_owned(),
            digest: Some(digest.to_string()),
            media_type: Some(IMAGE.to_owned()),
            size: Some(manifest.len() as u64),
            tags: vec!["v1".to_owned()],
            from: None,
            references: change.references.clone(),
        };
        assert_eq!(change, expected);
        let line = format!("PUT /v2/a/manifests/{digest}?tag=v2&tag=v3");
        let (_, change, _) = send(&registry, &line, IMAGE, &manifest).await;
        assert_eq!(change.unwrap().tags, ["v2", "v3"]);

        // A mount that happens, and one that becomes an upload.
        let line = format!("POST /v2/b/blobs/uploads/?mount={}&from=a", digests[1]);
        let (status, change, _) = send(&registry, &line, BLOB, "").await;
        let mounted = json!({
            "kind": "mount", "repository": "b", "digest": digests[1].as_str(),
            "media_type": BLOB, "from": "a",
        });
        assert_eq!((status, said(change)), (201, mounted));
        let line = format!("POST /v2/b/blobs/uploads/?mount={}&from=c", digests[1]);
        assert_eq!(send(&registry, &line, BLOB, "").await.1, None);

        for (path, digest, tags) in [
            ("manifests/v1".to_owned(), None, json!(["v1"])),
            (format!("manifests/{digest}"), Some(&digest), Value::Null),
            (format!("blobs/{}", digests[1]), Some(&digests[1]), Value::Null),
            ("_roadstead/repository".to_owned(), None, Value::Null),
        ] {
            let line = format!("DELETE /v2/a/{path}");
            let (status, change, _) = send(&registry, &line, BLOB, "").await;
            assert_eq!(status, 202, "{line}");
            let change = said(change);
            assert_eq!(change["kind"], "delete", "{line}");
            assert_eq!(change["repository"], "a", "{line}");
            assert_eq!(change["tags"], tags, "{line}");
            assert_eq!(
                change["digest"],
                json!(digest.map(roadstead_oci::Digest::as_str)),
                "{line}"
            );
            // Once more: there is nothing any longer.
            let (status, change, _) = send(&registry, &line, BLOB, "").await;
            assert_eq!((status, change), (404, None), "{line}");
        }
        // What is read, and what is refused, changes nothing.
        for (line, body) in [
            ("GET /v2/b/tags/list", ""),
            ("PUT /v2/b/manifests/v1", "{}"),
            ("DELETE /v2/b/manifests/v1", ""),
        ] {
            assert_eq!(send(&registry, line, IMAGE, body).await.1, None, "{line}");
        }
    }
}

/// A host that sends no notifications is not told.
#[tokio::test]
async fn nobody_is_told_in_vain() {
    for services in ["", "front", "notifications"].map(Services::parse) {
        for (_root, registry) in registries(services) {
            let line = format!("POST /v2/a/blobs/uploads/?digest={}", sha256(b"x"));
            let (status, change, _) = send(&registry, &line, BLOB, "x").await;
            assert_eq!((status, change), (201, None), "{services}");
        }
    }
}

#[tokio::test]
async fn references_are_bounded() {
    let services = Services::parse("front,notifications");
    for (_root, registry) in registries(services) {
        let child = |number: usize| descriptor(IMAGE, &number.to_string());
        let each = serde_json::to_string(&child(1)).unwrap().len();
        for (count, listed) in [(100, 100), (REFERENCES_LIMIT / each + 100, 0)] {
            let children: Vec<Value> = (0..count).map(child).collect();
            let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
            let line = "PUT /v2/a/manifests/v1";
            let (status, change, _) = send(&registry, line, INDEX, &index.to_string()).await;
            assert_eq!(status, 201);
            assert_eq!(change.unwrap().references.len(), listed);
        }
    }
}
