//! The rows of the tables, as data.

use crate::client::PushStyle;
use crate::content::{self, BlobGenerator, REPOSITORY};
use crate::image::{Image, ImageGenerator};
use crate::listing::{repository, tag};
use crate::load::{Effort, Load};
use crate::sample::Unit;
use crate::systems::SystemKind;
use bytes::Bytes;
use clap::ValueEnum;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

const SMALL: usize = 64 << 10;
const BIG: usize = 256 << 20;

/// Layers of an image, and the size of each in bytes.
const LAYERS: usize = 10;
const LAYER: usize = 4 << 20;

/// Most big blobs that one connection pushes in a measurement: they are written
/// to a disk.
const BIG_LIMIT: u64 = 2;

/// Most images that one connection pushes in a measurement.
const IMAGE_LIMIT: u64 = 8;

/// What clients ask for first.
const BASE: &str = "/v2/";

/// A quarter of a small blob.
const RANGE: &str = "bytes=16384-32767";

/// The numbers of names to list.
const NAMES: [usize; 2] = [1_000, 10_000];

/// The numbers of tags, repositories and blobs of one registry.
const GROWTH: [usize; 3] = [1_000, 10_000, 100_000];

/// Connections of small rows that are measured at one concurrency.
const SOME: usize = 16;

/// Connections of pushes and of big blobs.
const FEW: usize = 4;

/// Clients that read slowly beside others.
const SLOW: usize = 64;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Manifests by tag, by digest, HEAD; a missing blob
    Manifest,
    /// Blobs of 64 KiB, whole and a range
    Blob64k,
    /// Small requests that cannot be answered from a cache
    Uncached,
    /// Blobs of 256 MiB, also beside 64 slow readers
    Blob256m,
    /// Pushes of 256 MiB
    Push256m,
    /// Pushes of 64 KiB, in one PUT and by PATCH
    Push64k,
    /// What CI pushes: an image that is there already, one of ten layers changed, a tag that moves
    /// among 10,000, the first image of a new repository
    Ci,
    /// Ranges of a blob of 256 MiB
    Ranges,
    /// Images of 10 layers of 4 MiB
    Image,
    /// Pages of tags and of the catalog, at 1,000 and 10,000
    Lists,
    /// Small GETs, pushes, tags that move and pages, beside 1,000, 10,000 and 100,000 tags,
    /// repositories and blobs; only of systems with distribution's layout
    Growth,
    /// GETs without and with TLS, small ones and 256 MiB, and pushes of 256 MiB
    Tls,
    /// From a start to the first response
    Start,
    /// Pulls and pushes beside garbage collection, of Roadstead alone
    Collection,
    /// SHA-256 in this program, for comparison with pushes
    Hash,
}

/// Rows that are measured on the same servers.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Its title.
    pub(crate) title: String,
    /// Whether servers speak TLS.
    pub(crate) tls: bool,
    /// How many tags there are beside those that are pushed.
    pub(crate) tags: usize,
    /// How many repositories there are beside the one that is pushed to.
    pub(crate) repositories: usize,
    /// How many blobs there are beside those that are pushed.
    pub(crate) blobs: usize,
    /// Whether data is in memory, if there is a file system for that.
    pub(crate) in_memory: bool,
    /// What is pushed to the servers beforehand.
    pub(crate) images: Vec<Arc<Image>>,
    /// The measured rows.
    pub(crate) rows: Vec<Row>,
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its title.
    pub(crate) name: String,
    /// What it measures.
    pub(crate) unit: Unit,
    load: Load,
    effort: Effort,
}

impl Stage {
    fn new(title: &str, images: Vec<Arc<Image>>, rows: Vec<Row>) -> Self {
        Self {
            title: title.to_owned(),
            tls: false,
            tags: 0,
            repositories: 0,
            blobs: 0,
            in_memory: false,
            images,
            rows,
        }
    }
}

impl Row {
    fn new(name: &str, unit: Unit, load: Load, concurrency: usize, duration: Duration) -> Self {
        let name = format!("{name}, c{concurrency}");
        Self { name, unit, load, effort: Effort { concurrency, duration, operations: u64::MAX } }
    }

    fn at_most(mut self, operations: u64) -> Self {
        self.effort.operations = operations;
        self
    }

