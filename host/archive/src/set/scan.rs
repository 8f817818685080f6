//! What is in a tar file, by the names of its members: only what may be part of an image is
//! kept.

use super::Context;
use super::error::Error;
use super::files::Span;
use super::headers::{Entries, Kind};
use crate::members;
use roadstead_oci::{Algorithm, Digest, MediaType, RepositoryName, Tag};
use roadstead_storage::{Key, LAYOUT, Pointer, StorageError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

/// Members whose names say nothing, of which Docker's `manifest.json` may name some.
///
/// Limit: bytes of such names that are kept; test: `unknown_members_are_kept_within_a_limit`.
const NAMES: usize = 16 * 1024 * 1024;

/// The members of a tar file.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Whether anything of a registry's directory is in it.
    pub(super) is_registry: bool,
    /// The blobs of a registry's directory and of an OCI layout.
    pub(super) blobs: BTreeMap<Digest, Span>,
    /// The links of a registry's directory.
    pub(super) repositories: BTreeMap<RepositoryName, Links>,
    /// The inventory of an export of ours.
    pub(super) inventory: Option<Span>,
    pub(super) signature: Option<Span>,
    pub(super) volume: Option<Span>,
    /// Parts of contents that are larger than a volume, by where they begin.
    pub(super) pieces: BTreeMap<Digest, BTreeMap<u64, Span>>,
    /// Other members.
    files: BTreeMap<String, Span>,
    /// Members of Docker's that stand for others.
    links: BTreeMap<String, String>,
    /// How many bytes the names of both have.
    names: usize,
}

/// What the directory of a repository says.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) revisions: BTreeSet<Digest>,
    pub(super) media_types: BTreeMap<Digest, MediaType>,
    pub(super) tags: BTreeMap<Tag, Digest>,
}

impl Scan {
    /// Reads all headers of a tar file, and the links of repositories.
    pub(super) fn new(archive: &str, file: &File, context: &Context<'_>) -> Result<Self, Error> {
        let mut members = Self::default();
        let mut entries = Entries::new(archive, file, context.entries)?;
        while let Some(entry) = entries.next()? {
            // What is no text is nothing of an image.
            let Ok(name) = String::from_utf8(entry.name) else { continue };
            match entry.kind {
                Kind::Layer(target) => {
                    if members.has_room(name.len() + target.len()) {
                        members.links.insert(name, target);
                    }
                }
                Kind::File(span) => {
                    let added = members.add(&name, file, span);
                    added.map_err(|why| Error::entry(archive, name.as_bytes(), why))?;
                }
            }
        }
        Ok(members)
    }

    /// A member by its name, as `manifest.json` has it.
    pub(super) fn file(&self, name: &str) -> Option<Span> {
        let name = name.strip_prefix("./").unwrap_or(name);
        match parse_blob(name) {
            Some(digest) => self.blobs.get(&digest).copied(),
            None => self.files.get(name).copied(),
        }
    }

    /// The member that a member of Docker's stands for.
    pub(super) fn link(&self, name: &str) -> Option<&str> {
        self.links.get(name).map(String::as_str)
    }

    /// Any member that stands for another.
    pub(super) fn any_link(&self) -> Option<&str> {
        self.links.keys().next().map(String::as_str)
    }

    fn has_room(&mut self, length: usize) -> bool {
        self.names += length;
        self.names <= NAMES
    }

    fn add(&mut self, name: &str, file: &File, span: Span) -> Result<(), String> {
        if name.strip_prefix(LAYOUT).is_some_and(|rest| rest.starts_with('/')) {
            return match Key::parse(name) {
                Ok(key) => self.add_key(&key, file, span),
                Err(_) => Ok(()),
            };
        }
        if let Some(digest) = parse_blob(name) {
            self.add_blob(digest, span)?;
        } else if let Some((digest, offset)) = members::parse_piece(name) {
            self.pieces.entry(digest).or_default().insert(offset, span);
        } else {
            match name {
                members::INVENTORY => self.inventory = Some(span),
                members::SIGNATURE => self.signature = Some(span),
                members::VOLUME => self.volume = Some(span),
                // Docker's manifest.json comes last, after what it names.
                _ => {
                    if self.has_room(name.len()) {
                        self.files.insert(name.to_owned(), span);
                    }
                }
            }
        }
        Ok(())
    }

    /// An object of a registry: the others are of no use to another one.
    fn add_key(&mut self, key: &Key, file: &File, span: Span) -> Result<(), String> {
        self.is_registry = true;
        let read = |limit: usize| match span.read(file, limit) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err("is too large".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let link = || match Pointer::parse(key, &read(Key::LINK_LIMIT)?) {
            Ok(pointer) => Ok(Some(pointer.digest)),
            // A loss of power leaves such links, which are none.
            Err(StorageError::NotFound) => Ok(None),
            Err(_) => Err("does not hold a digest".to_owned()),
        };
        match key {
            Key::Blob(digest) => self.add_blob(digest.clone(), span)?,
            Key::Revision(name, digest) => match link()? {
                Some(target) if target == *digest => {
                    self.links_of(name).revisions.insert(target);
                }
                Some(_) => return Err("holds another digest than its path".to_owned()),
                None => {}
            },
            Key::Tag(name, tag) => {
                if let Some(target) = link()? {
                    self.links_of(name).tags.insert(tag.clone(), target);
                }
            }
            Key::MediaType(name, digest) => {
                let bytes = read(MediaType::MAX_LENGTH + 1)?;
                let text = std::str::from_utf8(&bytes).ok().map(str::trim_end);
                let media_type = text.and_then(|text| MediaType::parse(text).ok());
                let media_type = media_type.ok_or("holds no media type")?;
                self.links_of(name).media_types.insert(digest.clone(), media_type);
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds a content, which may be in both layouts.
    fn add_blob(&mut self, digest: Digest, span: Span) -> Result<(), String> {
        let before = self.blobs.entry(digest).or_insert(span);
        if before.size == span.size {
            return Ok(());
        }
        let (size, other) = (span.size, before.size);
        Err(format!("has {size} bytes, but another member of this digest has {other}"))
    }

    fn links_of(&mut self, name: &RepositoryName) -> &mut Links {
        self.repositories.entry(name.clone()).or_default()
    }
}

/// A blob of an OCI layout: `blobs/<algorithm>/<encoded>`.
pub(super) fn parse_blob(name: &str) -> Option<Digest> {
    let (algorithm, encoded) = name.strip_prefix("blobs/")?.split_once('/')?;
    Algorithm::ALL.iter().find(|known| known.as_str() == algorithm)?;
    Digest::parse(&format!("{algorithm}:{encoded}")).ok()
}

#[cfg(test)]
mod tests {
    use super::{NAMES, Scan};

    #[test]
    fn unknown_members_are_kept_within_a_limit() {
        let mut scan = Scan::default();
        assert!(scan.has_room(NAMES));
        assert!(!scan.has_room(1));
    }
}
