//! Archives as they are read: an index of where everything is, without unpacking.
//!
//! [`paths`] finds the archives, [`unpack`] what is within compressed ones, [`headers`] the
//! entries of tar files. [`scan`] sorts these by their names, and [`registry`], [`layout`],
//! [`docker`] and [`volumes`] make [`Group`]s of manifests of them. [`survey`] finds the
//! images of these, and [`walk`] all that images lead to.

mod docker;
mod error;
mod files;
mod headers;
mod layout;
mod names;
mod paths;
mod pax;
mod registry;
mod scan;
mod survey;
#[cfg(test)]
mod tests;
mod unpack;
mod volumes;
mod walk;

pub use error::Error;
pub use names::is_registry;
pub use volumes::Found;

use crate::Inventory;
use bytes::Bytes;
use files::{Archive, At};
use roadstead_oci::{Digest, Manifest, MediaType, RepositoryName, Tag};
use scan::Links;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Entries of an archive.
///
/// Limit: entries of an archive, and files of an OCI layout; test: `archives_have_limits`.
const ENTRIES: u64 = 1_000_000;

/// Archives of a set, each of which is an open file.
///
/// Limit: archives of a set; test: `archives_have_limits`.
const ARCHIVES: usize = 10_000;

/// How archives are opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where compressed archives, and those from standard input, are unpacked to; without it,
    /// they are refused. The files are deleted as soon as nobody reads them any more, even
    /// if the process is killed.
    pub temporary: Option<PathBuf>,
}

/// What is known where archives are opened.
struct Context<'a> {
    options: &'a Options,
    entries: u64,
    archives: usize,
    references: usize,
}

/// Some archives together: files, directories of files, OCI layouts, volumes of one export.
#[derive(Debug, Default)]
pub struct Set {
    archives: Vec<Archive>,
    /// Contents that an archive has all of.
    contents: BTreeMap<Digest, At>,
    /// Parts of contents, by where they begin.
    pieces: BTreeMap<Digest, BTreeMap<u64, At>>,
    /// Contents whose pieces are all here, in order.
    joined: BTreeMap<Digest, Vec<At>>,
    found: Vec<Found>,
    /// Archives that have one.
    with_inventory: BTreeSet<usize>,
    /// Directories of repositories, until all archives are known.
    repositories: BTreeMap<RepositoryName, Links>,
    groups: Vec<Group>,
    images: Vec<Image>,
    /// The group of each image.
    groups_of: Vec<usize>,
}

/// Manifests that belong together: those of a repository, of an OCI layout, or of what
/// `docker save` wrote.
#[derive(Debug, Default)]
struct Group {
    /// What messages call it.
    label: String,
    /// The repository, if it is one.
    repository: Option<RepositoryName>,
    /// The inventory that tells of it, if one does.
    inventory: Option<usize>,
    /// Manifests with the media types that are recorded for them.
    known: BTreeMap<Digest, Option<MediaType>>,
    /// What has a name.
    roots: Vec<(Name, Digest)>,
    /// Manifests by the one that they refer to.
    referrers: BTreeMap<Digest, Vec<Digest>>,
}

/// An image of an archive: what it is called there, and its manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Its name, if it has one.
    pub name: Name,
    /// Its manifest: an image, an index or an artifact.
    pub digest: Digest,
    /// The media type of that.
    pub media_type: Option<MediaType>,
}

/// What an archive calls an image.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Name {
    /// The registry, as in `docker.io` or `registry.example:5000`; none in a registry tar.
    pub host: Option<String>,
    /// The repository as Docker shows it: `alpine` for `docker.io/library/alpine`.
    pub repository: Option<RepositoryName>,
    /// The tag.
    pub tag: Option<Tag>,
}

/// The names that images are given.
pub type Naming<'a> = dyn Fn(&Image) -> Result<(RepositoryName, Option<Tag>), Error> + 'a;

impl fmt::Display for Name {
    /// As people write it, as far as it is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}/")?;
        }
        if let Some(repository) = &self.repository {
            write!(f, "{repository}")?;
        }
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
    }
}

