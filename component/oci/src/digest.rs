//! Content digests.

use std::error::Error;
use std::fmt;

use super::text::{is_lower_hex, push_hex, text_serde, text_traits};

/// A registered digest algorithm that this registry computes (image-spec,
/// "Descriptor", section "Registered Algorithms").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, RFC 6234.
    Sha256,
    /// SHA-512, RFC 6234.
    Sha512,
}

impl Algorithm {
    /// Every supported algorithm.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The algorithm's name, as before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of a hash in hexadecimal digits.
    pub const fn hex_length(self) -> usize {
        self.byte_length() * 2
    }

    /// The length of a hash in bytes.
    pub const fn byte_length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A digest `algorithm:encoded` (image-spec, "Descriptor", section "Digests")
/// of a supported [`Algorithm`], with exactly its number of lower-case
/// hexadecimal digits, as the section on each registered algorithm requires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    text: String,
}

impl Digest {
    /// Reads a digest.
    pub fn parse(text: &str) -> Result<Self, InvalidDigest> {
        let (name, encoded) = split(text).ok_or(InvalidDigest::Malformed)?;
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(|| InvalidDigest::UnsupportedAlgorithm {
                name: name.chars().take(InvalidDigest::MAX_NAME).collect(),
            })?;
        if encoded.len() != algorithm.hex_length() {
            let length = encoded.len();
            return Err(InvalidDigest::WrongLength { algorithm, length });
        }
        if !encoded.bytes().all(is_lower_hex) {
            return Err(InvalidDigest::NotLowerHex);
        }
        let text = text.to_owned();
        Ok(Self { algorithm, text })
    }

    /// The digest with these hash bytes; `None` unless there are exactly
    /// [`Algorithm::byte_length`] of them.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != algorithm.byte_length() {
            return None;
        }
        let mut text = String::with_capacity(prefix_length(algorithm) + algorithm.hex_length());
        text.push_str(algorithm.as_str());
        text.push(':');
        push_hex(&mut text, bytes);
        Some(Self { algorithm, text })
    }

    /// The bytes of the hash.
    pub fn to_bytes(&self) -> Vec<u8> {
        let digit = |digit: u8| match digit {
            b'a'..=b'f' => digit - b'a' + 10,
            _ => digit.wrapping_sub(b'0'),
        };
        let (pairs, _) = self.encoded().as_bytes().as_chunks::<2>();
        pairs.iter().map(|&[high, low]| digit(high) << 4 | digit(low)).collect()
    }

    /// The algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal digits after the colon.
    pub fn encoded(&self) -> &str {
        self.text.get(prefix_length(self.algorithm)..).unwrap_or_default()
    }

    /// The whole digest, `algorithm:encoded`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

text_traits!(Digest, InvalidDigest);
text_serde!(Digest);

/// Why a text is not a [`Digest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidDigest {
    /// Not of the image-spec's grammar: no colon, or characters it excludes.
    Malformed,
    /// Well-formed, but the algorithm is not in [`Algorithm::ALL`].
    UnsupportedAlgorithm {
        /// The first [`InvalidDigest::MAX_NAME`] characters of its name.
        name: String,
    },
    /// The algorithm is supported, but the length does not match.
    WrongLength {
        /// The algorithm.
        algorithm: Algorithm,
        /// The number of characters after the colon.
        length: usize,
    },
    /// The length matches, but it is not lower-case hexadecimal.
    NotLowerHex,
}

impl InvalidDigest {
    /// How much of an unsupported algorithm's name is kept for the message;
    /// the client controls the name and its length.
    ///
    /// Limit: bytes of an unknown algorithm's name in a message; test:
    /// `messages_name_the_supported_algorithms`.
    pub const MAX_NAME: usize = 32;
}

impl fmt::Display for InvalidDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "digest is not of the form <algorithm>:<encoded>"),
            Self::UnsupportedAlgorithm { name } => {
                let supported = Algorithm::ALL.map(Algorithm::as_str).join(", ");
                write!(f, "digest algorithm {name:?} is not supported; use one of: {supported}")
            }
            Self::WrongLength { algorithm, length } => write!(
                f,
                "digest has {length} characters after \"{algorithm}:\"; it needs {}",
                algorithm.hex_length()
            ),
            Self::NotLowerHex => write!(f, "digest is not lower-case hexadecimal (0-9, a-f)"),
        }
    }
}

impl Error for InvalidDigest {}

const fn prefix_length(algorithm: Algorithm) -> usize {
    algorithm.as_str().len() + 1
}

