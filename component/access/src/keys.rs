//! Keys of external token services, and verification of their tokens.
//!
//! Only the operator decides which keys and algorithms are accepted: keys in a
//! token's header (`jwk`, `jku`, `x5u`) are ignored, and `x5c` only selects a
//! configured key.

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::fmt;
use x509_cert::Certificate;
use x509_cert::der::{Encode as _, oid::ObjectIdentifier};

/// Longest token, in bytes.
///
/// Limit: the bytes of a token; test: `credentials_that_cannot_be_valid`.
pub const TOKEN_LIMIT: usize = 16 * 1024;

/// The most keys of one issuer.
///
/// Limit: keys of one issuer; test: none, a set is cut off there.
const KEYS_LIMIT: usize = 256;

/// Accepted clock difference in seconds.
///
/// Limit: seconds that clocks may differ; test:
/// `tokens_are_good_for_their_time_and_their_service`.
const LEEWAY: u64 = 60;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Algorithms that an external token service may sign with: asymmetric ones,
/// whose verifier cannot sign.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("EdDSA", Algorithm::EdDSA),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
];

/// Keys that verify tokens, and the accepted algorithms.
#[derive(Clone)]
pub struct Keys {
    keys: Vec<Key>,
    algorithms: Vec<Algorithm>,
}

#[derive(Clone)]
struct Key {
    /// The values of a token's `kid` that refer to it.
    names: Vec<String>,
    /// Its `SubjectPublicKeyInfo`, if it comes from a certificate.
    info: Option<Vec<u8>>,
    public: DecodingKey,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Keys {
    /// An empty set of keys. Without names of algorithms, all supported ones
    /// are accepted.
    ///
    /// # Errors
    /// When an algorithm is unknown or symmetric.
    pub fn new(algorithms: &[String]) -> Result<Self, String> {
        let known = |name: &String| {
            let found = ALGORITHMS.iter().find(|(known, _)| known == name);
            found.map(|(_, algorithm)| *algorithm).ok_or_else(|| {
                let names: Vec<_> = ALGORITHMS.iter().map(|(name, _)| *name).collect();
                format!("{name:?} is not one of the algorithms {}", names.join(", "))
            })
        };
        let algorithms = if algorithms.is_empty() {
            ALGORITHMS.iter().map(|(_, algorithm)| *algorithm).collect()
        } else {
            algorithms.iter().map(known).collect::<Result<_, _>>()?
        };
        Ok(Self { keys: Vec::new(), algorithms })
    }

    /// Adds the keys of a JSON Web Key Set (RFC 7517) that can verify
    /// signatures; others are skipped.
    ///
    /// # Errors
    /// When it is not such a set, or has no such key.
    pub fn add_jwks(&mut self, json: &str) -> Result<(), String> {
        let set: JwkSet = serde_json::from_str(json)
            .map_err(|error| format!("not a JSON Web Key Set: {error}"))?;
        let before = self.keys.len();
        for jwk in &set.keys {
            let encrypts = matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
            let secret = matches!(
                jwk.algorithm,
                AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_)
            );
            if encrypts || secret {
                continue;
            }
            if let Ok(key) = DecodingKey::from_jwk(jwk) {
                let names = jwk.common.key_id.iter().cloned().chain(thumbprint(jwk)).collect();
                self.keys.push(Key { names, info: None, public: key });
            }
        }
        self.check(before, "the JSON Web Key Set")
    }

    /// Adds the keys of certificates in PEM, as in distribution's
    /// `rootcertbundle`.
    ///
    /// # Errors
    /// When a certificate cannot be read, or there is none.
    pub fn add_certificates(&mut self, pem: &str) -> Result<(), String> {
        let before = self.keys.len();
        // The parser subtracts from the length of what is left without line ends.
        if pem.trim().is_empty() {
            return Err("no certificates in PEM: it is empty".to_owned());
        }
        let certificates = Certificate::load_pem_chain(pem.as_bytes())
            .map_err(|error| format!("not certificates in PEM: {error}"))?;
        for certificate in &certificates {
            let info = &certificate.tbs_certificate.subject_public_key_info;
            let der = info.to_der().map_err(|error| error.to_string())?;
            let bits = info.subject_public_key.raw_bytes();
            let key = match info.algorithm.oid {
                RSA => DecodingKey::from_rsa_der(bits),
                EC => DecodingKey::from_ec_der(bits),
                ED25519 => DecodingKey::from_ed_der(bits),
                other => return Err(format!("keys with the algorithm {other} are not supported")),
            };
            let jwk = Jwk::from_decoding_key(&key, None).ok();
            let names = jwk.iter().filter_map(thumbprint).chain([libtrust_name(&der)]).collect();
            self.keys.push(Key { names, info: Some(der), public: key });
        }
        self.check(before, "the certificates")
    }

