//! A storage in memory, and registries over it.

use super::ask::FIXED;
use crate::body::NativeBodies;
use crate::bucket::{Conditions, MemoryBucket};
use crate::directory::{NativeDirectory, make_older};
use crate::native::{NativeRegistry, NativeStorage};
use bytes::Bytes;
use http::{Request, Response};
use roadstead_cloud::{CloudStorage, Options};
use roadstead_config::Config;
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_registry::{Progress, SliceOptions};
use roadstead_storage::{Storage, StorageError};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

/// How much time passes where time passes.
const LONG: Duration = Duration::from_hours(2);

/// What holds the content, and how many processes share it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// A directory, of one process.
    Directory,
    /// A directory that several processes share.
    SharedDirectory,
    /// A bucket. Its processes share nothing else, so one is as good as many.
    Bucket(Conditions),
}

impl Medium {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Directory,
        Self::SharedDirectory,
        Self::Bucket(Conditions::Honoured),
        Self::Bucket(Conditions::Ignored),
    ];
}

/// Something that is done with a storage, whatever it is.
pub(crate) trait Work {
    /// What comes of it.
    type Output;

    /// Does it.
    async fn run<S: Storage>(self, storage: &S) -> Result<Self::Output, StorageError>;
}

/// The policy of registries whose tags `a` and `b` expire.
const EXPIRES: &str =
    r#"{"repositories": "**", "keeptags": [{"patterns": "a|b", "pushedwithin": "30d"}]}"#;

