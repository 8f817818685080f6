//! Pushes what an inventory lists into a registry: blobs, then manifests, then tags. What is
//! there already is not sent, and what another repository has is mounted.

mod volumes;

use crate::DEPTH;
use crate::progress::Progress;
use crate::source::{self, Origin, Reading, Source};
use crate::summary::{Outcome, Problem, Totals};
use futures::StreamExt as _;
use futures::stream;
use roadstead_archive::{Inventory, Manifest as Entry, Repository, Set};
use roadstead_oci::{Digest, Reference, RepositoryName, Tag};
use roadstead_operator::push::{self, Begun, Refused};
use roadstead_operator::registry::{Content, Registry};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};

/// How often a blob is sent again whose upload failed.
///
/// Limit: attempts after the first to send a blob; test: `uploads_begin_anew_after_a_cut`.
const RETRIES: u32 = 3;

/// Half the pause before the first of these; each doubles it.
///
/// Limit: pause before a blob is sent again; test: none, it would take as long.
const PAUSE: Duration = Duration::from_millis(250);

/// Pushes contents into a registry.
pub(crate) struct Copy<'a, S, T> {
    source: &'a Source<'a, S>,
    target: &'a T,
    inventory: &'a Inventory,
    /// The repository of the source that has what one of the target is to have, if it has
    /// another name.
    origins: &'a BTreeMap<RepositoryName, RepositoryName>,
    dry_run: bool,
    parallel: usize,
    permits: Semaphore,
    progress: &'a Progress,
    totals: RefCell<Totals>,
    /// What is known of each blob in the target. The task that uploads the blob holds the lock.
    holders: RefCell<HashMap<Digest, Rc<Mutex<Holder>>>>,
}

/// How contents are pushed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Nothing is written.
    pub(crate) dry_run: bool,
    /// How many requests are sent at a time.
    pub(crate) parallel: usize,
}

/// Why contents of a repository could not be pushed.
type Failures = BTreeMap<Digest, Problem>;

impl<'a, S: Registry, T: Registry> Copy<'a, S, T> {
    pub(crate) fn new(
        source: &'a Source<'a, S>,
        target: &'a T,
        inventory: &'a Inventory,
        origins: &'a BTreeMap<RepositoryName, RepositoryName>,
        How { dry_run, parallel }: How,
        progress: &'a Progress,
    ) -> Self {
        let (permits, holders) = (Semaphore::new(parallel), RefCell::default());
        let totals = RefCell::default();
        Self {
            source,
            target,
            inventory,
            origins,
            dry_run,
            parallel,
            permits,
            progress,
            totals,
            holders,
        }
    }

    /// Has blobs mounted from another repository of the target, which holds all of them.
    pub(crate) fn mount_from(&self, holder: &RepositoryName) {
        let manifests = self.inventory.repositories.values().flat_map(|it| it.manifests.values());
        let mut holders = self.holders.borrow_mut();
        for digest in manifests.flat_map(|manifest| &manifest.blobs) {
            let held = Rc::new(Mutex::new(Holder::Held(holder.clone())));
            holders.insert(digest.clone(), held);
        }
    }

    /// How much was done.
    pub(crate) fn totals(self) -> Totals {
        self.totals.into_inner()
    }

