//! What the environment says about a soak.

use roadstead_tests::Distribution;
use std::env;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Images that are pushed, unless `SOAK` says another number.
const PUSHES: u64 = 600;

/// The most that are pushed to the bucket of the third test.
const PUSHES_TO_BUCKET: u64 = 150;

/// How long a client relies on an answer.
pub const GRACE: Duration = Duration::from_secs(2);

/// How long condemned content is kept: longer than a cached HEAD, which is 10 s old
/// at most, and its client together.
pub const KEEP: Duration = Duration::from_secs(13);

/// Where the content is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// A directory, which one process serves.
    Directory,
    /// A directory, which three processes serve.
    Shared,
    /// A bucket of three nodes, which ignores conditions.
    Garage,
    /// A bucket that honours conditions.
    Azurite,
    /// The same, of the stand-in in this process.
    Gcs,
    /// A directory that distribution serves, with its own collector.
    Distribution,
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub store: Store,
    pub pushes: u64,
    pub seed: u64,
    pub clients: u64,
    /// Contents of layers that are pushed rarely.
    pub layers: u32,
    /// Between two kills at most; zero for none.
    pub kills: Duration,
    pub directory: PathBuf,
    /// Whether that is left there.
    pub keeps: bool,
    /// A program of distribution that serves the same directory.
    pub second: Option<PathBuf>,
}

impl Settings {
    pub fn from_environment() -> Self {
        Self::of(match env::var("SOAK_STORE").as_deref() {
            Err(_) | Ok("directory") => Store::Directory,
            Ok("shared") => Store::Shared,
            Ok("garage") => Store::Garage,
            Ok("azurite") => Store::Azurite,
            Ok("gcs") => Store::Gcs,
            Ok("distribution") => Store::Distribution,
            Ok(other) => panic!("SOAK_STORE={other}"),
        })
    }

    /// What the other variables say.
    fn of(store: Store) -> Self {
        let number = |name, default: u64| {
            env::var(name).map_or(default, |text| text.parse().expect("a number"))
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let (layers, kills) = match store {
            Store::Directory | Store::Distribution => (4000, 10_000),
            Store::Shared | Store::Garage | Store::Azurite | Store::Gcs => (600, 60_000),
        };
        Self {
            store,
            pushes: number("SOAK", PUSHES),
            seed: number("SOAK_SEED", now),
            clients: number("SOAK_CLIENTS", 12),
            layers: u32::try_from(number("SOAK_LAYERS", layers)).unwrap(),
            kills: Duration::from_millis(number("SOAK_KILLS", kills)),
            directory: env::var("SOAK_DIRECTORY").map_or_else(|_| env::temp_dir(), PathBuf::from),
            keeps: env::var_os("SOAK_KEEP").is_some(),
            second: None,
        }
    }

    /// The same, over a bucket that honours conditions, with fewer pushes.
    pub fn over_a_bucket() -> Self {
        let settings = Self::of(Store::Gcs);
        Self { pushes: settings.pushes.min(PUSHES_TO_BUCKET), ..settings }
    }

    /// The same, of a directory that distribution serves too: `SOAK_SECOND`, or each version
    /// that is installed.
    pub fn beside_others() -> Vec<Self> {
        let named = env::var_os("SOAK_SECOND").map(PathBuf::from);
        let programs = named.map_or_else(Distribution::programs, |named| vec![named]);
        let settings = Self::of(Store::Directory);
        let beside = |second| Self { second: Some(second), ..settings.clone() };
        programs.into_iter().map(beside).collect()
    }

    /// The number of processes that serve the content at the same time.
    pub fn instances(&self) -> usize {
        match self.store {
            Store::Directory | Store::Distribution => 1 + usize::from(self.second.is_some()),
            Store::Shared | Store::Garage | Store::Azurite | Store::Gcs => 3,
        }
    }

    /// Whether a process is the only one of its kind that serves a directory: with it dies
    /// all that it has announced there.
    pub fn is_alone(&self, instance: usize) -> bool {
        self.store == Store::Directory && self.second() != Some(instance)
    }

    /// Whether only ours serve the content: garbage is removed while clients push, and
    /// signatures are found by what they sign.
    pub fn is_ours(&self) -> bool {
        self.store != Store::Distribution && self.second.is_none()
    }

    /// Which of the processes is distribution's, beside ours.
    pub fn second(&self) -> Option<usize> {
        self.second.is_some().then_some(1)
    }

    /// Whether tags can be deleted, besides manifests with their tags.
    pub fn deletes_tags(&self) -> bool {
        self.store != Store::Distribution
    }

    /// How old a response may be that another instance has outdated.
    pub fn stale(&self) -> Duration {
        if self.instances() == 1 { Duration::ZERO } else { Duration::from_secs(11) }
    }

    /// What the collector does: with short waits, each second.
    pub fn collection(&self) -> String {
        // A kill ends all that a process has begun in a directory; a request to a store
        // goes on for a moment.
        let settled = match self.store {
            Store::Directory | Store::Shared | Store::Distribution => 0,
            Store::Garage | Store::Azurite | Store::Gcs => 8000,
        };
        format!(
            "{{\"first\":0,\"overrides\":{{\"grace\":{},\"keep\":{},\"interval\":1000,\"valid\":3600000,\
             \"settled\":{settled},\"budget\":1000,\"exclusive\":false}}}}",
            GRACE.as_millis(),
            KEEP.as_millis()
        )
    }
}
