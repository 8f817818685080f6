//! Signatures of an archive's inventory: Ed25519, or ECDSA as `cosign sign-blob` makes them.
//!
//! A signature is text: base64 in one line. With cosign's keys it is what
//! `cosign sign-blob --key cosign.key inventory.json` prints.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey,
    VerificationAlgorithm,
};
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use sha2::Sha256;
use std::fmt;

/// The longest text of a signature, in bytes. ECDSA's have about 100.
///
/// Limit: bytes of a signature; test: `signatures_that_are_wrong_are_refused`.
pub(crate) const MAX_SIZE: usize = 512;

/// What comes before the 32 bytes of an Ed25519 private key in PKCS#8 (RFC 8410, section 7):
/// version 1, which OpenSSL reads too.
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What comes before the 32 bytes of an Ed25519 public key (RFC 8410, section 4).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// What comes before the 65 bytes of an uncompressed point of P-256 (RFC 5480, section 2).
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 3, 1, 7, 3, 0x42, 0,
];

/// How many bytes of a key are in a line of PEM: 64 characters.
const PEM_LINE: usize = 48;

/// An Ed25519 key that signs.
pub struct PrivateKey {
    pair: Ed25519KeyPair,
    /// It as PKCS#8.
    der: Vec<u8>,
}

/// A key that verifies: of Ed25519, or of ECDSA on P-256 as cosign makes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey {
    algorithm: Algorithm,
    key: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Algorithm {
    Ed25519,
    P256,
}

impl Algorithm {
    const ALL: [Self; 2] = [Self::Ed25519, Self::P256];

    /// What comes before a key as a `SubjectPublicKeyInfo`.
    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Ed25519 => &ED25519_SPKI,
            Self::P256 => &P256_SPKI,
        }
    }

    /// Whether a key has this form; of P-256, an uncompressed point.
    fn accepts(self, key: &[u8]) -> bool {
        match self {
            Self::Ed25519 => key.len() == 32,
            Self::P256 => key.len() == 65 && key.first() == Some(&4),
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Ed25519 => &ED25519,
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
        }
    }
}

impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn generate() -> Result<Self, String> {
        let mut der = [0; ED25519_PKCS8.len() + 32];
        let (prefix, seed) = der.split_at_mut(ED25519_PKCS8.len());
        prefix.copy_from_slice(&ED25519_PKCS8);
        SystemRandom::new().fill(seed).map_err(|_| "the system has no random numbers")?;
        Self::from_der(der.to_vec())
    }

    /// Reads a key in PEM, `-----BEGIN PRIVATE KEY-----`.
    ///
    /// # Errors
    /// When it is no private key of Ed25519, or is encrypted.
    pub fn parse(pem: &str) -> Result<Self, String> {
        match section(pem)? {
            (SectionKind::PrivateKey, der) => Self::from_der(der),
            _ => Err("it is no private key in PKCS#8, \"-----BEGIN PRIVATE KEY-----\"".to_owned()),
        }
    }

    fn from_der(der: Vec<u8>) -> Result<Self, String> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map_err(|error| format!("it is no private key of Ed25519: {error}"))?;
        Ok(Self { pair, der })
    }

    /// The key in PEM, for a file that others cannot read.
    pub fn to_pem(&self) -> String {
        to_pem("PRIVATE KEY", &self.der)
    }

    /// The key that verifies what this one signs.
    pub fn public_key(&self) -> PublicKey {
        let key = self.pair.public_key().as_ref().to_vec();
        PublicKey { algorithm: Algorithm::Ed25519, key }
    }

    /// The text of the signature of these bytes.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        STANDARD.encode(self.pair.sign(bytes)).into_bytes()
    }
}

/// Without the key.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.public_key().fingerprint()).finish()
    }
}

impl PublicKey {
    /// Reads a key in PEM, `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    /// When it is no public key of Ed25519 or P-256.
    pub fn parse(pem: &str) -> Result<Self, String> {
        let (SectionKind::PublicKey, der) = section(pem)? else {
            return Err("it is no public key, \"-----BEGIN PUBLIC KEY-----\"".to_owned());
        };
        let found = Algorithm::ALL.iter().find_map(|algorithm| {
            let key = der.strip_prefix(algorithm.prefix())?;
            algorithm.accepts(key).then(|| Self { algorithm: *algorithm, key: key.to_vec() })
        });
        found.ok_or_else(|| "it is a public key, but not of Ed25519 or ECDSA P-256".to_owned())
    }

    /// The key in PEM.
    pub fn to_pem(&self) -> String {
        to_pem("PUBLIC KEY", &self.der())
    }

    /// The SHA-256 of the key's `SubjectPublicKeyInfo`, as hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let hash = <Sha256 as sha2::Digest>::digest(self.der());
        hash.iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"))
    }

    /// Whether a text is the signature of these bytes by this key.
    ///
    /// # Errors
    /// When it is not.
    pub fn verify(&self, bytes: &[u8], signature: &[u8]) -> Result<(), String> {
        if signature.len() > MAX_SIZE {
            return Err(format!("the signature has more than {MAX_SIZE} bytes"));
        }
        let decoded = STANDARD
            .decode(signature.trim_ascii())
            .map_err(|error| format!("the signature is no base64: {error}"))?;
        let key = UnparsedPublicKey::new(self.algorithm.verification(), &self.key);
        key.verify(bytes, &decoded)
            .map_err(|_| format!("the signature is not by the key {}", self.fingerprint()))
    }

    fn der(&self) -> Vec<u8> {
        [self.algorithm.prefix(), &self.key].concat()
    }
}

/// The first section of a PEM file that has a key.
fn section(pem: &str) -> Result<(SectionKind, Vec<u8>), String> {
    if pem.contains("-----BEGIN ENCRYPTED ") {
        return Err("the private key is encrypted, which is not supported; cosign signs with its \
                    own"
        .to_owned());
    }
    <(SectionKind, Vec<u8>)>::from_pem_slice(pem.as_bytes())
        .map_err(|error| format!("it is no key in PEM: {error}"))
}

fn to_pem(label: &str, der: &[u8]) -> String {
    let lines: Vec<_> = der.chunks(PEM_LINE).map(|line| STANDARD.encode(line)).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests;