    /// The volumes of exports, of which not all may be here.
    fn volumes(&self) -> Option<&'a Set> {
        match self.source.origin {
            Origin::Archives(set) if !set.inventories().is_empty() => Some(set),
            _ => None,
        }
    }

    /// Pushes everything, and says of each tag, and each manifest without one, what became of
    /// it.
    pub(crate) async fn all(&self) -> Vec<Outcome> {
        let repositories = stream::iter(&self.inventory.repositories);
        let pushed = repositories
            .map(|(name, repository)| self.repository(name, repository))
            .buffer_unordered(self.parallel);
        let mut outcomes: Vec<_> = pushed.collect::<Vec<_>>().await.into_iter().flatten().collect();
        outcomes.sort();
        outcomes
    }

    async fn repository(
        &self,
        name: &'a RepositoryName,
        repository: &'a Repository,
    ) -> Vec<Outcome> {
        let mut failures = Failures::new();
        let missing = self.missing(name, repository, &mut failures).await;
        let blobs: BTreeSet<&Digest> = missing
            .iter()
            .filter_map(|it| repository.manifests.get(*it))
            .flat_map(|it| &it.blobs)
            .collect();
        let blobs: Vec<_> = stream::iter(blobs)
            .map(async |digest| (digest, self.blob(name, digest).await))
            .buffer_unordered(self.parallel)
            .collect()
            .await;
        for (digest, sent) in blobs {
            if let Err(problem) = sent {
                failures.insert(digest.clone(), problem);
            }
        }
        for digest in ordered(repository, &missing) {
            let Some(entry) = repository.manifests.get(digest) else { continue };
            let sent = match failed_part(entry, &failures) {
                Some(problem) => Err(problem),
                None => self.manifest(name, digest, entry, None).await.map_err(Problem::from),
            };
            if let Err(problem) = sent {
                failures.insert(digest.clone(), problem);
            }
        }
        if let Some(set) = self.volumes().filter(|_| !self.dry_run) {
            let incomplete = missing.iter().copied().filter(|it| failures.contains_key(*it));
            self.keep_manifests(set, name, incomplete).await;
        }
        self.tags(name, repository, &missing, &failures).await
    }

    /// The manifests that the target lacks. Each is asked for: an index may be there without
    /// what it lists.
    async fn missing(
        &self,
        name: &RepositoryName,
        repository: &'a Repository,
        failures: &mut Failures,
    ) -> BTreeSet<&'a Digest> {
        let answers: Vec<_> = stream::iter(repository.manifests.keys())
            .map(async |digest| {
                let _permit = self.permits.acquire().await;
                let path = format!("/v2/{name}/manifests/{digest}");
                (digest, push::has(self.target, &path).await)
            })
            .buffer_unordered(self.parallel)
            .collect()
            .await;
        let mut missing = BTreeSet::new();
        for (digest, answer) in answers {
            match answer {
                Ok(true) => self.totals.borrow_mut().manifests_there += 1,
                Ok(false) => drop(missing.insert(digest)),
                Err(problem) => drop(failures.insert(digest.clone(), problem.into())),
            }
        }
        missing
    }

    /// Brings a blob to a repository: it is there, is mounted, or is sent.
    async fn blob(&self, name: &'a RepositoryName, digest: &'a Digest) -> Result<(), Problem> {
        let holder = Rc::clone(self.holders.borrow_mut().entry(digest.clone()).or_default());
        // Whoever else needs it waits until it can be mounted.
        let mut holder = holder.lock().await;
        let _permit = self.permits.acquire().await;
        // It would fail again, after as many bytes.
        if let Holder::Failed(problem) = &*holder {
            return Err(problem.clone());
        }
        let result = self.blob_from(name, digest, holder.repository()).await;
        *holder = match &result {
            Ok(()) => Holder::Held(name.clone()),
            // Another repository may find it where this one did not.
            Err(Problem::Missing(_)) => Holder::Unknown,
            Err(problem) => Holder::Failed(problem.clone()),
        };
        result
    }

    async fn blob_from(
        &self,
        name: &'a RepositoryName,
        digest: &'a Digest,
        holder: Option<&RepositoryName>,
    ) -> Result<(), Problem> {
        let size = self.inventory.contents.get(digest).map_or(0, |content| content.size);
        let path = format!("/v2/{name}/blobs/{digest}");
        // Also where another repository holds it: a registry may refuse to mount.
        if push::has(self.target, &path).await? {
            self.totals.borrow_mut().blob(None);
            self.progress.add(size);
            return Ok(());
        }
        if self.dry_run {
            let mut totals = self.totals.borrow_mut();
            if holder.is_some() {
                totals.mounted += 1;
            } else if self.has(digest) {
                totals.blob(Some(size));
            } else {
                return Err(Problem::Missing(digest.clone()));
            }
            return Ok(());
        }
        let origin = self.origins.get(name).unwrap_or(name);
        let joined = match &self.source.origin {
            Origin::Archives(set) if set.size(digest).is_none() => {
                if self.mounts(name, digest, holder).await? {
                    return Ok(());
                }
                Some(self.join(set, name, digest).await?)
            }
            _ => None,
        };
        let open = || match &joined {
            Some(joined) => self.joined(name, digest, joined),
            None => self.source.open(origin, digest, 0..size, false),
        };
        Ok(self.bring(name, digest, size, holder, open).await?)
    }

    /// Mounts a blob, if another repository of the target has it.
    async fn mounts(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        holder: Option<&RepositoryName>,
    ) -> Result<bool, String> {
        match push::begin(self.target, name, digest, holder).await? {
            Begun::Held => {
                self.totals.borrow_mut().mounted += 1;
                Ok(true)
            }
            Begun::Session(session) => {
                push::cancel(self.target, &session).await;
                Ok(false)
            }
        }
    }

    /// Whether a content is in the source.
    fn has(&self, digest: &Digest) -> bool {
        match &self.source.origin {
            Origin::Registry(_) => true,
            Origin::Archives(set) => set.size(digest).is_some(),
        }
    }

    /// Mounts a blob or sends it, again if that fails on the way.
    async fn bring<'b>(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        size: u64,
        holder: Option<&RepositoryName>,
        open: impl Fn() -> Reading<'b>,
    ) -> Result<(), String> {
        let mut problem = String::new();
        for attempt in 0..=RETRIES {
            if attempt > 0 {
                tokio::time::sleep(PAUSE * (1 << attempt)).await;
            }
            let session = match push::begin(self.target, name, digest, holder).await? {
                Begun::Held => {
                    self.totals.borrow_mut().mounted += 1;
                    self.progress.add(size);
                    return Ok(());
                }
                Begun::Session(session) => session,
            };
            match self.send(digest, size, &session, open()).await {
                Ok(()) => {
                    self.totals.borrow_mut().blob(Some(size));
                    return Ok(());
                }
                Err(refused) if refused.is_final => {
                    return Err(format!("{digest}: {}", refused.problem));
                }
                Err(refused) => problem = refused.problem,
            }
        }
        Err(format!("{digest}: {problem}"))
    }

    async fn send(
        &self,
        digest: &Digest,
        size: u64,
        session: &str,
        reading: Reading<'_>,
    ) -> Result<(), Refused> {
        let Reading { mut pieces, mut pump } = reading;
        // The target does not wait for a source that is asked to wait.
        let (mut read, mut first) = (None, None);
        tokio::select! {
            piece = pieces.recv() => first = piece,
            end = &mut pump => read = Some(end),
        }
        let body = self.progress.counted(source::body(first, pieces));
        let body = Arc::new(StdMutex::new(Some(body)));
        let content = Content::new(size, move || {
            let body = body.lock().unwrap_or_else(PoisonError::into_inner).take();
            // A stream cannot be sent twice: the upload begins anew.
            body.unwrap_or_else(|| source::body(None, tokio::sync::mpsc::channel(1).1))
        });
        let mut put = std::pin::pin!(push::put(self.target, session, digest, content));
        // A target that refuses the rest is not waited for.
        let sent = loop {
            tokio::select! {
                sent = &mut put => break sent,
                end = &mut pump, if read.is_none() => read = Some(end),
            }
        };
        match (sent, read) {
            (Err(_), Some(Err(problem))) => Err(Refused { problem, is_final: true }),
            (sent, _) => sent,
        }
    }

    async fn manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        entry: &Entry,
        tag: Option<&Tag>,
    ) -> Result<(), String> {
        if self.dry_run {
            self.totals.borrow_mut().manifests += u64::from(tag.is_none());
            return Ok(());
        }
        let origin = self.origins.get(name).unwrap_or(name);
        let bytes = match self.source.manifest(origin, digest).await {
            Ok(bytes) => bytes,
            Err(problem) => self.kept_manifest(name, digest).await.ok_or(problem)?,
        };
        let reference = match tag {
            Some(tag) => Reference::Tag(tag.clone()),
            None => Reference::Digest(digest.clone()),
        };
        let _permit = self.permits.acquire().await;
        push::manifest(self.target, name, &reference, &entry.media_type, bytes).await?;
        self.totals.borrow_mut().manifests += u64::from(tag.is_none());
        Ok(())
    }

    /// Has tags lead to their manifests, once these and what refers to them are there.
    async fn tags(
        &self,
        name: &RepositoryName,
        repository: &Repository,
        missing: &BTreeSet<&Digest>,
        failures: &Failures,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for (tag, digest) in &repository.tags {
            let image = format!("{name}:{tag}");
            let result = match (failures.get(digest), repository.manifests.get(digest)) {
                (Some(problem), _) => Err(problem.clone()),
                (None, None) => Err(Problem::Missing(digest.clone())),
                (None, Some(entry)) => {
                    self.tag(name, tag, digest, entry).await.map_err(Problem::from)
                }
            };
            outcomes.push(Outcome::new(image, digest, missing.contains(digest), result));
        }
        let tagged: BTreeSet<_> = repository.tags.values().collect();
        let listed: BTreeSet<_> =
            repository.manifests.values().flat_map(|it| &it.children).collect();
        for digest in repository.manifests.keys() {
            if !tagged.contains(digest) && !listed.contains(digest) {
                let result = failures.get(digest).map_or(Ok(false), |it| Err(it.clone()));
                let image = format!("{name}@{digest}");
                outcomes.push(Outcome::new(image, digest, missing.contains(digest), result));
            }
        }
        // Failures are said at the end, when it is known where the missing contents are.
        for outcome in outcomes.iter().filter(|it| it.problem.is_none()) {
            self.progress.image(outcome);
        }
        outcomes
    }

    /// Whether a tag had to be written.
    async fn tag(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        entry: &Entry,
    ) -> Result<bool, String> {
        let path = format!("/v2/{name}/manifests/{tag}");
        let there = push::head(self.target, &path).await?;
        let led = there.as_ref().and_then(|answer| answer.header("docker-content-digest"));
        if led == Some(digest.as_str()) {
            return Ok(false);
        }
        self.manifest(name, digest, entry, Some(tag)).await?;
        Ok(true)
    }
}