/// A part of a file.
#[derive(Clone, Debug)]
pub struct Part {
    /// The file.
    pub file: Arc<File>,
    /// The bytes of it.
    pub range: Range<u64>,
}

/// Whether an archive begins with these bytes, at least [`BEGINNING`] of them if it has as many:
/// a tar file's first header has its checksum, and what is compressed says so.
pub fn is_archive(beginning: &[u8]) -> bool {
    unpack::is_packed(beginning) || headers::begins(beginning)
}

/// How many bytes of a file [`is_archive`] needs.
pub const BEGINNING: usize = headers::SIZE;

/// How deep indexes are nested in an archive.
///
/// Limit: indexes within one another in an archive; test: `deep_indexes_are_refused`.
const DEPTH: usize = 8;

impl Set {
    /// Opens archives, and reads where what is in them. A path is a tar file (perhaps
    /// compressed), an OCI layout, a directory of tar files, or `-` for standard input.
    ///
    /// # Errors
    /// When one cannot be read, or holds what no archive should.
    pub fn open(paths: &[PathBuf], options: &Options) -> Result<Self, Error> {
        Self::open_with(paths, options, &mut io::stdin().lock())
    }

    /// The same, with something else for standard input.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        paths: &[PathBuf],
        options: &Options,
        stdin: &mut dyn Read,
    ) -> Result<Self, Error> {
        let references = survey::REFERENCES;
        let context = Context { options, entries: ENTRIES, archives: ARCHIVES, references };
        Self::read(paths, &context, stdin)
    }

    fn read(paths: &[PathBuf], context: &Context<'_>, stdin: &mut dyn Read) -> Result<Self, Error> {
        let mut set = Self::default();
        for path in paths {
            paths::open(&mut set, path, stdin, context)?;
        }
        registry::group(&mut set);
        volumes::group(&mut set)?;
        survey::survey(&mut set, context.references)?;
        Ok(set)
    }

    /// The images: all that has a tag or that nothing else in the archive leads to.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The inventories of our own exports, of which each volume has a copy. Whether they are
    /// signed, and by whom, is for the caller to find out.
    pub fn inventories(&self) -> &[Found] {
        &self.found
    }

    /// An archive that has no inventory of ours, if there is one.
    pub fn without_inventory(&self) -> Option<&str> {
        let has = |index: usize| self.with_inventory.contains(&index);
        let mut archives = self.archives.iter().enumerate();
        archives.find(|(index, _)| !has(*index)).map(|(_, archive)| archive.label.as_str())
    }

    /// How many bytes a content has, if all of it is here.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        self.places(digest).map(|places| places.iter().map(|at| at.span.size).sum())
    }

    /// Where the bytes of a content are, if all of them are here: parts of files, in order.
    /// A range beyond its end means what is before that.
    pub fn parts(&self, digest: &Digest, range: Range<u64>) -> Option<Vec<Part>> {
        let (mut parts, mut start) = (Vec::new(), 0);
        for at in self.places(digest)? {
            let span = at.span;
            let from = range.start.saturating_sub(start).min(span.size);
            let to = range.end.saturating_sub(start).min(span.size);
            if from < to {
                let file = self.archives.get(at.archive)?.file(digest, span).ok()?;
                parts.push(Part { file, range: span.offset + from..span.offset + to });
            }
            start += span.size;
        }
        Some(parts)
    }

    /// The part of a content that begins at a byte and is in a volume, where the content is
    /// larger than one.
    pub fn piece(&self, digest: &Digest, offset: u64) -> Option<Part> {
        let at = self.pieces.get(digest)?.get(&offset)?;
        let (span, archive) = (at.span, self.archives.get(at.archive)?);
        let file = archive.file(digest, span).ok()?;
        Some(Part { file, range: span.offset..span.offset + span.size })
    }

    /// The bytes of a manifest, which have its digest.
    ///
    /// # Errors
    /// When it is too large, cannot be read, or has another digest.
    pub fn manifest(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let Some(places) = self.places(digest) else { return Ok(None) };
        let archive = places.first().and_then(|at| self.archives.get(at.archive));
        let label = archive.map_or("", |archive| &archive.label);
        let refused = |why: &dyn fmt::Display| Error::entry(label, digest.as_str().as_bytes(), why);
        if self.size(digest).is_none_or(|size| size > Manifest::MAX_SIZE as u64) {
            return Err(refused(&"is too large for a manifest"));
        }
        let parts = self.parts(digest, 0..u64::MAX);
        let parts = parts.ok_or_else(|| refused(&"cannot be read any more"))?;
        let mut bytes = Vec::new();
        for Part { file, range } in parts {
            let start = bytes.len();
            let length = usize::try_from(range.end - range.start).unwrap_or_default();
            bytes.resize(start + length, 0);
            let read = file.read_exact_at(bytes.get_mut(start..).unwrap_or_default(), range.start);
            read.map_err(|error| refused(&error))?;
        }
        if files::digest_of(&bytes, digest.algorithm()).as_ref() != Some(digest) {
            return Err(refused(&"does not have its digest: the archive is damaged"));
        }
        Ok(Some(bytes.into()))
    }

    /// The inventory of these images, under names that `name` gives them: all manifests that
    /// they lead to, referrers included, and all blobs. Contents that are not here have no
    /// pieces; all others are in volume 1. Of a repository in volumes of our own, all is
    /// taken from their inventory, so that what is in other volumes is known, too.
    ///
    /// # Errors
    /// When a manifest is damaged or is none, and when indexes are nested too deep.
    pub fn inventory(&self, name: &Naming<'_>) -> Result<Inventory, Error> {
        walk::inventory(self, name)
    }

    /// The contents of an inventory that are not all here, and the volumes that the rest of
    /// each is in: none, if it is in no volume.
    pub fn missing(&self, inventory: &Inventory) -> BTreeMap<Digest, BTreeSet<u32>> {
        let contents = inventory.contents.iter();
        let missing = contents.filter(|(digest, _)| self.places(digest).is_none());
        missing
            .map(|(digest, content)| {
                let here = self.pieces.get(digest);
                let pieces = content.pieces.iter();
                let others = pieces
                    .filter(|piece| !here.is_some_and(|here| here.contains_key(&piece.offset)));
                (digest.clone(), others.map(|piece| piece.volume).collect())
            })
            .collect()
    }

    fn places(&self, digest: &Digest) -> Option<&[At]> {
        match self.contents.get(digest) {
            Some(at) => Some(std::slice::from_ref(at)),
            None => self.joined.get(digest).map(Vec::as_slice),
        }
    }

    /// A manifest; none if it is not here, and if it is no manifest.
    fn parse(
        &self,
        digest: &Digest,
        media_type: Option<&MediaType>,
    ) -> Result<Option<Manifest>, Error> {
        if self.size(digest).is_some_and(|size| size > Manifest::MAX_SIZE as u64) {
            return Ok(None);
        }
        let bytes = self.manifest(digest)?;
        Ok(bytes.and_then(|bytes| Manifest::parse_stored(&bytes, media_type).ok()))
    }

    /// Adds a content, of which any copy will do.
    fn add_blob(&mut self, digest: &Digest, at: At) -> Result<(), Error> {
        let Some(before) = self.contents.get(digest) else {
            self.contents.insert(digest.clone(), at);
            return Ok(());
        };
        if before.span.size == at.span.size {
            return Ok(());
        }
        let label = self.archives.get(at.archive).map_or("", |archive| &archive.label);
        Err(self.other_size(digest, at.span.size, label))
    }

    /// Refuses a size that is not the one of the content that is here.
    fn check_size(&self, digest: &Digest, size: u64, label: &str) -> Result<(), Error> {
        match self.size(digest) {
            Some(own) if own != size => Err(self.other_size(digest, size, label)),
            _ => Ok(()),
        }
    }

    fn other_size(&self, digest: &Digest, size: u64, label: &str) -> Error {
        let own = self.size(digest).unwrap_or_default();
        let at = self.places(digest).and_then(|places| places.first());
        let archive = at.and_then(|at| self.archives.get(at.archive));
        let archive = archive.map_or("another archive", |archive| &archive.label);
        let why = format!("{digest} has {size} bytes here, but {own} in {archive}");
        Error::of(label, why)
    }
}
