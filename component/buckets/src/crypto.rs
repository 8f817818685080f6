//! Cryptography for object_store's request signatures, in pure Rust.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, EncodingKey};
use object_store::client::{
    CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm,
};
use object_store::{Error, Result};
use sha2::{Digest as _, Sha256};

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
            SigningAlgorithm::RS256 => {
                let key = EncodingKey::from_rsa_pem(pem).map_err(failed)?;
                Ok(Box::new(Signing(key)))
            }
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

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "RustCrypto", source: Box::new(error) }
}

fn unknown(what: &dyn std::fmt::Debug) -> Error {
    Error::NotSupported { source: format!("{what:?}").into() }
}