/// What is known of a blob in the target.
#[derive(Default)]
pub(crate) enum Holder {
    /// Nothing.
    #[default]
    Unknown,
    /// This repository holds it.
    Held(RepositoryName),
    /// It could not be sent.
    Failed(Problem),
}

impl Holder {
    fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Held(name) => Some(name),
            Self::Unknown | Self::Failed(_) => None,
        }
    }
}

/// Why a manifest cannot be pushed: a part of it could not.
fn failed_part(entry: &Entry, failures: &Failures) -> Option<Problem> {
    entry.blobs.iter().chain(&entry.children).find_map(|digest| failures.get(digest)).cloned()
}

/// Manifests in the order of a push: those of an index before it, and what refers to another
/// after that.
fn ordered<'a>(repository: &'a Repository, missing: &BTreeSet<&'a Digest>) -> Vec<&'a Digest> {
    fn visit<'a>(
        repository: &'a Repository,
        digest: &'a Digest,
        missing: &BTreeSet<&'a Digest>,
        done: &mut BTreeSet<&'a Digest>,
        order: &mut Vec<&'a Digest>,
        depth: usize,
    ) {
        if depth == 0 || !missing.contains(digest) || !done.insert(digest) {
            return;
        }
        if let Some(entry) = repository.manifests.get(digest) {
            for before in entry.children.iter().chain(&entry.subject) {
                visit(repository, before, missing, done, order, depth - 1);
            }
        }
        order.push(digest);
    }
    let (mut done, mut order) = (BTreeSet::new(), Vec::new());
    for digest in missing {
        visit(repository, digest, missing, &mut done, &mut order, DEPTH);
    }
    order
}