    /// The load for a system; `None` if it cannot serve it.
    pub(crate) fn load(&self, kind: SystemKind) -> Option<(Load, Effort)> {
        let load = match (&self.load, kind) {
            (Load::Push(maker, PushStyle::Put), SystemKind::Nginx) => {
                Load::Push(Arc::clone(maker), PushStyle::File)
            }
            (Load::PushImage(images, _), SystemKind::Nginx) => {
                Load::PushImage(Arc::clone(images), PushStyle::File)
            }
            (
                Load::Push(..) | Load::PushNew(_) | Load::PushAgain(..) | Load::Tag(..),
                SystemKind::Nginx,
            ) => return None,
            (Load::Get { path, .. }, SystemKind::Nginx)
                if path == BASE || path.contains("/tags/list") || path.contains("_catalog") =>
            {
                return None;
            }
            (load, _) => load.clone(),
        };
        Some((load, self.effort))
    }
}

/// The stages of a group, with each row measured for `duration` at a time. Groups
/// that are measured in another way have none.
pub(crate) fn stages(group: Group, pattern: &Bytes, duration: Duration) -> Vec<Stage> {
    match group {
        Group::Manifest => vec![manifests(pattern, duration)],
        Group::Blob64k => vec![small_blobs(pattern, duration)],
        Group::Uncached => vec![uncached(pattern, duration)],
        Group::Blob256m => vec![big_blobs(pattern, duration)],
        Group::Push256m => vec![big_pushes(pattern, duration)],
        Group::Push64k => vec![small_pushes(pattern, duration)],
        Group::Ci => vec![
            layers_again(pattern, duration),
            moving_tags(pattern, duration),
            new_repositories(pattern, duration),
        ],
        Group::Ranges => vec![ranges(pattern, duration)],
        Group::Image => vec![images(pattern, duration)],
        Group::Lists => NAMES.map(|names| lists(pattern, names, duration)).into(),
        Group::Growth => GROWTH.map(|size| growth(pattern, size, duration)).into(),
        Group::Tls => [false, true].map(|tls| encryption(pattern, tls, duration)).into(),
        Group::Start | Group::Collection | Group::Hash => Vec::new(),
    }
}

fn manifests(pattern: &Bytes, duration: Duration) -> Stage {
    let image = ImageGenerator::new(pattern, 1, SMALL).image();
    let tag = Load::Get { path: image.by_tag(), range: None, unique: false };
    let digest = Load::Get { path: image.by_digest(), range: None, unique: false };
    let head = Load::Head { path: image.by_tag(), status: StatusCode::OK };
    let missing = format!("/v2/{REPOSITORY}/blobs/{}", content::digest(b"never pushed"));
    let missing = Load::Head { path: missing, status: StatusCode::NOT_FOUND };
    let base = Load::Get { path: BASE.to_owned(), range: None, unique: false };
    let loads = [
        ("GET /v2/", base),
        ("manifest GET by tag", tag),
        ("manifest GET by digest", digest),
        ("manifest HEAD by tag", head),
        ("blob HEAD, 404", missing),
    ];
    let row = |(name, load): &(&str, Load), concurrency| {
        Row::new(name, Unit::Operations, load.clone(), concurrency, duration)
    };
    let rows = loads.iter().flat_map(|load| [1, 16, 64].map(|concurrency| row(load, concurrency)));
    Stage::new("Manifests of 2 KiB", vec![Arc::new(image)], rows.collect())
}

fn small_blobs(pattern: &Bytes, duration: Duration) -> Stage {
    let image = ImageGenerator::new(pattern, 1, SMALL).image();
    let path = image.layer();
    let whole = Load::Get { path: path.clone(), range: None, unique: false };
    let range = Load::Get { path, range: Some(RANGE), unique: false };
    let rows = vec![
        Row::new("64 KiB GET", Unit::Operations, whole, SOME, duration),
        Row::new("Range of 16 KiB of 64 KiB", Unit::Operations, range, SOME, duration),
    ];
    Stage::new("Blobs of 64 KiB", vec![Arc::new(image)], rows)
}

fn uncached(pattern: &Bytes, duration: Duration) -> Stage {
    let image = ImageGenerator::new(pattern, 1, SMALL).image();
    let loads = [
        ("manifest GET by tag", image.by_tag(), None),
        ("manifest GET by digest", image.by_digest(), None),
        ("64 KiB GET", image.layer(), None),
        ("Range of 16 KiB of 64 KiB", image.layer(), Some(RANGE)),
    ];
    let row = |(name, path, range)| {
        let load = Load::Get { path, range, unique: true };
        Row::new(name, Unit::Operations, load, SOME, duration)
    };
    let title = "Small requests past the cache";
    let misses = Arc::new(BlobGenerator::new(pattern, 100));
    let miss = |connections| {
        let load = Load::Miss(Arc::clone(&misses));
        Row::new(
            "HEAD of blobs that were never asked for",
            Unit::Operations,
            load,
            connections,
            duration,
        )
    };
    let rows = loads.into_iter().map(row).chain([1, SOME].map(miss));
    Stage::new(title, vec![Arc::new(image)], rows.collect())
}

