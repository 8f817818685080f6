//! Keys that tokens are signed with.

use jsonwebtoken::EncodingKey;
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;

/// An RSA key in PEM, of PKCS #8.
pub fn rsa_key(pem: &str) -> anyhow::Result<EncodingKey> {
    let key = RsaPrivateKey::from_pkcs8_pem(pem)?;
    Ok(EncodingKey::from_rsa_der(key.to_pkcs1_der()?.as_bytes()))
}
