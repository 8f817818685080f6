//! A client: it asks what is there, mounts or uploads what is missing, and relies on
//! an answer for no longer than the grace time.

use crate::content::{Blob, INDEX, Manifest, Version};
use crate::settings::GRACE;
use crate::world::{REPOSITORIES, TAGS, Tag, World, count};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use roadstead_tests::digest;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a response may take: longer than a push waits for collectors that died.
const LIMIT: Duration = Duration::from_mins(5);

/// How often to look whether a process is there again.
const PAUSE: Duration = Duration::from_millis(5);

/// What clients accept.
const ACCEPTED: &str =
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

type Answer = Response<Bytes>;

/// Why something was not done.
#[derive(Debug)]
pub enum Failure {
    /// A process was killed meanwhile.
    Killed,
    /// It took longer than a client relies on an answer.
    Overdue,
    Fault(String),
}

type Done<T = ()> = Result<T, Failure>;

pub struct Client {
    world: Arc<World>,
    random: fastrand::Rng,
    /// The instance that is asked.
    at: usize,
    pool: Pool<HttpConnector, Full<Bytes>>,
}

fn fault(what: &str, answer: &Answer) -> Failure {
    Failure::Fault(said(what, answer))
}

fn said(what: &str, answer: &Answer) -> String {
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    format!("{what}: {} {}", answer.status(), text.trim_end())
}

fn path_of(answer: &Answer) -> String {
    let location: Uri = answer.headers()[header::LOCATION].to_str().unwrap().parse().unwrap();
    location.path_and_query().unwrap().to_string()
}

impl Client {
    pub fn new(world: &Arc<World>, number: u64) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            world: Arc::clone(world),
            random: fastrand::Rng::with_seed(world.settings.seed.wrapping_mul(1000) + number),
            at: 0,
            pool: Pool::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// Works until the soak stops.
    pub async fn run(mut self) {
        while !self.world.is_stopping() {
            let (repository, number) = (self.random.u32(..REPOSITORIES), self.random.u32(..TAGS));
            match self.random.u32(..16) {
                0..=8 => self.push(repository, number).await,
                9 => self.delete(repository, number).await,
                _ => self.pull(repository, number).await,
            }
        }
    }

    /// Another registry has other uploads, so whatever is done is done with one of them.
    fn choose(&mut self) {
        self.at = self.random.usize(..self.world.instances.len());
    }

    fn asks_second(&self) -> bool {
        self.world.settings.second() == Some(self.at)
    }