fn big_blobs(pattern: &Bytes, duration: Duration) -> Stage {
    let image = ImageGenerator::new(pattern, 1, BIG).image();
    let load = Load::Fetch(vec![image.layer()]);
    let row =
        |connections| Row::new("256 MiB GET", Unit::Bytes, load.clone(), connections, duration);
    let name = format!("256 MiB GET beside {SLOW} slow readers");
    let load = Load::FetchBeside(image.layer(), SLOW);
    let beside = Row::new(&name, Unit::Bytes, load, FEW, duration);
    Stage::new("Blobs of 256 MiB", vec![Arc::new(image)], vec![row(1), row(FEW), beside])
}

fn big_pushes(pattern: &Bytes, duration: Duration) -> Stage {
    let maker = Arc::new(BlobGenerator::new(pattern, BIG));
    let styles = [
        ("256 MiB push, one PUT", PushStyle::Put),
        ("256 MiB push, one PATCH without length", PushStyle::Patch),
        ("256 MiB push, chunks of 5 MiB", PushStyle::Chunks),
    ];
    let row = |name, style, connections| {
        let load = Load::Push(Arc::clone(&maker), style);
        Row::new(name, Unit::Bytes, load, connections, duration).at_most(BIG_LIMIT)
    };
    let rows = styles.into_iter().flat_map(|(name, style)| [1, FEW].map(|n| row(name, style, n)));
    Stage::new("Pushes of 256 MiB", Vec::new(), rows.collect())
}

fn small_pushes(pattern: &Bytes, duration: Duration) -> Stage {
    let maker = Arc::new(BlobGenerator::new(pattern, SMALL));
    let row = |(name, style, connections)| {
        let load = Load::Push(Arc::clone(&maker), style);
        Row::new(name, Unit::Operations, load, connections, duration)
    };
    let (put, patch) = ("64 KiB push, POST and PUT", "64 KiB push, POST, PATCH and PUT");
    let rows = [
        (put, PushStyle::Put, 1),
        (put, PushStyle::Put, FEW),
        (patch, PushStyle::Patch, 1),
        (patch, PushStyle::Patch, FEW),
    ];
    Stage::new("Pushes of 64 KiB", Vec::new(), rows.map(row).into())
}

/// Images of which all layers, or all but one, are there already.
fn layers_again(pattern: &Bytes, duration: Duration) -> Stage {
    let known = Arc::new(ImageGenerator::new(pattern, LAYERS, SMALL).image());
    let changing = Arc::new(ImageGenerator::new(pattern, LAYERS, LAYER).changing_one());
    let former = Arc::new(changing.image());
    let again = Load::PushAgain(Arc::clone(&known), Arc::default());
    let one = Load::PushImage(changing, PushStyle::Patch);
    let rows = vec![
        Row::new(
            "image of 10 layers that are there, new tag",
            Unit::Operations,
            again,
            FEW,
            duration,
        ),
        Row::new("image, one of 10 layers of 4 MiB changed", Unit::Operations, one, FEW, duration)
            .at_most(IMAGE_LIMIT),
    ];
    Stage::new("Images that are there already", vec![known, former], rows)
}

fn moving_tags(pattern: &Bytes, duration: Duration) -> Stage {
    let images = ImageGenerator::new(pattern, 1, SMALL);
    let images = [Arc::new(images.image()), Arc::new(images.image())];
    let tags = NAMES[1];
    let load = Load::Tag(images.clone(), tags, Arc::default());
    let rows = vec![Row::new("tag moves", Unit::Operations, load, FEW, duration)];
    let title = format!("Tags in a repository of {tags}");
    Stage { tags, ..Stage::new(&title, images.into(), rows) }
}

fn new_repositories(pattern: &Bytes, duration: Duration) -> Stage {
    let images = Arc::new(ImageGenerator::new(pattern, 1, SMALL));
    let former = Arc::new(images.image());
    let load = Load::PushNew(images);
    let rows = vec![Row::new("first image of a repository", Unit::Operations, load, FEW, duration)];
    let repositories = NAMES[0];
    let title = format!("New repositories beside {repositories}");
    Stage { repositories, ..Stage::new(&title, vec![former], rows) }
}

fn ranges(pattern: &Bytes, duration: Duration) -> Stage {
    let image = ImageGenerator::new(pattern, 1, BIG).image();
    let row = |name, unit, size: usize, connections| {
        let (size, count) = (size as u64, (BIG / size) as u64);
        let load = Load::Ranges { path: image.layer(), size, count, next: Arc::default() };
        Row::new(name, unit, load, connections, duration)
    };
    let rows = vec![
        row("range of 64 KiB", Unit::Operations, SMALL, 1),
        row("ranges of 8 MiB", Unit::Bytes, 8 << 20, SOME),
    ];
    Stage::new("Ranges of a blob of 256 MiB", vec![Arc::new(image)], rows)
}

