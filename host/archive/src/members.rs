//! Members of a registry tar that are no part of distribution's layout. `tar -x` puts them
//! beside it, where no registry looks.

use roadstead_oci::{Algorithm, Digest};

/// The [`crate::Inventory`] of all volumes, as JSON: the first member of each.
pub(crate) const INVENTORY: &str = "roadstead/inventory.json";

/// The signature of the bytes of [`INVENTORY`], if it is signed: the second member.
pub(crate) const SIGNATURE: &str = "roadstead/inventory.sig";

/// The number of this volume, from 1 on, as decimal digits: the next member.
pub(crate) const VOLUME: &str = "roadstead/volume";

/// The directory of [`piece`].
const PIECES: &str = "roadstead/pieces";

/// A part of a content that is larger than a volume, from this byte on.
pub(crate) fn piece(digest: &Digest, offset: u64) -> String {
    format!("{PIECES}/{}/{}/{offset}", digest.algorithm().as_str(), digest.encoded())
}

/// The opposite of [`piece`].
pub(crate) fn parse_piece(name: &str) -> Option<(Digest, u64)> {
    let rest = name.strip_prefix(PIECES)?.strip_prefix('/')?;
    let mut parts = rest.split('/');
    let (algorithm, encoded, offset) = (parts.next()?, parts.next()?, parts.next()?);
    let known = Algorithm::ALL.iter().any(|known| known.as_str() == algorithm);
    let digest = Digest::parse(&format!("{algorithm}:{encoded}")).ok().filter(|_| known)?;
    let number: u64 = offset.parse().ok()?;
    (parts.next().is_none() && number.to_string() == offset).then_some((digest, number))
}