/// Splits by the image-spec's grammar, where `algorithm` is
/// `[a-z0-9]+([+._-][a-z0-9]+)*` and `encoded` is `[a-zA-Z0-9=_-]+`.
fn split(text: &str) -> Option<(&str, &str)> {
    let (name, encoded) = text.split_once(':')?;
    let name_fits = name.split(['+', '.', '_', '-']).all(|component| {
        let mut bytes = component.bytes();
        !component.is_empty() && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    });
    let encoded_fits = !encoded.is_empty()
        && encoded.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'));
    (name_fits && encoded_fits).then_some((name, encoded))
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Digest, InvalidDigest};
    use sha2::Digest as _;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn good_digests() {
        for algorithm in Algorithm::ALL {
            let encoded = "09af".repeat(algorithm.hex_length() / 4);
            let text = format!("{algorithm}:{encoded}");
            let digest = Digest::parse(&text);
            assert_eq!(digest.as_ref().map(Digest::as_str), Ok(text.as_str()));
            assert_eq!(digest.as_ref().map(Digest::encoded), Ok(encoded.as_str()));
            assert_eq!(digest.as_ref().map(Digest::algorithm), Ok(algorithm));
            assert_eq!(digest.map(|digest| digest.to_string()), Ok(text));
        }
    }

    #[test]
    fn bad_digests() {
        use InvalidDigest::{Malformed, NotLowerHex, UnsupportedAlgorithm, WrongLength};
        let unsupported = |name: &str| UnsupportedAlgorithm { name: name.into() };
        let wrong = |algorithm, length| WrongLength { algorithm, length };
        let (hex, upper) = ("a".repeat(64), "A".repeat(64));
        let long_name = "x".repeat(InvalidDigest::MAX_NAME + 1);
        for (text, error) in [
            (String::new(), Malformed),
            (hex.clone(), Malformed),
            (":".into(), Malformed),
            (format!(":{hex}"), Malformed),
            ("sha256:".into(), Malformed),
            (format!("SHA256:{hex}"), Malformed),
            (format!("sha256::{hex}"), Malformed),
            (format!("sha256+:{hex}"), Malformed),
            (format!("+sha256:{hex}"), Malformed),
            (format!("a..b:{hex}"), Malformed),
            (format!("sha256:{hex} "), Malformed),
            (format!("sha256:../{hex}"), Malformed),
            (format!("sha256:{}\u{e9}", "a".repeat(62)), Malformed),
            ("md5:d41d8cd98f".into(), unsupported("md5")),
            ("sha256+b64u:LCa0=_-".into(), unsupported("sha256+b64u")),
            (format!("{long_name}:a"), unsupported(&"x".repeat(32))),
            ("sha256:abc".into(), wrong(Algorithm::Sha256, 3)),
            (format!("sha256:{hex}a"), wrong(Algorithm::Sha256, 65)),
            (format!("sha512:{hex}"), wrong(Algorithm::Sha512, 64)),
            (format!("sha256:{upper}"), NotLowerHex),
            (format!("sha256:{}", "g".repeat(64)), NotLowerHex),
        ] {
            assert_eq!(Digest::parse(&text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn hashes_become_digests() {
        let hash = sha2::Sha256::digest(b"");
        let digest = Digest::from_bytes(Algorithm::Sha256, &hash);
        assert_eq!(digest.as_ref().map(Digest::to_bytes).as_deref(), Some(&hash[..]));
        assert_eq!(digest, Digest::parse(EMPTY).ok());
        assert_eq!(Digest::from_bytes(Algorithm::Sha512, &hash), None);
        assert_eq!(Digest::from_bytes(Algorithm::Sha256, &[0; 31]), None);
        let digest = Digest::from_bytes(Algorithm::Sha512, &sha2::Sha512::digest(b""));
        let encoded = digest.as_ref().map(Digest::encoded);
        assert!(encoded.is_some_and(|hex| hex.len() == 128 && hex.starts_with("cf83e1357eefb8bd")));
    }

    #[test]
    fn json_is_a_string_and_is_checked() {
        let json = format!("\"{EMPTY}\"");
        let digest: Option<Digest> = serde_json::from_str(&json).ok();
        assert_eq!(digest, Digest::parse(EMPTY).ok());
        assert_eq!(serde_json::to_string(&digest).ok(), Some(json));
        assert!(serde_json::from_str::<Digest>("\"sha256:abc\"").is_err());
        assert!(serde_json::from_str::<Digest>("1").is_err());
    }

    #[test]
    fn messages_name_the_supported_algorithms() {
        let message = Digest::parse("md5:a").map_err(|error| error.to_string());
        assert!(message.is_err_and(|m| m.contains("\"md5\"") && m.contains("sha256, sha512")));
    }
}
