//! The rows of the tables, as data.

use crate::client::Style;
use crate::content::{self, Maker};
use crate::image::{Image, Images};
use crate::measure::{Effort, Load, NAME, Unit};
use crate::systems::Kind;
use bytes::Bytes;
use clap::ValueEnum;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

const SMALL: usize = 64 << 10;
const BIG: usize = 256 << 20;

/// Layers of an image, and their size.
const LAYERS: usize = 10;
const LAYER: usize = 4 << 20;

/// Big blobs that one connection carries in a measurement, at most: their
/// bytes are written to a disk.
const BIG_LIMIT: u64 = 2;

/// Images that one connection pushes in a measurement, at most.
const IMAGE_LIMIT: u64 = 8;

/// A quarter of a small blob.
const RANGE: &str = "bytes=16384-32767";

/// How many names there are to list.
const NAMES: [usize; 2] = [1_000, 10_000];

/// Connections of small rows that have only one figure for them.
const SOME: usize = 16;

/// Connections of pushes.
const FEW: usize = 4;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Manifests by tag, by digest, HEAD; a blob that is not there
    Manifest,
    /// Blobs of 64 KiB, whole and a range
    Blob64k,
    /// Small GETs that no cache of answers can answer
    Uncached,
    /// Blobs of 256 MiB
    Blob256m,
    /// Pushes of 256 MiB
    Push256m,
    /// Pushes of 64 KiB
    Push64k,
    /// Images of 10 layers of 4 MiB
    Image,
    /// Pages of tags and of the catalog, at 1,000 and 10,000
    Lists,
    /// Small GETs without and with TLS
    Tls,
    /// From a start to the first answer
    Start,
    /// SHA-256 in this program, to compare pushes with
    Hash,
}

/// Rows that are measured on the same servers.
#[derive(Debug)]
pub(crate) struct Stage {
    /// What it is called.
    pub(crate) title: String,
    /// Whether servers speak TLS.
    pub(crate) tls: bool,
    /// How many tags and repositories there are besides.
    pub(crate) names: usize,
    /// What the servers hold before.
    pub(crate) images: Vec<Image>,
    /// What is measured.
    pub(crate) rows: Vec<Row>,
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// What it is called.
    pub(crate) name: String,
    /// What it counts.
    pub(crate) unit: Unit,
    load: Load,
    effort: Effort,
}

