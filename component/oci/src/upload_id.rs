//! Identifiers of upload sessions.

use std::error::Error;
use std::fmt;

use super::text::{is_lower_hex, push_hex, text_serde, text_traits};

/// The identifier of an upload session: a UUID (RFC 9562, section 4) in lower
/// case, 8-4-4-4-12 hexadecimal digits.
///
/// The distribution-spec leaves the upload location to the registry. Only one
/// spelling of each identifier is accepted, so that it can be used as a key.
/// The version and variant bits of a parsed identifier are not checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(String);

impl UploadId {
    /// The length in bytes.
    pub const LENGTH: usize = 36;

    /// Reads an identifier.
    pub fn parse(text: &str) -> Result<Self, InvalidUploadId> {
        if text.len() != Self::LENGTH {
            return Err(InvalidUploadId::WrongLength { length: text.len() });
        }
        for (position, byte) in text.bytes().enumerate() {
            let fits = if HYPHENS.contains(&position) { byte == b'-' } else { is_lower_hex(byte) };
            if !fits {
                return Err(InvalidUploadId::Character { position });
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The version 4 UUID (RFC 9562, section 5.4) made of these random bytes,
    /// six bits of which are overwritten by the version and the variant.
    pub fn from_random(random: [u8; 16]) -> Self {
        let bits = u128::from_be_bytes(random) & !FIXED_MASK | FIXED_BITS;
        let mut text = String::with_capacity(Self::LENGTH);
        for byte in bits.to_be_bytes() {
            if HYPHENS.contains(&text.len()) {
                text.push('-');
            }
            push_hex(&mut text, &[byte]);
        }
        Self(text)
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_traits!(UploadId, InvalidUploadId);
text_serde!(UploadId);

/// Why a text is not an [`UploadId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidUploadId {
    /// The text is not [`UploadId::LENGTH`] bytes long.
    WrongLength {
        /// Its length in bytes.
        length: usize,
    },
    /// Neither a lower-case hexadecimal digit nor a hyphen at its place.
    Character {
        /// The byte offset from 0.
        position: usize,
    },
}

impl fmt::Display for InvalidUploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongLength { length } => {
                write!(f, "upload id is {length} bytes long; a UUID has {}", UploadId::LENGTH)
            }
            Self::Character { position } => write!(
                f,
                "upload id has a wrong character at position {position}; \
                 it is a lower-case UUID with hyphens"
            ),
        }
    }
}

impl Error for InvalidUploadId {}

const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The four version bits and the two variant bits, counted from the end.
const FIXED_MASK: u128 = 0xf << 76 | 0b11 << 62;
const FIXED_BITS: u128 = 4 << 76 | 0b10 << 62;

#[cfg(test)]
mod tests {
    use super::{InvalidUploadId, UploadId};

    #[test]
    fn good_identifiers() {
        for text in ["00000000-0000-0000-0000-000000000000", "01234567-89ab-cdef-0123-456789abcdef"]
        {
            let id = UploadId::parse(text);
            assert_eq!(id.as_ref().map(UploadId::as_str), Ok(text));
            assert_eq!(id.map(|id| id.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn bad_identifiers() {
        let wrong = |length| InvalidUploadId::WrongLength { length };
        let character = |position| InvalidUploadId::Character { position };
        for (text, error) in [
            ("", wrong(0)),
            ("0123456789abcdef0123456789abcdef", wrong(32)),
            ("{01234567-89ab-cdef-0123-456789abcdef}", wrong(38)),
            ("0123456A-89ab-cdef-0123-456789abcdef", character(7)),
            ("012345678-9ab-cdef-0123-456789abcdef", character(8)),
            ("01234567089ab-cdef-0123-456789abcdef", character(8)),
            ("01234567-89ab-cdef-0123-456789abcde-", character(35)),
            ("../34567-89ab-cdef-0123-456789abcdef", character(0)),
            ("0123456\u{e9}89ab-cdef-0123-456789abcdef", character(7)),
        ] {
            assert_eq!(UploadId::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn random_bytes_become_version_4() {
        let counting: [u8; 16] = std::array::from_fn(|index| u8::try_from(index).unwrap_or(0));
        for (random, text) in [
            ([0x00; 16], "00000000-0000-4000-8000-000000000000"),
            ([0xff; 16], "ffffffff-ffff-4fff-bfff-ffffffffffff"),
            (counting, "00010203-0405-4607-8809-0a0b0c0d0e0f"),
        ] {
            let id = UploadId::from_random(random);
            assert_eq!(id.as_str(), text);
            assert_eq!(UploadId::parse(text), Ok(id));
        }
    }
}