fn images(pattern: &Bytes, duration: Duration) -> Stage {
    let images = ImageGenerator::new(pattern, LAYERS, LAYER);
    let image = images.image();
    let pull = Load::Fetch(image.paths());
    let push = Load::PushImage(Arc::new(images), PushStyle::Patch);
    let rows = vec![
        Row::new("image push", Unit::Bytes, push, FEW, duration).at_most(IMAGE_LIMIT),
        Row::new("image pull", Unit::Bytes, pull, FEW, duration),
    ];
    Stage::new("Images of 10 layers of 4 MiB", vec![Arc::new(image)], rows)
}

fn lists(pattern: &Bytes, names: usize, duration: Duration) -> Stage {
    let image = ImageGenerator::new(pattern, 1, SMALL).image();
    // A page from the middle.
    let before = names / 2 - 1;
    let loads = [
        ("page of 100 tags", format!("/v2/{REPOSITORY}/tags/list?n=100&last={}", tag(before))),
        ("all tags", format!("/v2/{REPOSITORY}/tags/list")),
        ("page of 100 repositories", format!("/v2/_catalog?n=100&last={}", repository(before))),
    ];
    let row = |(name, path)| {
        let load = Load::Get { path, range: None, unique: false };
        Row::new(name, Unit::Operations, load, 1, duration)
    };
    let title = format!("Lists, {names} names");
    let rows = loads.into_iter().map(row).collect();
    let (tags, repositories, in_memory) = (names, names, true);
    Stage { tags, repositories, in_memory, ..Stage::new(&title, vec![Arc::new(image)], rows) }
}

fn growth(pattern: &Bytes, size: usize, duration: Duration) -> Stage {
    let images = ImageGenerator::new(pattern, 1, SMALL);
    let [image, other] = [Arc::new(images.image()), Arc::new(images.image())];
    let get = |path, unique| Load::Get { path, range: None, unique };
    let before = size / 2 - 1;
    let tags = format!("/v2/{REPOSITORY}/tags/list?n=100&last={}", tag(before));
    let repositories = format!("/v2/_catalog?n=100&last={}", repository(before));
    let push = Load::Push(Arc::new(BlobGenerator::new(pattern, SMALL)), PushStyle::Put);
    let rows = [
        ("manifest GET by tag, past the cache", get(image.by_tag(), true), SOME),
        ("64 KiB GET, past the cache", get(image.layer(), true), SOME),
        ("64 KiB push, POST and PUT", push, FEW),
        (
            "tag moves",
            Load::Tag([Arc::clone(&image), Arc::clone(&other)], size, Arc::default()),
            FEW,
        ),
        ("page of 100 tags", get(tags, false), 1),
        ("page of 100 repositories", get(repositories, false), 1),
    ];
    let row =
        |(name, load, connections)| Row::new(name, Unit::Operations, load, connections, duration);
    let title = format!("{size} tags, repositories and blobs");
    let stage = Stage::new(&title, vec![image, other], rows.map(row).into());
    Stage { tags: size, repositories: size, blobs: size, in_memory: true, ..stage }
}

fn encryption(pattern: &Bytes, tls: bool, duration: Duration) -> Stage {
    let image = ImageGenerator::new(pattern, 1, SMALL).image();
    let loads = [
        ("manifest GET by tag", image.by_tag()),
        ("manifest GET by digest", image.by_digest()),
        ("64 KiB GET", image.layer()),
    ];
    let row = |(name, path)| {
        let load = Load::Get { path, range: None, unique: false };
        Row::new(name, Unit::Operations, load, SOME, duration)
    };
    let big = ImageGenerator::new(pattern, 1, BIG).image();
    let load = Load::Get { path: big.layer(), range: None, unique: false };
    let bulk = Row::new("256 MiB GET", Unit::Bytes, load, FEW, duration);
    let load = Load::Push(Arc::new(BlobGenerator::new(pattern, BIG)), PushStyle::Put);
    let push = Row::new("256 MiB push, one PUT", Unit::Bytes, load, FEW, duration);
    let rows = loads.into_iter().map(row).chain([bulk, push.at_most(BIG_LIMIT)]).collect();
    let title = if tls { "GETs and pushes with TLS" } else { "GETs and pushes without TLS" };
    Stage { tls, ..Stage::new(title, vec![Arc::new(image), Arc::new(big)], rows) }
}