/// The settings of all registries, of those with a tag that never changes, or of those whose
/// tags expire.
fn config(fixed: bool, expires: bool) -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    static CONFIG_FIXED: OnceLock<Config> = OnceLock::new();
    static CONFIG_EXPIRES: OnceLock<Config> = OnceLock::new();
    let place = match (fixed, expires) {
        (true, _) => &CONFIG_FIXED,
        (false, true) => &CONFIG_EXPIRES,
        (false, false) => &CONFIG,
    };
    place.get_or_init(|| {
        let mut settings = vec![("REGISTRY_STORAGE_DELETE_ENABLED".to_owned(), "true".to_owned())];
        if fixed {
            let rule = format!("fixed ** {FIXED}");
            settings.push(("REGISTRY_POLICY_IMMUTABLE".to_owned(), rule));
        } else if expires {
            let retention = |key: &str| format!("REGISTRY_POLICY_RETENTION_{key}");
            settings.push((retention("DRYRUN"), "false".to_owned()));
            settings.push((retention("POLICIES"), EXPIRES.to_owned()));
        }
        Config::from_variables(settings).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// A storage with some processes.
#[derive(Debug)]
pub struct World {
    medium: Medium,
    root: tempfile::TempDir,
    /// By process; none for a bucket.
    directories: Vec<Arc<Directory>>,
    bucket: MemoryBucket,
    /// Whether a tag never changes.
    fixed: bool,
    /// Settings of its own, instead.
    settings: Option<Config>,
    /// Whether tags expire.
    expires: bool,
}

impl World {
    /// An empty storage with so many processes.
    ///
    /// # Panics
    /// When there is no temporary directory.
    pub fn new(medium: Medium, processes: usize) -> Self {
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let root = root.unwrap_or_else(|error| panic!("a temporary directory: {error}"));
        let bucket = match medium {
            Medium::Bucket(conditions) => MemoryBucket::default().with_conditions(conditions),
            Medium::Directory | Medium::SharedDirectory => MemoryBucket::default(),
        };
        let mut world = Self {
            medium,
            root,
            directories: Vec::new(),
            bucket,
            fixed: false,
            settings: None,
            expires: false,
        };
        world.reopen(processes);
        world
    }

    /// The same with a tag that never changes, if `fixed`.
    #[must_use]
    pub fn with_fixed_tag(self, fixed: bool) -> Self {
        Self { fixed, ..self }
    }

    /// The same with another setting.
    ///
    /// # Panics
    /// When that is none.
    #[must_use]
    pub(crate) fn with_setting(self, name: &str, value: &str) -> Self {
        let settings = [
            ("REGISTRY_STORAGE_DELETE_ENABLED".to_owned(), "true".to_owned()),
            (name.to_owned(), value.to_owned()),
        ];
        let config = Config::from_variables(settings).unwrap_or_else(|error| panic!("{error}"));
        Self { settings: Some(config), ..self }
    }

    /// The same with tags that expire.
    #[must_use]
    pub(crate) fn with_expiry(self) -> Self {
        Self { expires: true, ..self }
    }

    /// Has all processes die, and others begin.
    ///
    /// # Panics
    /// When the directory cannot be opened.
    pub fn reopen(&mut self, processes: usize) {
        self.directories.clear();
        let count = match self.medium {
            Medium::Directory => 1,
            Medium::SharedDirectory => processes,
            Medium::Bucket(_) => 0,
        };
        let open = |_| {
            let opened = Directory::open(self.root.path());
            Arc::new(opened.unwrap_or_else(|error| panic!("the directory: {error}")))
        };
        self.directories = (0..count).map(open).collect();
    }

    /// Has the announcements of deletions be of two hours ago.
    ///
    /// # Panics
    /// When the directory cannot be read.
    pub fn let_time_pass(&self) {
        self.bucket.pass(LONG);
        age(&self.root().join("docker/registry/v2/repositories"), false)
            .unwrap_or_else(|error| panic!("the directory: {error}"));
    }

    /// Has so much time pass since all that is there was written.
    ///
    /// # Panics
    /// When the directory cannot be read or changed.
    pub(crate) fn pass(&self, time: Duration) {
        match self.medium {
            Medium::Bucket(_) => self.bucket.pass(time),
            Medium::Directory | Medium::SharedDirectory => make_older(self.root(), time),
        }
    }

    /// What paths of steps are relative to.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Has a process answer a request.
    ///
    /// # Panics
    /// When the settings are not valid.
    pub fn send(&self, process: usize, request: Request<Bytes>) -> Response<Bytes> {
        match self.directories.get(process % self.directories.len().max(1)) {
            Some(directory) => block_on(self.over(directory).send(request)),
            None => block_on(self.over_bucket().send(request)),
        }
    }

    /// Has the last process do a slice of garbage collection.
    pub(crate) fn collect(&self, order: &SliceOptions) -> Result<Progress, StorageError> {
        match self.directories.last() {
            Some(directory) => block_on(self.over(directory).collect(order)),
            None => block_on(self.over_bucket().collect(order)),
        }
    }

    fn over_bucket(&self) -> NativeRegistry {
        self.registry(self.storage_in_bucket())
    }

    fn over(&self, directory: &Arc<Directory>) -> NativeRegistry {
        self.registry(storage_in(directory))
    }

    fn registry(&self, storage: impl Into<NativeStorage>) -> NativeRegistry {
        let settings = self.settings.as_ref();
        let settings = settings.unwrap_or_else(|| config(self.fixed, self.expires));
        let registry = NativeRegistry::with_config(storage.into(), settings);
        registry.unwrap_or_else(|error| panic!("the settings: {error}"))
    }

    fn storage_in_bucket(&self) -> CloudStorage<NativeBodies> {
        let options = Options { secret: Some(b"secret".to_vec()), ..Options::default() };
        CloudStorage::new(self.bucket.backend(""), options)
    }

    /// Has a process do something else with the storage.
    pub(crate) fn work<W: Work>(&self, process: usize, work: W) -> Result<W::Output, StorageError> {
        match self.directories.get(process % self.directories.len().max(1)) {
            Some(directory) => block_on(work.run(&storage_in(directory))),
            None => block_on(work.run(&self.storage_in_bucket())),
        }
    }
}

fn storage_in(directory: &Arc<Directory>) -> DirectoryStorage<NativeDirectory> {
    DirectoryStorage(NativeDirectory::new(Arc::clone(directory)))
}

/// Makes the files below a directory older that are in one of deletions.
fn age(path: &Path, of_deletions: bool) -> std::io::Result<()> {
    if !path.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            age(&path, of_deletions || path.ends_with("_deletions"))?;
        } else if of_deletions {
            let file = std::fs::File::options().write(true).open(&path)?;
            file.set_modified(SystemTime::now() - LONG)?;
        }
    }
    Ok(())
}

/// Runs a future that never waits for anything but steps.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
