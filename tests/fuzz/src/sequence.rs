//! Sequences of requests against a model of a registry: over a bucket or a
//! directory, each response is the model's.

use crate::requests::registry;
use bytes::Bytes;
use futures::executor::block_on;
use http::{HeaderMap, Request, Response};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::NativeRegistry;
use roadstead_kit::requests::digest;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Most requests of one input.
const REQUESTS: usize = 64;

const DELETE: [(&str, &str); 1] = [("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
const REPOSITORIES: [&str; 2] = ["a", "a/b"];
const TAGS: [&str; 3] = ["latest", "1.0", "_uploads"];
const BLOBS: [&str; 4] = ["zero", "the first blob", "another, which is longer", "3333"];
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A manifest, with the blobs that it needs.
struct Manifest {
    bytes: Bytes,
    digest: String,
    media_type: &'static str,
    blobs: Vec<usize>,
    subject: Option<usize>,
}

fn manifests() -> Vec<Manifest> {
    let mut made: Vec<Manifest> = Vec::new();
    for (blobs, children, subject) in [
        (vec![0, 1], vec![], None),
        (vec![1, 2], vec![], None),
        (vec![0, 2], vec![], Some(0)),
        (vec![], vec![0, 1], None),
        (vec![], vec![], Some(3)),
    ] {
        let blob = |index: &usize| {
            let blob = BLOBS[*index];
            json!({ "mediaType": "a/b", "digest": digest(blob.as_bytes()), "size": blob.len() })
        };
        let manifest = |index: &usize| {
            let Manifest { bytes, digest, media_type, .. } = &made[*index];
            json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
        };
        let image = !blobs.is_empty();
        let media_type = if image { IMAGE } else { INDEX };
        let mut value = json!({ "schemaVersion": 2, "mediaType": media_type });
        if image {
            value["config"] = blob(&blobs[0]);
            value["layers"] = blobs[1..].iter().map(blob).collect();
        } else {
            value["manifests"] = children.iter().map(manifest).collect();
        }
        if let Some(subject) = &subject {
            value["subject"] = manifest(subject);
        }
        let bytes = Bytes::from(value.to_string());
        let digest = digest(&bytes);
        made.push(Manifest { bytes, digest, media_type, blobs, subject });
    }
    made
}

/// What a repository holds.
#[derive(Clone, Debug, Default)]
struct Repository {
    blobs: BTreeSet<usize>,
    manifests: BTreeSet<usize>,
    tags: BTreeMap<&'static str, usize>,
    /// Ever written to: otherwise it may be unknown.
    known: bool,
}

/// An upload session.
#[derive(Clone, Debug)]
struct Upload {
    location: String,
    repository: usize,
    blob: usize,
    received: usize,
}

/// The first byte chooses the storage; each request takes three.
pub(crate) fn sequences(data: &[u8]) {
    let Some((first, steps)) = data.split_first() else { return };
    if first & 1 == 0 {
        block_on(Run::new(&registry(&DELETE)).run(steps));
    } else {
        let root = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let directory = Directory::open(root.path()).unwrap_or_else(|error| panic!("{error}"));
        let storage = DirectoryStorage(NativeDirectory::new(directory));
        let registry =
            NativeRegistry::new(storage, &DELETE).unwrap_or_else(|error| panic!("{error}"));
        block_on(Run::new(&registry).run(steps));
    }
}

struct Run<'a> {
    registry: &'a NativeRegistry,
    manifests: Vec<Manifest>,
    repositories: [Repository; 2],
    upload: Option<Upload>,
    /// The requests so far.
    log: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(registry: &'a NativeRegistry) -> Self {
        let repositories = <[Repository; 2]>::default();
        Self { registry, manifests: manifests(), repositories, upload: None, log: Vec::new() }
    }

    async fn run(&mut self, steps: &[u8]) {
        for step in steps.chunks_exact(3).take(REQUESTS) {
            let repository = usize::from(step[1]) % REPOSITORIES.len();
            let which = usize::from(step[1] >> 1);
            match step[0] % 16 {
                0 => self.push_blob(repository, which % BLOBS.len(), step[2]).await,
                1 => self.mount(repository, which % BLOBS.len()).await,
                2 => self.delete_blob(repository, which % BLOBS.len()).await,
                3 | 4 => self.get_blob(repository, which % BLOBS.len(), step[2]).await,
                5 | 6 => self.put_manifest(repository, which, step[2]).await,
                7 | 8 => self.get_manifest(repository, which, step[2]).await,
                9 => self.delete_manifest(repository, which).await,
                10 => self.delete_tag(repository, which).await,
                11 => self.list_tags(repository).await,
                12 => self.list_referrers(repository, which).await,
                13 => self.begin_upload(repository, which % BLOBS.len()).await,
                14 => self.append(step[2]).await,
                _ => self.end_upload(step[2]).await,
            }
        }
    }

    /// Sends a request, whose status must be one of these.
    async fn ask(
        &mut self,
        line: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
        statuses: &[u16],
    ) -> Response<Bytes> {
        let (method, path) = line.split_once(' ').unwrap_or_default();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap_or_else(|error| panic!("{line}: {error}"));
        let response = self.registry.send(request).await;
        self.log.push(format!("{line} {headers:?}: {}", response.status()));
        let expected = statuses.contains(&response.status().as_u16());
        assert!(expected, "{statuses:?} was expected, and not {response:?}: {:#?}", self.log);
        response
    }

    async fn push_blob(&mut self, repository: usize, blob: usize, how: u8) {
        let (name, bytes) = (REPOSITORIES[repository], BLOBS[blob]);
        // One in four has the digest of another.
        let wrong = how.is_multiple_of(4);
        let named = if wrong { "no such bytes" } else { bytes };
        let line = format!("POST /v2/{name}/blobs/uploads/?digest={}", digest(named.as_bytes()));
        self.ask(&line, &[], bytes, &[if wrong { 400 } else { 201 }]).await;
        if !wrong {
            self.repositories[repository].blobs.insert(blob);
            self.repositories[repository].known = true;
        }
    }

    async fn mount(&mut self, repository: usize, blob: usize) {
        let (name, other) = (REPOSITORIES[repository], 1 - repository);
        let line = format!(
            "POST /v2/{name}/blobs/uploads/?mount={}&from={}",
            digest(BLOBS[blob].as_bytes()),
            REPOSITORIES[other]
        );
        let there = self.repositories[other].blobs.contains(&blob);
        let here = self.repositories[repository].blobs.contains(&blob);
        let statuses: &[u16] = match (there, here) {
            (true, _) => &[201],
            (false, true) => &[201, 202],
            (false, false) => &[202],
        };
        let response = self.ask(&line, &[], "", statuses).await;
        self.repositories[repository].known = true;
        if response.status() == 201 {
            self.repositories[repository].blobs.insert(blob);
        } else {
            let line = format!("DELETE {}", location(response.headers()));
            self.ask(&line, &[], "", &[204]).await;
        }
    }

    async fn delete_blob(&mut self, repository: usize, blob: usize) {
        let name = REPOSITORIES[repository];
        let line = format!("DELETE /v2/{name}/blobs/{}", digest(BLOBS[blob].as_bytes()));
        let there = self.repositories[repository].blobs.remove(&blob);
        self.ask(&line, &[], "", &[if there { 202 } else { 404 }]).await;
    }

    async fn get_blob(&mut self, repository: usize, blob: usize, part: u8) {
        let (name, bytes) = (REPOSITORIES[repository], BLOBS[blob]);
        let path = format!("/v2/{name}/blobs/{}", digest(bytes.as_bytes()));
        if !self.repositories[repository].blobs.contains(&blob) {
            self.ask(&format!("GET {path}"), &[], "", &[404]).await;
            return;
        }
        let (first, last) = (usize::from(part & 15), usize::from(part >> 4));
        let range = format!("bytes={first}-{last}");
        let response = match part {
            0 => self.ask(&format!("HEAD {path}"), &[], "", &[200]).await,
            1..64 => self.ask(&format!("GET {path}"), &[], "", &[200]).await,
            // Reversed, or after the end.
            _ if last < first || first >= bytes.len() => {
                self.ask(&format!("GET {path}"), &[("range", &range)], "", &[416]).await;
                return;
            }
            _ => self.ask(&format!("GET {path}"), &[("range", &range)], "", &[206]).await,
        };
        let expected = match response.status().as_u16() {
            206 => &bytes[first..=last.min(bytes.len() - 1)],
            _ if part == 0 => "",
            _ => bytes,
        };
        assert_eq!(response.body(), expected, "{:#?}", self.log);
    }

    async fn put_manifest(&mut self, repository: usize, which: usize, tag: u8) {
        let index = which % self.manifests.len();
        let Manifest { bytes, digest, media_type, blobs, .. } = &self.manifests[index];
        let state = &self.repositories[repository];
        // The manifests of an index need not exist.
        let whole = blobs.iter().all(|blob| state.blobs.contains(blob));
        let tag = TAGS.get(usize::from(tag) % (TAGS.len() + 1)).copied();
        let (name, reference) = (REPOSITORIES[repository], tag.unwrap_or(digest));
        let line = format!("PUT /v2/{name}/manifests/{reference}");
        let (bytes, media_type) = (bytes.clone(), *media_type);
        let statuses: &[u16] = if whole { &[201] } else { &[400, 404] };
        self.ask(&line, &[("content-type", media_type)], bytes, statuses).await;
        if whole {
            let state = &mut self.repositories[repository];
            state.known = true;
            state.manifests.insert(index);
            if let Some(tag) = tag {
                state.tags.insert(tag, index);
            }
        }
    }

    async fn get_manifest(&mut self, repository: usize, which: usize, tag: u8) {
        let (name, state) = (REPOSITORIES[repository], &self.repositories[repository]);
        let index = which % self.manifests.len();
        let tag = TAGS.get(usize::from(tag) % (TAGS.len() + 1)).copied();
        let (reference, found) = if let Some(tag) = tag {
            (tag, state.tags.get(tag).copied())
        } else {
            let digest = self.manifests[index].digest.as_str();
            (digest, state.manifests.contains(&index).then_some(index))
        };
        let line = format!("GET /v2/{name}/manifests/{reference}");
        let response = self.ask(&line, &[], "", &[if found.is_some() { 200 } else { 404 }]).await;
        if let Some(found) = found.map(|index| &self.manifests[index]) {
            assert_eq!(*response.body(), found.bytes, "{:#?}", self.log);
            assert_eq!(response.headers()["content-type"], found.media_type, "{:#?}", self.log);
            assert_eq!(response.headers()["docker-content-digest"], found.digest);
        }
    }

    async fn delete_manifest(&mut self, repository: usize, which: usize) {
        let index = which % self.manifests.len();
        let (name, digest) = (REPOSITORIES[repository], &self.manifests[index].digest);
        let line = format!("DELETE /v2/{name}/manifests/{digest}");
        let state = &mut self.repositories[repository];
        let there = state.manifests.remove(&index);
        state.tags.retain(|_, tagged| *tagged != index);
        self.ask(&line, &[], "", &[if there { 202 } else { 404 }]).await;
    }

    async fn delete_tag(&mut self, repository: usize, which: usize) {
        let (name, tag) = (REPOSITORIES[repository], TAGS[which % TAGS.len()]);
        let there = self.repositories[repository].tags.remove(tag).is_some();
        let line = format!("DELETE /v2/{name}/manifests/{tag}");
        self.ask(&line, &[], "", &[if there { 202 } else { 404 }]).await;
    }

    async fn list_tags(&mut self, repository: usize) {
        let line = format!("GET /v2/{}/tags/list", REPOSITORIES[repository]);
        let state = self.repositories[repository].clone();
        let statuses: &[u16] = if state.tags.is_empty() { &[200, 404] } else { &[200] };
        let response = self.ask(&line, &[], "", statuses).await;
        if response.status() == 200 {
            let found: Value = serde_json::from_slice(response.body()).unwrap_or_default();
            let expected: Vec<_> = state.tags.keys().copied().collect();
            let found = found["tags"].as_array().cloned().unwrap_or_default();
            assert_eq!(found, expected, "{:#?}", self.log);
        }
    }

    async fn list_referrers(&mut self, repository: usize, which: usize) {
        let index = which % self.manifests.len();
        let (name, digest) = (REPOSITORIES[repository], &self.manifests[index].digest);
        let line = format!("GET /v2/{name}/referrers/{digest}");
        let response = self.ask(&line, &[], "", &[200]).await;
        let found: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let found = found["manifests"].as_array().into_iter().flatten();
        let found: BTreeSet<_> =
            found.map(|found| found["digest"].as_str().unwrap_or_default().to_owned()).collect();
        let state = &self.repositories[repository];
        let all = self.manifests.iter().enumerate();
        let expected: BTreeSet<_> = all
            .filter(|(number, manifest)| {
                manifest.subject == Some(index) && state.manifests.contains(number)
            })
            .map(|(_, manifest)| manifest.digest.clone())
            .collect();
        assert_eq!(found, expected, "{:#?}", self.log);
    }

    async fn begin_upload(&mut self, repository: usize, blob: usize) {
        let line = format!("POST /v2/{}/blobs/uploads/", REPOSITORIES[repository]);
        let response = self.ask(&line, &[], "", &[202]).await;
        self.repositories[repository].known = true;
        let location = location(response.headers());
        self.upload = Some(Upload { location, repository, blob, received: 0 });
    }

    /// The next bytes, or those of another place.
    async fn append(&mut self, how: u8) {
        let Some(mut upload) = self.upload.take() else { return };
        let rest = &BLOBS[upload.blob][upload.received..];
        let length = usize::from(how >> 3).min(rest.len());
        let wrong = how.is_multiple_of(8);
        if length == 0 {
            self.upload = Some(upload);
            return;
        }
        let start = upload.received + usize::from(wrong);
        let range = format!("{start}-{}", start + length - 1);
        let line = format!("PATCH {}", upload.location);
        let headers = [("content-range", range.as_str())];
        let status = if wrong { 416 } else { 202 };
        let response = self.ask(&line, &headers, &rest[..length], &[status]).await;
        if !wrong {
            upload.received += length;
            upload.location = location(response.headers());
        }
        self.upload = Some(upload);
    }

    /// Completes the upload, with another digest, or with what is missing, or cancels
    /// it, or only looks at it.
    async fn end_upload(&mut self, how: u8) {
        let Some(upload) = self.upload.take() else { return };
        let Upload { location, repository, blob, received } = &upload;
        let (bytes, rest) = (BLOBS[*blob], &BLOBS[*blob][*received..]);
        match how % 8 {
            0 => drop(self.ask(&format!("DELETE {location}"), &[], "", &[204]).await),
            1 => {
                let line = format!("PUT {}", closing(location, "no such bytes"));
                self.ask(&line, &[], "", &[400]).await;
            }
            2 | 3 => {
                let response = self.ask(&format!("GET {location}"), &[], "", &[204]).await;
                let range = format!("0-{}", received.saturating_sub(1));
                assert_eq!(response.headers()["range"], range, "{:#?}", self.log);
                self.upload = Some(upload);
            }
            _ => {
                let line = format!("PUT {}", closing(location, bytes));
                self.ask(&line, &[], rest, &[201]).await;
                self.repositories[*repository].blobs.insert(*blob);
            }
        }
    }
}

fn location(headers: &HeaderMap) -> String {
    let location = headers.get("location").and_then(|value| value.to_str().ok());
    location.unwrap_or_default().to_owned()
}

fn closing(location: &str, bytes: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}digest={}", digest(bytes.as_bytes()))
}
