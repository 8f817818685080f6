//! Which member is in which volume.

use super::header::{self, BLOCK};
use super::{Body, Member, Plan, PlanOptions};
use crate::{Content, Inventory, Piece, members, signature};
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The most volumes of an archive.
///
/// Limit: volumes of an archive; test: `too_many_volumes_are_refused`.
const VOLUMES_LIMIT: u32 = 65_536;

/// The least room for contents in a volume, in bytes. Less would be headers above all.
///
/// Limit: bytes of a volume besides its heading, at least; test:
/// `volumes_that_are_too_small_are_refused`.
const LEAST_ROOM: u64 = 16 * 1024;

/// The part of a volume that must be left for a piece to begin in it: smaller pieces cost more
/// than they bring.
const LEAST_PIECE: u64 = 8;

/// The members of volumes, while they are placed.
#[derive(Debug)]
pub(super) struct Packer<'a> {
    /// The contents, which are told where they are.
    contents: &'a mut BTreeMap<Digest, Content>,
    /// Those that are not written.
    held: &'a BTreeSet<Digest>,
    /// What a content is called in this format.
    name: fn(&Digest) -> String,
    /// How many bytes a volume has for all this.
    room: u64,
    /// How many the last volume has already.
    used: u64,
    volumes: Vec<Vec<Member>>,
    split: Vec<(Digest, Range<u64>)>,
}

/// All members, in their places.
#[derive(Debug)]
pub(super) struct Placed {
    /// The members of each volume after its heading.
    pub(super) volumes: Vec<Vec<Member>>,
    /// The pieces of contents that are larger than a volume.
    pub(super) split: Vec<(Digest, Range<u64>)>,
}

/// A manifest or a blob of a repository.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) repository: &'a RepositoryName,
    pub(super) digest: &'a Digest,
    pub(super) manifest: bool,
}

impl Source<'_> {
    fn member(self, name: String, range: Range<u64>) -> Member {
        let Self { repository, digest, manifest } = self;
        let (repository, digest) = (repository.clone(), digest.clone());
        Member {
            name,
            size: range.end - range.start,
            body: Body::Content { repository, digest, range, manifest },
        }
    }
}

impl<'a> Packer<'a> {
    pub(super) fn new(
        contents: &'a mut BTreeMap<Digest, Content>,
        held: &'a BTreeSet<Digest>,
        name: fn(&Digest) -> String,
        room: u64,
    ) -> Self {
        let (volumes, split) = (vec![Vec::new()], Vec::new());
        Self { contents, held, name, room, used: 0, volumes, split }
    }

    pub(super) fn finish(self) -> Placed {
        Placed { volumes: self.volumes, split: self.split }
    }

    /// How many bytes a content has.
    pub(super) fn size(&self, digest: &Digest) -> u64 {
        self.contents.get(digest).map_or(0, |content| content.size)
    }

    /// Places a member in this volume or, if it does not fit, the next. Returns its number.
    pub(super) fn place(&mut self, member: Member) -> Result<u32, String> {
        let stored = member.stored();
        if stored > self.room - self.used {
            self.begin()?;
        }
        self.used += stored;
        if let Some(volume) = self.volumes.last_mut() {
            volume.push(member);
        }
        Ok(self.number())
    }

    /// Places a content, unless it is placed already or need not be.
    pub(super) fn place_content(&mut self, source: Source<'_>) -> Result<(), String> {
        let Some(content) = self.contents.get(source.digest) else { return Ok(()) };
        if !content.pieces.is_empty() || self.held.contains(source.digest) {
            return Ok(());
        }
        let size = content.size;
        let whole = source.member((self.name)(source.digest), 0..size);
        let pieces = if whole.stored() > self.room {
            self.split(source, size)?
        } else {
            vec![Piece { volume: self.place(whole)?, offset: 0, length: size, digest: None }]
        };
        if let Some(content) = self.contents.get_mut(source.digest) {
            content.pieces = pieces;
        }
        Ok(())
    }

    /// Places a content as pieces, each of which fills its volume.
    fn split(&mut self, source: Source<'_>, size: u64) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        let mut offset = 0;
        while offset < size {
            if self.room - self.used < self.room / LEAST_PIECE {
                self.begin()?;
            }
            let name = members::piece(source.digest, offset);
            let left = self.room - self.used;
            let left = left - header::blocks(&name, left).len() as u64;
            let length = (left - left % BLOCK).min(size - offset);
            // At least two: no piece is all of a content.
            let length = if offset == 0 { length.min(size - 1) } else { length };
            let range = offset..offset + length;
            self.split.push((source.digest.clone(), range.clone()));
            let volume = self.place(source.member(name, range))?;
            pieces.push(Piece { volume, offset, length, digest: None });
            offset += length;
        }
        Ok(pieces)
    }

