//! Whether a registry holds what it may hold after the operations of a journal.

use super::journal::{Item, Value, admissible};
use super::{Change, End, Held, Known, MANIFEST, Operation, REPOSITORIES, Register, World};
use crate::images::put_manifest;
use crate::support::{closing, content_range, request};
use bytes::Bytes;
use http::header;
use roadstead_tests::{Answer, Target, digest};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

/// A registry in which nothing else happens.
pub struct Check<'a> {
    pub target: &'a Target,
    pub world: &'a World,
    /// What is wrong.
    pub violations: Vec<String>,
    /// How many objects were read.
    pub reads: u64,
}

/// Reads everything that the operations changed, and these registers besides, and
/// compares it with what they may hold. Uploads are resumed, and deletes that
/// were cut off are repeated. Updates what is known.
pub async fn check(
    check: &mut Check<'_>,
    known: &mut Known,
    operations: &[Operation],
    held: &[Held],
    besides: &[Register],
) {
    let mut registers: BTreeSet<Register> =
        operations.iter().flat_map(Operation::registers).collect();
    registers.extend(besides.iter().cloned());
    // Tags that the delete of a manifest may have deleted, without naming them.
    for operation in operations {
        let Change::DeleteManifest(digest) = &operation.change else { continue };
        let held = |(register, value): &(&Register, &Value)| {
            register.repository == operation.repository
                && matches!(register.item, Item::Tag(_))
                && value.as_ref() == Some(digest)
        };
        registers.extend(known.iter().filter(held).map(|(register, _)| register.clone()));
    }
    for repository in 0..REPOSITORIES.len() {
        let here = |register: &&Register| register.repository == repository;
        let registers: Vec<_> = registers.iter().filter(here).collect();
        check.repository(repository, &registers, known, operations).await;
    }
    for held in held {
        let register =
            Register { repository: held.repository, item: Item::Blob(held.blob.digest.clone()) };
        if check.resume(held).await {
            known.insert(register, Some(held.blob.digest.clone()));
        }
    }
    for operation in operations.iter().filter(|operation| operation.end == End::Cut) {
        if let Change::DeleteManifest(digest) = &operation.change {
            check.repeat_delete(operation.repository, digest, known).await;
        }
    }
}

/// Whether the delete of a manifest was cut off.
fn cut_delete(operations: &[Operation], repository: usize, digest: &str) -> bool {
    operations.iter().any(|operation| {
        operation.repository == repository
            && operation.end == End::Cut
            && matches!(&operation.change, Change::DeleteManifest(other) if other == digest)
    })
}

/// Whether a push of a manifest was cut off.
fn cut_push(operations: &[Operation], repository: usize, manifest: &str) -> bool {
    operations.iter().any(|operation| {
        operation.repository == repository
            && operation.end == End::Cut
            && matches!(&operation.change, Change::PutManifest { digest, .. } if digest == manifest)
    })
}