    /// Sends a request, to any instance of ours.
    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, &str)],
        body: Bytes,
    ) -> Done<Answer> {
        let world = Arc::clone(&self.world);
        if world.settings.second().is_none() {
            self.choose();
        }
        let instance = &world.instances[self.at];
        while instance.is_down.load(Ordering::SeqCst) {
            tokio::time::sleep(PAUSE).await;
        }
        let deaths = instance.deaths.load(Ordering::SeqCst);
        let uri = format!("http://{}{path}", instance.address.read().unwrap());
        let mut request = Request::builder().method(method.clone()).uri(uri);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        match tokio::time::timeout(LIMIT, self.exchange(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            // Only a kill explains that there is none.
            Ok(Err(_)) if instance.deaths.load(Ordering::SeqCst) != deaths => {
                count(&world.counts.cut);
                Err(Failure::Killed)
            }
            Ok(Err(error)) => Err(Failure::Fault(format!("{method} {path}: {error}"))),
            Err(_) => Err(Failure::Fault(format!("{method} {path}: no answer in {LIMIT:?}"))),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let answer = self.pool.request(request).await.map_err(|error| format!("{error:?}"))?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }

    async fn head(&mut self, path: &str) -> Done<StatusCode> {
        let answer = self.ask(Method::HEAD, path, &[], Bytes::new()).await?;
        match answer.status() {
            status @ (StatusCode::OK | StatusCode::NOT_FOUND) => Ok(status),
            _ => Err(fault(&format!("HEAD {path}"), &answer)),
        }
    }

    async fn get(&mut self, path: &str) -> Done<Answer> {
        let accept = [(header::ACCEPT, ACCEPTED)];
        let answer = self.ask(Method::GET, path, &accept, Bytes::new()).await?;
        if answer.status() != StatusCode::TEMPORARY_REDIRECT {
            return Ok(answer);
        }
        let location = answer.headers()[header::LOCATION].to_str().unwrap();
        let request = Request::get(location).body(Full::default()).unwrap();
        self.exchange(request).await.map_err(|error| Failure::Fault(format!("{path}: {error}")))
    }

    /// Sees to it that the repository has a blob, and may rely on the answer.
    async fn push_blob(&mut self, repository: u32, blob: &Blob) -> Done {
        let world = Arc::clone(&self.world);
        if self.head(&format!("/v2/r{repository}/blobs/{}", blob.digest)).await? == StatusCode::OK {
            count(&world.counts.reused);
            return Ok(());
        }
        let uploads = format!("/v2/r{repository}/blobs/uploads/");
        if self.random.bool() {
            let from = self.random.u32(..REPOSITORIES);
            let path = format!("{uploads}?mount={}&from=r{from}", blob.digest);
            let answer = self.ask(Method::POST, &path, &[], Bytes::new()).await?;
            match answer.status() {
                StatusCode::CREATED => {
                    count(&world.counts.mounted);
                    return Ok(());
                }
                StatusCode::ACCEPTED => {}
                _ => return Err(fault("a mount", &answer)),
            }
        }
        let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
        let begun = self.ask(Method::POST, &uploads, &[], Bytes::new()).await?;
        if begun.status() != StatusCode::ACCEPTED {
            return Err(fault("the start of an upload", &begun));
        }
        let (mut location, mut rest) = (path_of(&begun), blob.bytes.clone());
        if self.random.bool() {
            let answer = self.ask(Method::PATCH, &location, &kind, rest).await?;
            if answer.status() != StatusCode::ACCEPTED {
                return Err(fault("a PATCH of an upload", &answer));
            }
            (location, rest) = (path_of(&answer), Bytes::new());
        }
        let joint = if location.contains('?') { '&' } else { '?' };
        let end = format!("{location}{joint}digest={}", blob.digest);
        let answer = self.ask(Method::PUT, &end, &kind, rest).await?;
        if answer.status() != StatusCode::CREATED {
            return Err(fault("the end of an upload", &answer));
        }
        count(&world.counts.uploaded);
        Ok(())
    }

    async fn push_manifest(&mut self, repository: u32, manifest: &Manifest, at: &str) -> Done {
        let world = Arc::clone(&self.world);
        let begun = Instant::now();
        for blob in manifest.contents() {
            self.push_blob(repository, &blob).await?;
        }
        if begun.elapsed() > GRACE {
            return Err(Failure::Overdue);
        }
        let path = format!("/v2/r{repository}/manifests/{at}");
        let kind = [(header::CONTENT_TYPE, manifest.media_type)];
        let put = Instant::now();
        let answer = self.ask(Method::PUT, &path, &kind, manifest.blob.bytes.clone()).await?;
        if answer.status() == StatusCode::CREATED {
            count(&world.counts.manifests);
            return Ok(());
        }
        if answer.status().is_client_error() && put.elapsed() > GRACE {
            count(&world.counts.late);
            return Err(Failure::Overdue);
        }
        let what = format!(
            "PUT {path} {} after {:?} + {:?}",
            manifest.digest(),
            put - begun,
            put.elapsed()
        );
        Err(fault(&what, &answer))
    }

    /// A manifest, as often as a kill or the time cuts it off.
    async fn push_until_done(&mut self, repository: u32, manifest: &Manifest, at: &str) -> bool {
        loop {
            self.choose();
            match self.push_manifest(repository, manifest, at).await {
                Ok(()) => return true,
                Err(Failure::Killed) => {}
                Err(Failure::Overdue) => count(&self.world.counts.overdue),
                Err(Failure::Fault(what)) if self.asks_second() => {
                    eprintln!("second: push: {what}");
                    count(&self.world.counts.refused);
                }
                Err(Failure::Fault(what)) => {
                    self.world.fault(format!("push: {what}"));
                    return false;
                }
            }
        }
    }

    async fn push(&mut self, repository: u32, number: u32) {
        let world = Arc::clone(&self.world);
        let tag = &world.tags[repository as usize][number as usize];
        let Ok(_writer) = tag.writer.try_lock() else { return };
        // What was deleted comes again at times.
        let again = if self.random.u32(..4) == 0 { tag.deleted(&mut self.random) } else { None };
        let version =
            again.unwrap_or_else(|| Version::new(&mut self.random, world.settings.layers, number));
        tag.begin();
        if self.push_version(repository, number, &version).await {
            count(&world.counts.pushes);
            tag.moved_to(Some(version));
        }
        self.delete_superfluous(repository, tag).await;
        tag.end();
    }

    async fn push_version(&mut self, repository: u32, number: u32, version: &Version) -> bool {
        for child in &version.children {
            if !self.push_until_done(repository, child, child.digest()).await {
                return false;
            }
        }
        if !self.push_until_done(repository, &version.root, &format!("t{number}")).await {
            return false;
        }
        match &version.referrer {
            Some(referrer) => self.push_until_done(repository, referrer, referrer.digest()).await,
            None => true,
        }
    }

    async fn delete_superfluous(&mut self, repository: u32, tag: &Tag) {
        while let Some(version) = tag.superfluous() {
            self.delete_version(repository, &version).await;
            tag.forget_untagged();
        }
    }

    async fn delete_version(&mut self, repository: u32, version: &Version) {
        for manifest in version.manifests() {
            self.delete_until_done(repository, manifest.digest()).await;
            count(&self.world.counts.manifests_deleted);
        }
    }

    async fn delete_until_done(&mut self, repository: u32, at: &str) {
        let path = format!("/v2/r{repository}/manifests/{at}");
        loop {
            self.choose();
            let answer = self.ask(Method::DELETE, &path, &[], Bytes::new()).await;
            match answer {
                // A delete that was cut off may have been carried out.
                Ok(answer) if matches!(answer.status().as_u16(), 202 | 404) => return,
                // It deletes no tags.
                Ok(answer) if self.asks_second() => {
                    if at.contains(':') {
                        eprintln!("second: {}", said(&format!("DELETE {path}"), &answer));
                        count(&self.world.counts.refused);
                    }
                }
                Ok(answer) => {
                    return self.world.fault(said(&format!("DELETE {path}"), &answer));
                }
                Err(Failure::Fault(what)) => return self.world.fault(what),
                Err(_) => {}
            }
        }
    }

    /// Deletes the tag, or the version that it leads to.
    async fn delete(&mut self, repository: u32, number: u32) {
        let world = Arc::clone(&self.world);
        let tag = &world.tags[repository as usize][number as usize];
        let Ok(_writer) = tag.writer.try_lock() else { return };
        let Some(version) = tag.snapshot().current else { return };
        tag.begin();
        if self.random.bool() && world.settings.deletes_tags() {
            self.delete_until_done(repository, &format!("t{number}")).await;
            count(&world.counts.tags_deleted);
            tag.moved_to(None);
            self.delete_superfluous(repository, tag).await;
        } else {
            self.delete_version(repository, &version).await;
            tag.forget_current();
        }
        tag.end();
    }

    async fn pull(&mut self, repository: u32, number: u32) {
        let world = Arc::clone(&self.world);
        let tag = &world.tags[repository as usize][number as usize];
        let before = tag.snapshot();
        let expected = before.current.as_ref().map(|version| version.root.digest().to_owned());
        let stale = world.settings.stale();
        let settled = stale.is_zero() || before.changed.is_none_or(|time| time.elapsed() >= stale);
        self.choose();
        let (found, failure) = self.pull_tag(repository, number).await;
        match failure {
            None => {}
            // It is repeated, if nobody has changed it meanwhile.
            Some(Failure::Killed | Failure::Overdue) => return,
            Some(Failure::Fault(what)) => {
                // What an outdated answer leads to may have been deleted.
                let is_current = settled || found.is_none() || found == expected;
                if is_current && before.still_holds(tag) {
                    self.not_pulled(&format!("r{repository}:t{number}: {what}"));
                }
                return;
            }
        }
        count(&world.counts.pulls);
        if before.still_holds(tag) && settled && found != expected {
            world.fault(format!("r{repository}:t{number} leads to {found:?}, not to {expected:?}"));
        }
        if let Some(version) = &before.current
            && let Some(referrer) = &version.referrer
            && world.settings.is_ours()
            && settled
        {
            let subject = version.root.digest();
            match self.has_referrer(repository, subject, referrer.digest()).await {
                Ok(true) | Err(Failure::Killed | Failure::Overdue) => {}
                other if before.still_holds(tag) => {
                    world.fault(format!("r{repository}: referrers of {subject}: {other:?}"));
                }
                _ => {}
            }
        }
        // What has no tag can be pulled by its digest.
        if let Some(version) = before.untagged.first() {
            let pulled = self.pull_manifest(repository, version.root.digest()).await;
            if let Err(Failure::Fault(what)) = pulled
                && before.still_holds(tag)
            {
                self.not_pulled(&format!("r{repository}, untagged: {what}"));
            }
        }
    }

    async fn has_referrer(&mut self, repository: u32, subject: &str, digest: &str) -> Done<bool> {
        let path = format!("/v2/r{repository}/referrers/{subject}");
        let answer = self.get(&path).await?;
        if answer.status() != StatusCode::OK {
            return Err(fault(&format!("GET {path}"), &answer));
        }
        count(&self.world.counts.listed);
        let list: Value = serde_json::from_slice(answer.body())
            .map_err(|error| Failure::Fault(format!("{path}: {error}")))?;
        let mut listed = list["manifests"].as_array().into_iter().flatten();
        Ok(listed.any(|entry| entry["digest"] == digest))
    }

    fn not_pulled(&self, what: &str) {
        if self.asks_second() {
            eprintln!("second: pull of {what}");
            count(&self.world.counts.missed);
        } else {
            self.world.fault(format!("pull of {what}"));
        }
    }

    /// Pulls what a tag leads to: its digest, if the tag led to anything, and what was
    /// wrong with it or with what it refers to.
    async fn pull_tag(
        &mut self,
        repository: u32,
        number: u32,
    ) -> (Option<String>, Option<Failure>) {
        let path = format!("/v2/r{repository}/manifests/t{number}");
        let answer = match self.get(&path).await {
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND => return (None, None),
            Ok(answer) => answer,
            Err(failure) => return (None, Some(failure)),
        };
        if answer.status() != StatusCode::OK {
            return (None, Some(fault(&format!("GET {path}"), &answer)));
        }
        let pulled = self.pull_contents(repository, answer.body()).await;
        (Some(digest(answer.body())), pulled.err())
    }

    /// Pulls a manifest with all that it refers to, and compares each with its digest.
    pub async fn pull_manifest(&mut self, repository: u32, at: &str) -> Done {
        let path = format!("/v2/r{repository}/manifests/{at}");
        let answer = self.get(&path).await?;
        if answer.status() != StatusCode::OK {
            return Err(fault(&format!("GET {path}"), &answer));
        }
        let own = digest(answer.body());
        if at != own {
            return Err(Failure::Fault(format!("{path} has the digest {own}")));
        }
        self.pull_contents(repository, answer.body()).await
    }

    /// Pulls all that a manifest refers to.
    async fn pull_contents(&mut self, repository: u32, manifest: &[u8]) -> Done {
        count(&self.world.counts.pulled);
        let own = digest(manifest);
        let manifest: Value = serde_json::from_slice(manifest)
            .map_err(|error| Failure::Fault(format!("{own} of r{repository}: {error}")))?;
        if manifest["mediaType"] == INDEX {
            for child in manifest["manifests"].as_array().unwrap() {
                let child = child["digest"].as_str().unwrap();
                Box::pin(self.pull_manifest(repository, child)).await?;
            }
            return Ok(());
        }
        for layer in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
            let wanted = layer["digest"].as_str().unwrap();
            let path = format!("/v2/r{repository}/blobs/{wanted}");
            let answer = self.get(&path).await?;
            if answer.status() != StatusCode::OK {
                return Err(fault(&format!("GET {path} of {own}"), &answer));
            }
            if digest(answer.body()) != wanted {
                return Err(Failure::Fault(format!("GET {path} of {own}: other bytes")));
            }
            count(&self.world.counts.pulled);
        }
        Ok(())
    }

    /// At the end: whatever is to be there is pulled, from this instance if there is a
    /// second registry. The number of tags that do not resolve to their version, whole.
    pub async fn verify(&mut self, at: usize) -> BTreeMap<&'static str, usize> {
        let world = Arc::clone(&self.world);
        self.at = at;
        let mut missing = BTreeMap::new();
        for (repository, tags) in (0..).zip(&world.tags) {
            for (number, tag) in (0..).zip(tags) {
                let expected = tag.snapshot().current.map(|v| v.root.digest().to_owned());
                let found = self.pull_tag(repository, number).await;
                if found.1.is_some() || found.0 != expected {
                    *missing.entry("tags").or_default() += 1;
                    world.fault(format!("r{repository}:t{number}: {found:?}, not {expected:?}"));
                }
                for version in tag.versions() {
                    for manifest in version.manifests() {
                        let found = self.pull_manifest(repository, manifest.digest()).await;
                        if let Err(failure) = found {
                            *missing.entry("manifests").or_default() += 1;
                            let digest = manifest.digest();
                            world.fault(format!("r{repository} {digest}: {failure:?}"));
                        }
                    }
                }
            }
        }
        missing
    }
}
