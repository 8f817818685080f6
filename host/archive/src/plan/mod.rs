//! Archives as they are written: what is in each volume, member by member, before a byte
//! of content is read. A plan is deterministic, so that an interrupted export goes on where
//! it was, and two exports of the same images are the same bytes.

mod header;
mod images;
mod layout;
mod registry;
#[cfg(test)]
mod tests;
mod volumes;

use crate::{Inventory, members, signature};
use bytes::Bytes;
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use volumes::Placed;

/// The format of an archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `docker save`'s, as of Docker 25: an OCI layout with Docker's `manifest.json`.
    Docker,
    /// An OCI layout.
    Oci,
    /// Distribution's layout, for `tar -x` into a registry's directory.
    Registry,
}

/// How an archive is to be.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// Its format.
    pub format: Format,
    /// The most bytes of a volume; without it, there is one. Only of [`Format::Registry`].
    pub volume_size: Option<u64>,
    /// What comes before the names of repositories in OCI layouts and docker-archives, as in
    /// `registry.example:5000/`.
    pub prefix: String,
    /// Contents that the receiving side has: they are in the inventory, but not in a volume.
    pub held: BTreeSet<Digest>,
    /// For an index, the manifest of it that `manifest.json` means: that knows no indexes. A
    /// tag that leads to any other index is left out of it.
    pub platforms: BTreeMap<Digest, Digest>,
}

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Plan {
    format: Format,
    volume_size: Option<u64>,
    inventory: Inventory,
    /// What is in each volume after its heading.
    volumes: Vec<Vec<Member>>,
    split: Vec<(Digest, Range<u64>)>,
}

/// What signs an inventory, if it is to be signed.
pub type Sign<'a> = dyn Fn(&[u8]) -> Result<Option<Vec<u8>>, String> + 'a;

/// One file of an archive.
#[derive(Clone, Debug)]
pub struct Volume {
    /// The members, in order.
    pub members: Vec<Member>,
}

/// A regular file in a volume.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its path.
    pub name: String,
    /// How many bytes it has.
    pub size: u64,
    /// Its bytes.
    pub body: Body,
}

/// The bytes of a member.
#[derive(Clone, Debug)]
pub enum Body {
    /// These.
    Bytes(Bytes),
    /// A part of a content.
    Content {
        /// A repository that holds it.
        repository: RepositoryName,
        /// Its digest.
        digest: Digest,
        /// The bytes of it.
        range: Range<u64>,
        /// Whether it is a manifest.
        manifest: bool,
    },
}

impl Plan {
    /// What a volume ends with, after its last member.
    pub const END: &'static [u8] = &[0; 1024];

    /// Plans an archive of an inventory; where the inventory says that contents are is not
    /// considered.
    ///
    /// # Errors
    /// When volumes are too small, the format has none, or the inventory is incomplete.
    pub fn new(mut inventory: Inventory, options: &PlanOptions) -> Result<Self, String> {
        inventory.volumes = 0;
        images::tidy(&mut inventory)?;
        let placed = match options.format {
            Format::Registry => registry::plan(&mut inventory, options)?,
            Format::Docker | Format::Oci if options.volume_size.is_some() => {
                return Err("only registry archives can have volumes; choose the format \
                            registry, or leave out the volume size"
                    .to_owned());
            }
            Format::Docker | Format::Oci => layout::plan(&mut inventory, options)?,
        };
        let Placed { volumes, split } = placed;
        inventory.volumes = u32::try_from(volumes.len()).map_err(|error| error.to_string())?;
        let (format, volume_size) = (options.format, options.volume_size);
        Ok(Self { format, volume_size, inventory, volumes, split })
    }

    /// The inventory, which says where each content is.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The pieces of contents that are larger than a volume.
    pub fn split(&self) -> &[(Digest, Range<u64>)] {
        &self.split
    }

    /// Says what the SHA-256 of a piece is, by its index in [`Plan::split`]. A piece needs one
    /// before its volume is sent, since a receiver does not have the rest of the content yet.
    pub fn set_piece_digest(&mut self, index: usize, piece_digest: Digest) {
        let Some((content, range)) = self.split.get(index) else { return };
        let Some(content) = self.inventory.contents.get_mut(content) else { return };
        let at = content.pieces.binary_search_by_key(&range.start, |piece| piece.offset);
        if let Some(piece) = at.ok().and_then(|at| content.pieces.get_mut(at)) {
            piece.digest = Some(piece_digest);
        }
    }

    /// The volumes. Those of a registry archive begin with the inventory, and what `sign`
    /// returns for its bytes: the text of a signature, or nothing.
    ///
    /// # Errors
    /// When a piece has no SHA-256 yet, `sign` fails, or its signature is too long.
    pub fn volumes(self, sign: &Sign<'_>) -> Result<Vec<Volume>, String> {
        if self.format != Format::Registry {
            return Ok(self.volumes.into_iter().map(|members| Volume { members }).collect());
        }
        let beginning = self.beginning(sign)?;
        let volumes = self.volumes.into_iter().zip(1u32..).map(|(rest, number)| {
            let number = Member::new(members::VOLUME, number.to_string());
            let members = beginning.iter().cloned().chain([number]).chain(rest).collect();
            Volume { members }
        });
        let volumes: Vec<_> = volumes.collect();
        match self.volume_size {
            // What was reserved for the inventory is always enough.
            Some(size) if volumes.iter().any(|volume| volume.size() > size) => {
                Err(format!("a volume has more than {size} bytes"))
            }
            _ => Ok(volumes),
        }
    }

    /// What all volumes begin with.
    fn beginning(&self, sign: &Sign<'_>) -> Result<Vec<Member>, String> {
        for (digest, range) in &self.split {
            let content = self.inventory.contents.get(digest);
            let piece = content.and_then(|content| content.piece(range.start));
            let sum = piece.and_then(|piece| piece.digest.as_ref());
            if sum.is_none_or(|sum| sum.algorithm() != Algorithm::Sha256) {
                let Range { start, end } = range;
                return Err(format!(
                    "the SHA-256 of bytes {start} to {end} of {digest} is missing"
                ));
            }
        }
        let inventory = self.inventory.to_bytes()?;
        let signature = sign(&inventory)?;
        if signature.as_ref().is_some_and(|text| text.len() > signature::MAX_SIZE) {
            return Err(format!("a signature has more than {} bytes", signature::MAX_SIZE));
        }
        let signature = signature.map(|text| Member::new(members::SIGNATURE, text));
        Ok([Member::new(members::INVENTORY, inventory)].into_iter().chain(signature).collect())
    }
}

impl Volume {
    /// How many bytes it has as a tar file, [`Plan::END`] included.
    pub fn size(&self) -> u64 {
        let members = self.members.iter().map(Member::stored);
        members.sum::<u64>() + Plan::END.len() as u64
    }
}

impl Member {
    /// A member of these bytes.
    fn new(name: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { name: name.into(), size: bytes.len() as u64, body: Body::Bytes(bytes) }
    }

    /// All header blocks, which come before its bytes.
    pub fn header(&self) -> Vec<u8> {
        header::blocks(&self.name, self.size)
    }

    /// How many zero bytes come after its bytes.
    pub fn padding(&self) -> usize {
        header::padding(self.size)
    }

    /// How many bytes it takes in a tar file.
    pub fn stored(&self) -> u64 {
        self.header().len() as u64 + self.size + self.padding() as u64
    }
}