impl Check<'_> {
    /// A request, whose answer may be anything but a failure of the registry.
    async fn ask(&mut self, line: &str, body: Bytes, range: Option<String>) -> Option<Answer> {
        let mut request = request(line, body);
        if let Some(range) = range {
            request.headers_mut().insert(header::CONTENT_RANGE, range.parse().unwrap());
        }
        match self.target.send(request).await {
            Ok(answer) if !answer.status().is_server_error() => Some(answer),
            answer => {
                self.violations.push(format!("{line}: {answer:?}"));
                None
            }
        }
    }

    async fn get(&mut self, path: &str) -> Option<Answer> {
        self.reads += 1;
        self.ask(&format!("GET {path}"), Bytes::new(), None).await
    }

    async fn repository(
        &mut self,
        repository: usize,
        registers: &[&Register],
        known: &mut Known,
        operations: &[Operation],
    ) {
        let listed = self.tags(repository).await;
        let mut referrers = BTreeMap::new();
        for register in registers {
            let Some(found) = self.look(register).await else { continue };
            let admissible = admissible(register, known, operations);
            if !admissible.contains(&found) {
                let before = known.get(register);
                let changes: Vec<_> = operations
                    .iter()
                    .filter(|operation| operation.registers().any(|other| other == **register))
                    .collect();
                self.violations.push(format!(
                    "{register:?}: {found:?} and not one of {admissible:?}; it was {before:?}, \
                     and changed by {changes:?}"
                ));
            }
            match (&register.item, &found) {
                (Item::Tag(tag), Some(digest)) => {
                    if !listed.contains(tag) {
                        self.violations.push(format!("{register:?} exists, and is not listed"));
                    }
                    // It also exists by its digest.
                    let item = Item::Manifest(digest.clone());
                    if self.look(&Register { repository, item }).await == Some(None) {
                        self.violations.push(format!("{register:?}: {digest} does not exist"));
                    }
                }
                // Half a delete may have been carried out; it is repeated below.
                (Item::Manifest(digest), Some(_))
                    if !cut_delete(operations, repository, digest) =>
                {
                    // A push that was cut off may have written the manifest and
                    // not yet its entry as a referrer; its client repeats it.
                    if cut_push(operations, repository, digest) {
                        self.push_again(repository, digest).await;
                        referrers.clear();
                    }
                    self.referrer(repository, digest, &mut referrers).await;
                }
                _ => {}
            }
            known.insert((*register).clone(), found);
        }
        for tag in listed {
            let register = Register { repository, item: Item::Tag(tag) };
            if known.get(&register).cloned().flatten().is_none() {
                self.complete_push(register, known, operations).await;
            }
        }
    }

    /// A tag is listed, and leads nowhere. That may only be so while its push is not
    /// complete: a delete removes its manifest, and the push writes that again before
    /// it ends. Where that was cut off, its client repeats it.
    async fn complete_push(
        &mut self,
        register: Register,
        known: &mut Known,
        operations: &[Operation],
    ) {
        let Item::Tag(tag) = &register.item else { return };
        let pushed = operations.iter().rev().find_map(|operation| match &operation.change {
            Change::PutManifest { digest, tag: Some(other) }
                if operation.repository == register.repository
                    && operation.end == End::Cut
                    && tag == other =>
            {
                Some(digest.clone())
            }
            _ => None,
        });
        let Some(digest) = pushed else {
            self.violations.push(format!("{register:?} is listed, and does not exist"));
            return;
        };
        let bytes = {
            let contents = self.world.contents.lock().unwrap_or_else(PoisonError::into_inner);
            contents.get(&digest).cloned().unwrap_or_default()
        };
        self.push(register.repository, tag, bytes).await;
        for item in [register.item.clone(), Item::Manifest(digest.clone())] {
            let register = Register { repository: register.repository, item };
            let found = self.look(&register).await;
            if found != Some(Some(digest.clone())) {
                self.violations.push(format!("{register:?} pushed again: {found:?}"));
            }
            known.insert(register, Some(digest.clone()));
        }
    }

    /// The tags that are listed.
    async fn tags(&mut self, repository: usize) -> BTreeSet<String> {
        let path = format!("/v2/{}/tags/list?n=10000", REPOSITORIES[repository]);
        let Some(answer) = self.get(&path).await else { return BTreeSet::new() };
        let list: Json = serde_json::from_slice(answer.body()).unwrap_or_default();
        let tags = list["tags"].as_array().into_iter().flatten();
        tags.filter_map(|tag| tag.as_str().map(ToOwned::to_owned)).collect()
    }

    /// What a register holds; `None` if the answer is wrong in itself.
    async fn look(&mut self, register: &Register) -> Option<Value> {
        let name = REPOSITORIES[register.repository];
        let (path, wanted) = match &register.item {
            Item::Blob(digest) => (format!("/v2/{name}/blobs/{digest}"), Some(digest)),
            Item::Manifest(digest) => (format!("/v2/{name}/manifests/{digest}"), Some(digest)),
            Item::Tag(tag) => (format!("/v2/{name}/manifests/{tag}"), None),
        };
        let answer = self.get(&path).await?;
        if answer.status() == 404 {
            return Some(None);
        }
        let found = digest(answer.body());
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let right = answer.status() == 200
            && header("docker-content-digest") == Some(found.as_str())
            && wanted.is_none_or(|wanted| *wanted == found)
            && (matches!(register.item, Item::Blob(_)) || header("content-type") == Some(MANIFEST));
        if !right {
            self.violations.push(format!("{path}: {} {:?}", answer.status(), answer.headers()));
            return None;
        }
        Some(Some(found))
    }

    /// Pushes a manifest that the registry holds, by its digest.
    async fn push_again(&mut self, repository: usize, digest: &str) {
        let path = format!("/v2/{}/manifests/{digest}", REPOSITORIES[repository]);
        let Some(held) = self.get(&path).await else { return };
        self.push(repository, digest, held.body().clone()).await;
    }

    async fn push(&mut self, repository: usize, reference: &str, manifest: Bytes) {
        let put = put_manifest(REPOSITORIES[repository], reference, manifest);
        match self.target.send(put).await {
            Ok(answer) if answer.status() == 201 => {}
            answer => self.violations.push(format!("{reference} pushed again: {answer:?}")),
        }
    }

    /// A manifest with a subject is one of its referrers.
    async fn referrer(
        &mut self,
        repository: usize,
        manifest: &str,
        known: &mut BTreeMap<String, BTreeSet<String>>,
    ) {
        let subject = {
            let subjects = self.world.subjects.lock().unwrap_or_else(PoisonError::into_inner);
            subjects.get(manifest).cloned()
        };
        let Some(subject) = subject else { return };
        if !known.contains_key(&subject) {
            let path = format!("/v2/{}/referrers/{subject}", REPOSITORIES[repository]);
            let Some(answer) = self.get(&path).await else { return };
            let list: Json = serde_json::from_slice(answer.body()).unwrap_or_default();
            let found = list["manifests"].as_array().into_iter().flatten();
            let digests = found.filter_map(|found| found["digest"].as_str());
            known.insert(subject.clone(), digests.map(ToOwned::to_owned).collect());
        }
        if !known[&subject].contains(manifest) {
            let name = REPOSITORIES[repository];
            self.violations.push(format!("{name}: {manifest} is no referrer of {subject}"));
        }
    }

    /// Resumes an upload where the registry says, and completes it. Returns
    /// whether this completed it.
    async fn resume(&mut self, held: &Held) -> bool {
        let Held { location, blob, acknowledged, sent, closing: closed, .. } = held;
        let Some(answer) = self.get(location).await else { return false };
        if answer.status() == 404 {
            if !closed {
                self.violations.push(format!("{location} is gone"));
            }
            return false;
        }
        let range = answer.headers().get(header::RANGE).and_then(|range| range.to_str().ok());
        let last = range.and_then(|range| range.strip_prefix("0-")?.parse::<usize>().ok());
        let Some(last) = last.filter(|_| answer.status() == 204) else {
            self.violations.push(format!("{location}: {answer:?}"));
            return false;
        };
        // The same for none and for one.
        let received = if last == 0 { 0 } else { last + 1 };
        let most = if *closed { blob.bytes.len() } else { *sent };
        // That an upload has ended is forgotten by a restart: then it has no bytes.
        let may_have_ended = *closed && received == 0;
        if !(*acknowledged..=most).contains(&received) && !may_have_ended {
            self.violations.push(format!(
                "{location} has {received} bytes, with {acknowledged} acknowledged and {most} sent"
            ));
        }
        let rest = blob.bytes.slice(received.min(blob.bytes.len())..);
        let range =
            (!rest.is_empty()).then(|| content_range(received as u64, blob.bytes.len() as u64));
        let line = format!("PUT {}", closing(location, &blob.digest));
        match self.ask(&line, rest, range).await {
            Some(answer) if answer.status() == 201 => true,
            // It had moved the bytes to the blob already.
            Some(answer) if *closed && answer.status() == 404 => false,
            answer => {
                self.violations.push(format!("{line}: {answer:?}"));
                false
            }
        }
    }

    /// Repeats a delete that was cut off: afterwards there is neither the
    /// manifest nor a tag of it.
    async fn repeat_delete(&mut self, repository: usize, digest: &str, known: &mut Known) {
        let line = format!("DELETE /v2/{}/manifests/{digest}", REPOSITORIES[repository]);
        let Some(answer) = self.ask(&line, Bytes::new(), None).await else { return };
        if !matches!(answer.status().as_u16(), 202 | 404) {
            self.violations.push(format!("{line}: {answer:?}"));
        }
        let listed = self.tags(repository).await;
        let gone: Vec<_> = known
            .iter()
            .filter(|(register, value)| {
                register.repository == repository
                    && value.as_deref() == Some(digest)
                    && !matches!(register.item, Item::Blob(_))
            })
            .map(|(register, _)| register.clone())
            .collect();
        for register in gone {
            let found = self.look(&register).await;
            let listed = matches!(&register.item, Item::Tag(tag) if listed.contains(tag));
            if found != Some(None) || listed {
                self.violations.push(format!("{register:?} after {line}: {found:?}, {listed}"));
            }
            known.insert(register, None);
        }
    }
}