impl Stage {
    fn new(title: &str, images: Vec<Image>, rows: Vec<Row>) -> Self {
        Self { title: title.to_owned(), tls: false, names: 0, images, rows }
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

    /// What to do to a server of this kind; `None` if it cannot.
    pub(crate) fn load(&self, kind: Kind) -> Option<(Load, Effort)> {
        let load = match (&self.load, kind) {
            (Load::Push(maker, Style::Put), Kind::Nginx) => {
                Load::Push(Arc::clone(maker), Style::File)
            }
            (Load::PushImage(images, _), Kind::Nginx) => {
                Load::PushImage(Arc::clone(images), Style::File)
            }
            (Load::Push(..), Kind::Nginx) => return None,
            (Load::Get { path, .. }, Kind::Nginx) if path.contains("?n=") => return None,
            (load, _) => load.clone(),
        };
        Some((load, self.effort))
    }
}

/// The stages of a group, each row measured for `duration` at a time; groups
/// that are measured in other ways have none.
pub(crate) fn stages(group: Group, pattern: &Bytes, duration: Duration) -> Vec<Stage> {
    match group {
        Group::Manifest => vec![manifests(pattern, duration)],
        Group::Blob64k => vec![small_blobs(pattern, duration)],
        Group::Uncached => vec![uncached(pattern, duration)],
        Group::Blob256m => vec![big_blobs(pattern, duration)],
        Group::Push256m => vec![big_pushes(pattern, duration)],
        Group::Push64k => vec![small_pushes(pattern, duration)],
        Group::Image => vec![images(pattern, duration)],
        Group::Lists => NAMES.map(|names| lists(pattern, names, duration)).into(),
        Group::Tls => [false, true].map(|tls| encryption(pattern, tls, duration)).into(),
        Group::Start | Group::Hash => Vec::new(),
    }
}

fn manifests(pattern: &Bytes, duration: Duration) -> Stage {
    let image = Images::new(pattern, 1, SMALL).image();
    let tag = Load::Get { path: image.by_tag(), range: None, unique: false };
    let digest = Load::Get { path: image.by_digest(), range: None, unique: false };
    let head = Load::Head { path: image.by_tag(), status: StatusCode::OK };
    let missing = format!("/v2/{NAME}/blobs/{}", content::digest(b"nobody has pushed this"));
    let missing = Load::Head { path: missing, status: StatusCode::NOT_FOUND };
    let loads = [
        ("manifest GET by tag", tag),
        ("manifest GET by digest", digest),
        ("manifest HEAD by tag", head),
        ("blob HEAD, 404", missing),
    ];
    let row = |(name, load): &(&str, Load), concurrency| {
        Row::new(name, Unit::Operations, load.clone(), concurrency, duration)
    };
    let rows = loads.iter().flat_map(|load| [1, 16, 64].map(|concurrency| row(load, concurrency)));
    Stage::new("Manifests of 2 KiB", vec![image], rows.collect())
}

fn small_blobs(pattern: &Bytes, duration: Duration) -> Stage {
    let image = Images::new(pattern, 1, SMALL).image();
    let path = image.layer();
    let whole = Load::Get { path: path.clone(), range: None, unique: false };
    let range = Load::Get { path, range: Some(RANGE), unique: false };
    let rows = vec![
        Row::new("64 KiB GET", Unit::Operations, whole, SOME, duration),
        Row::new("Range of 16 KiB of 64 KiB", Unit::Operations, range, SOME, duration),
    ];
    Stage::new("Blobs of 64 KiB", vec![image], rows)
}

fn uncached(pattern: &Bytes, duration: Duration) -> Stage {
    let image = Images::new(pattern, 1, SMALL).image();
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
    let title = "Small GETs, each with a query of its own";
    Stage::new(title, vec![image], loads.into_iter().map(row).collect())
}

fn big_blobs(pattern: &Bytes, duration: Duration) -> Stage {
    let image = Images::new(pattern, 1, BIG).image();
    let load = Load::Fetch(vec![image.layer()]);
    let row =
        |connections| Row::new("256 MiB GET", Unit::Bytes, load.clone(), connections, duration);
    Stage::new("Blobs of 256 MiB", vec![image], vec![row(1), row(FEW)])
}

fn big_pushes(pattern: &Bytes, duration: Duration) -> Stage {
    let maker = Arc::new(Maker::new(pattern, BIG));
    let styles = [
        ("256 MiB push, one PUT", Style::Put),
        ("256 MiB push, one PATCH without length", Style::Patch),
        ("256 MiB push, chunks of 5 MiB", Style::Chunks),
    ];
    let row = |name, style, connections| {
        let load = Load::Push(Arc::clone(&maker), style);
        Row::new(name, Unit::Bytes, load, connections, duration).at_most(BIG_LIMIT)
    };
    let rows = styles.into_iter().flat_map(|(name, style)| [1, FEW].map(|n| row(name, style, n)));
    Stage::new("Pushes of 256 MiB", Vec::new(), rows.collect())
}

fn small_pushes(pattern: &Bytes, duration: Duration) -> Stage {
    let load = Load::Push(Arc::new(Maker::new(pattern, SMALL)), Style::Put);
    let row = Row::new("64 KiB push", Unit::Operations, load, FEW, duration);
    Stage::new("Pushes of 64 KiB", Vec::new(), vec![row])
}

fn images(pattern: &Bytes, duration: Duration) -> Stage {
    let images = Images::new(pattern, LAYERS, LAYER);
    let image = images.image();
    let pull = Load::Fetch(image.paths());
    let push = Load::PushImage(Arc::new(images), Style::Patch);
    let rows = vec![
        Row::new("image push", Unit::Bytes, push, FEW, duration).at_most(IMAGE_LIMIT),
        Row::new("image pull", Unit::Bytes, pull, FEW, duration),
    ];
    Stage::new("Images of 10 layers of 4 MiB", vec![image], rows)
}

fn lists(pattern: &Bytes, names: usize, duration: Duration) -> Stage {
    let image = Images::new(pattern, 1, SMALL).image();
    // A page from the middle.
    let before = names / 2 - 1;
    let loads = [
        ("page of 100 tags", format!("/v2/{NAME}/tags/list?n=100&last={}", tag(before))),
        ("page of 100 repositories", format!("/v2/_catalog?n=100&last={}", repository(before))),
    ];
    let row = |(name, path)| {
        let load = Load::Get { path, range: None, unique: false };
        Row::new(name, Unit::Operations, load, 1, duration)
    };
    let title = format!("Lists, {names} names");
    Stage { names, ..Stage::new(&title, vec![image], loads.into_iter().map(row).collect()) }
}

/// The name of a tag that is there to be listed.
pub(crate) fn tag(number: usize) -> String {
    format!("v{number:05}")
}

/// The name of a repository that is there to be listed.
pub(crate) fn repository(number: usize) -> String {
    format!("bench/r{number:05}")
}

fn encryption(pattern: &Bytes, tls: bool, duration: Duration) -> Stage {
    let image = Images::new(pattern, 1, SMALL).image();
    let loads = [
        ("manifest GET by tag", image.by_tag()),
        ("manifest GET by digest", image.by_digest()),
        ("64 KiB GET", image.layer()),
    ];
    let row = |(name, path)| {
        let load = Load::Get { path, range: None, unique: false };
        Row::new(name, Unit::Operations, load, SOME, duration)
    };
    let rows = loads.into_iter().map(row).collect();
    let title = if tls { "Small GETs with TLS" } else { "The same without TLS" };
    Stage { tls, ..Stage::new(title, vec![image], rows) }
}