    fn check(&self, before: usize, what: &str) -> Result<(), String> {
        if self.keys.len() == before {
            Err(format!("no key in {what} can verify signatures"))
        } else if self.keys.len() > KEYS_LIMIT {
            Err(format!("more than {KEYS_LIMIT} keys in {what}"))
        } else {
            Ok(())
        }
    }

    /// The claims of a token, if one of the keys signed it, its issuer and
    /// audience are these, and it is valid now.
    pub fn verify<T: DeserializeOwned>(
        &self,
        token: &str,
        issuer: &str,
        audience: &str,
    ) -> Result<T, TokenError> {
        let header = header(token)?;
        if !self.algorithms.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        let mut error = TokenError::Key;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        for key in self.candidates(&header)? {
            if key.family().algorithms().contains(&header.alg) {
                match jsonwebtoken::decode(token, key, &validation) {
                    Ok(token) => return Ok(token.claims),
                    Err(problem) => error = TokenError::from(&problem),
                }
            }
        }
        Err(error)
    }

    /// The keys that a token's header refers to; without a reference, the only
    /// key, if there is just one.
    fn candidates(&self, header: &Header) -> Result<Vec<&DecodingKey>, TokenError> {
        let chain = header.x5c_der().map_err(|_| TokenError::Malformed)?;
        if let Some(first) = chain.as_deref().and_then(<[_]>::first) {
            use x509_cert::der::Decode as _;
            let certificate = Certificate::from_der(first).map_err(|_| TokenError::Malformed)?;
            let info = certificate.tbs_certificate.subject_public_key_info.to_der();
            let info = Some(info.map_err(|_| TokenError::Malformed)?);
            return Ok(self
                .keys
                .iter()
                .filter(|key| key.info == info)
                .map(|key| &key.public)
                .collect());
        }
        Ok(match &header.kid {
            Some(name) => {
                let named = self.keys.iter().filter(|key| key.names.contains(name));
                named.map(|key| &key.public).collect()
            }
            None if self.keys.len() == 1 => self.keys.iter().map(|key| &key.public).collect(),
            None => Vec::new(),
        })
    }
}

/// A token's header, which is not verified yet.
pub(crate) fn header(token: &str) -> Result<Header, TokenError> {
    if token.len() > TOKEN_LIMIT {
        return Err(TokenError::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    // A token with an unknown critical extension must be rejected (RFC 7515,
    // 4.1.11), and no extension is known here.
    if header.crit.is_some() { Err(TokenError::Malformed) } else { Ok(header) }
}

/// A key's thumbprint (RFC 7638).
fn thumbprint(jwk: &Jwk) -> Option<String> {
    jwk.thumbprint(ThumbprintHash::SHA256).ok()
}

/// A key ID of Docker's libtrust: SHA-256 of the public key, its first 240 bits
/// in base32, in groups of four.
fn libtrust_name(info: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = Sha256::digest(info);
    let mut name = String::new();
    let mut digits = 0;
    for five in hash[..30].chunks(5) {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            if digits > 0 && digits % 4 == 0 {
                name.push(':');
            }
            name.push(char::from(ALPHABET[(bits >> (place * 5) & 31) as usize]));
            digits += 1;
        }
    }
    name
}

/// Why a token is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenError {
    /// It is not a JSON Web Token.
    Malformed,
    /// Its algorithm is not accepted.
    Algorithm,
    /// It is signed with an unknown key.
    Key,
    /// Its signature is invalid.
    Signature,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    Early,
    /// It has another issuer.
    Issuer,
    /// It has another audience.
    Audience,
    /// A claim is missing or has the wrong type.
    Claims,
    /// Its user was removed.
    User,
}

impl From<&jsonwebtoken::errors::Error> for TokenError {
    fn from(error: &jsonwebtoken::errors::Error) -> Self {
        use jsonwebtoken::errors::ErrorKind;
        match error.kind() {
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidAlgorithm
            | ErrorKind::InvalidAlgorithmName
            | ErrorKind::UnsupportedAlgorithm => Self::Algorithm,
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::Early,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAudience => Self::Audience,
            // The header was parsed before, so these concern the claims.
            ErrorKind::MissingRequiredClaim(_)
            | ErrorKind::InvalidClaimFormat(_)
            | ErrorKind::Json(_) => Self::Claims,
            _ => Self::Malformed,
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not a JSON Web Token",
            Self::Algorithm => "its algorithm is not accepted",
            Self::Key => "it is signed with an unknown key",
            Self::Signature => "its signature is invalid",
            Self::Expired => "it has expired; compare the clocks",
            Self::Early => "it is not valid yet; compare the clocks",
            Self::Issuer => "it was issued by another issuer",
            Self::Audience => "it is for another audience",
            Self::Claims => "a claim is missing or has the wrong type",
            Self::User => "its user no longer exists",
        })
    }
}

impl std::error::Error for TokenError {}
