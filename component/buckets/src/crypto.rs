//! Cryptography for object_store's request signatures, in pure Rust.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, EncodingKey};
use object_store::client::{
    CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm,
};
use object_store::{Error, Result};
use rsa::RsaPrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::PrivateKeyInfo;
use sha2::{Digest as _, Sha256};

/// What errors name.
const STORE: &str = "RustCrypto";

/// The length of a SHA-256 value in bytes.
const LENGTH: usize = 32;

/// Cryptography that also runs in a component.
#[derive(Clone, Copy, Debug)]
pub struct RustCrypto;

impl CryptoProvider for RustCrypto {
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Box<dyn DigestContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Hashing(Sha256::new(), [0; LENGTH]))),
            other => Err(unknown(&other)),
        }
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                let mac = Hmac::<Sha256>::new_from_slice(secret).map_err(failed)?;
                Ok(Box::new(Authenticating(mac, [0; LENGTH])))
            }
            other => Err(unknown(&other)),
        }
    }

    fn sign(&self, algorithm: SigningAlgorithm, pem: &[u8]) -> Result<Box<dyn Signer>> {
        match algorithm {
            SigningAlgorithm::RS256 => Ok(Box::new(Signing(rsa_key(pem)?))),
            other => Err(unknown(&other)),
        }
    }
}

struct Hashing(Sha256, [u8; LENGTH]);

impl DigestContext for Hashing {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        self.1 = self.0.finalize_reset().into();
        Ok(&self.1)
    }
}

struct Authenticating(Hmac<Sha256>, [u8; LENGTH]);

impl HmacContext for Authenticating {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        self.1 = self.0.clone().finalize().into_bytes().into();
        Ok(&self.1)
    }
}

struct Signing(EncodingKey);

impl Signer for Signing {
    fn sign(&self, string_to_sign: &[u8]) -> Result<Vec<u8>> {
        let signature = jsonwebtoken::crypto::sign(string_to_sign, &self.0, Algorithm::RS256);
        URL_SAFE_NO_PAD.decode(signature.map_err(failed)?).map_err(failed)
    }
}

/// An RSA key in PEM, of PKCS #8 as Google issues it, or of PKCS #1. Line ends and spaces
/// do not matter: keys pass through variables and YAML.
fn rsa_key(pem: &[u8]) -> Result<EncodingKey> {
    let text = std::str::from_utf8(pem).map_err(failed)?;
    let begin = text.split_once("-----BEGIN ").and_then(|(_, rest)| rest.split_once("-----"));
    let (label, rest) = begin.ok_or_else(not_a_key)?;
    let (base64, _) = rest.split_once("-----END ").ok_or_else(not_a_key)?;
    let base64: String = base64.split_whitespace().collect();
    let der = STANDARD.decode(base64).map_err(failed)?;
    let key = match label {
        "PRIVATE KEY" => PrivateKeyInfo::try_from(&der[..]).map_err(failed)?.private_key,
        "RSA PRIVATE KEY" => &der,
        _ => return Err(not_a_key()),
    };
    RsaPrivateKey::from_pkcs1_der(key).map_err(failed)?;
    Ok(EncodingKey::from_rsa_der(key))
}

fn not_a_key() -> Error {
    let problem = "not a private key in PEM (BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY)";
    Error::Generic { store: STORE, source: problem.into() }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: STORE, source: Box::new(error) }
}

fn unknown(what: &dyn std::fmt::Debug) -> Error {
    Error::NotSupported { source: format!("{what:?}").into() }
}

#[cfg(test)]
mod tests {
    use super::{RustCrypto, rsa_key};
    use object_store::client::{CryptoProvider as _, SigningAlgorithm};
    use rsa::RsaPrivateKey;
    use rsa::pkcs1::{EncodeRsaPrivateKey as _, LineEnding};
    use rsa::pkcs8::DecodePrivateKey as _;

    const KEY: &str = include_str!("../../access/src/tests/data/rsa.key");
    const OF_A_CURVE: &str = include_str!("../../access/src/tests/data/p256.key");

    #[test]
    fn keys_of_both_formats_sign_alike_however_they_are_written() {
        let key = RsaPrivateKey::from_pkcs8_pem(KEY).unwrap();
        let older = key.to_pkcs1_pem(LineEnding::LF).unwrap();
        let long =
            KEY.replace('\n', "").replace("KEY-----", "KEY-----\n").replace("-----E", "\n-----E");
        let sign = |pem: &str| {
            let signer = RustCrypto.sign(SigningAlgorithm::RS256, pem.as_bytes()).unwrap();
            signer.sign(b"text").unwrap()
        };
        let expected = sign(KEY);
        assert_eq!(expected.len(), 256);
        for pem in [
            &older[..],
            &long,
            &KEY.replace('\n', "\r\n"),
            &KEY.replace('\n', "\n  "),
            &format!("\n {KEY}\n\nmore"),
        ] {
            assert_eq!(sign(pem), expected, "{pem}");
        }
    }

    #[test]
    fn what_is_no_rsa_key_is_refused() {
        let cut = &KEY[..KEY.len() / 2];
        for pem in ["", "key", cut, OF_A_CURVE] {
            assert!(rsa_key(pem.as_bytes()).is_err(), "{pem}");
        }
        assert!(rsa_key(b"\xff").is_err());
    }
}