    fn begin(&mut self) -> Result<(), String> {
        if self.number() == VOLUMES_LIMIT {
            return Err(format!("more than {VOLUMES_LIMIT} volumes of this size would be needed"));
        }
        self.volumes.push(Vec::new());
        self.used = 0;
        Ok(())
    }

    fn number(&self) -> u32 {
        // There are at most `VOLUMES_LIMIT`.
        u32::try_from(self.volumes.len()).unwrap_or(u32::MAX)
    }
}

/// How many bytes a volume of this size has for contents, whatever the inventory will be that
/// each volume begins with.
///
/// # Errors
/// When there is too little of it, or the inventory is too long.
pub(super) fn room(inventory: &Inventory, options: &PlanOptions) -> Result<u64, String> {
    let bound = Bound::new(inventory, &options.held)?;
    let room = match options.volume_size {
        Some(size) => bound.room(size)?,
        None => u64::MAX,
    };
    match bound.inventory(room) {
        bytes if bytes <= Inventory::MAX_SIZE as u64 => Ok(room),
        bytes => Err(format!("an inventory of {bytes} bytes would be too long; export less")),
    }
}

/// How long an inventory can become.
struct Bound {
    /// Its JSON without pieces.
    fixed: u64,
    /// The JSON of the only piece of a content.
    whole: u64,
    /// That of one of several.
    piece: u64,
    /// The sizes of all contents that are written.
    sizes: Vec<u64>,
}

impl Bound {
    fn new(inventory: &Inventory, held: &BTreeSet<Digest>) -> Result<Self, String> {
        let (volume, length) = (VOLUMES_LIMIT, u64::MAX);
        let whole = Piece { volume, offset: 0, length, digest: None };
        let digest = Digest::from_bytes(Algorithm::Sha256, &[0; 32]);
        let piece = Piece { volume, offset: u64::MAX, length, digest };
        let fixed = inventory.to_bytes()?.len() + json_length(&VOLUMES)?;
        let written = inventory.contents.iter().filter(|(digest, _)| !held.contains(digest));
        let sizes: Vec<_> = written.map(|(_, content)| content.size).collect();
        let list = sizes.len() * json_length(&PIECES)?;
        Ok(Self {
            fixed: (fixed + list) as u64,
            whole: json_length(&whole)? as u64 + 1,
            piece: json_length(&piece)? as u64 + 1,
            sizes,
        })
    }

    /// The most bytes of the inventory, if volumes have this room for contents.
    fn inventory(&self, room: u64) -> u64 {
        let pieces = self.sizes.iter().map(|size| {
            let overhead = header::LONGEST + BLOCK;
            if size.saturating_add(overhead) <= room {
                return self.whole;
            }
            // All but the first and the last fill a volume.
            size.div_ceil(room - overhead).saturating_add(1).saturating_mul(self.piece)
        });
        pieces.fold(self.fixed, u64::saturating_add)
    }

    /// The most bytes of a volume that are no contents.
    fn heading(&self, room: u64) -> u64 {
        let member = |name, size| {
            let blocks = header::blocks(name, size).len() as u64;
            let bytes = size.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
            blocks.saturating_add(bytes)
        };
        member(members::INVENTORY, self.inventory(room))
            .saturating_add(member(members::SIGNATURE, signature::MAX_SIZE as u64))
            .saturating_add(member(members::VOLUME, BLOCK))
            .saturating_add(Plan::END.len() as u64)
    }

    /// How many bytes a volume of this size has for contents. Less room makes more pieces, and
    /// these a longer inventory: a heading for one room is enough for any larger one.
    fn room(&self, volume_size: u64) -> Result<u64, String> {
        let total: u64 = self.sizes.iter().sum();
        // Of two volumes in a row, one is more than half full.
        let least_room = LEAST_ROOM.max(total / u64::from(VOLUMES_LIMIT / 2));
        let rooms = (0..u64::BITS).rev().map(|bit| 1 << bit);
        let mut least = u64::MAX;
        for room in rooms.take_while(|room| *room >= least_room) {
            let heading = self.heading(room);
            let needed = heading.saturating_add(room);
            if needed <= volume_size {
                return Ok(volume_size - self.heading(volume_size - heading));
            }
            least = least.min(needed);
        }
        Err(format!(
            "volumes of {volume_size} bytes are too small for these images and their inventory; \
             they need at least {least} bytes"
        ))
    }
}

/// What an inventory has besides, if it describes volumes.
const VOLUMES: (&str, u32) = ("volumes", VOLUMES_LIMIT);

/// What a content has besides its pieces.
const PIECES: (&str, [u8; 0]) = ("pieces", []);

fn json_length(value: &impl serde::Serialize) -> Result<usize, String> {
    serde_json::to_vec(value).map(|json| json.len()).map_err(|error| error.to_string())
}
