//! Cryptography for object_store's request signatures, in pure Rust.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, EncodingKey};
use object_store::client::{
    CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm,
};
use object_store::{Error, Result};
use rsa::RsaPrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _};
use rsa::pkcs8::DecodePrivateKey as _;
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

/// An RSA key in PEM, of PKCS #8 as Google issues it, or of PKCS #1.
fn rsa_key(pem: &[u8]) -> Result<EncodingKey> {
    let pem = std::str::from_utf8(pem).map_err(failed)?;
    let key = RsaPrivateKey::from_pkcs8_pem(pem)
        .or_else(|error| RsaPrivateKey::from_pkcs1_pem(pem).map_err(|_| error))
        .map_err(failed)?;
    Ok(EncodingKey::from_rsa_der(key.to_pkcs1_der().map_err(failed)?.as_bytes()))
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "RustCrypto", source: Box::new(error) }
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
    fn keys_of_both_formats_sign_alike() {
        let key = RsaPrivateKey::from_pkcs8_pem(KEY).unwrap();
        let older = key.to_pkcs1_pem(LineEnding::LF).unwrap();
        let [first, second] = [KEY, &older].map(|pem| {
            let signer = RustCrypto.sign(SigningAlgorithm::RS256, pem.as_bytes()).unwrap();
            signer.sign(b"text").unwrap()
        });
        assert_eq!(first, second);
        assert_eq!(first.len(), 256);
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
