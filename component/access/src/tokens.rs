//! The built-in token service: short-lived tokens with the access that they
//! grant, and refresh tokens that replace a password.
//!
//! Only the registry verifies what it signs, so one shared key is used for both
//! (HMAC-SHA-256).

use crate::cache::{keyed, random};
use crate::keys::{self, TokenError};
use crate::rules::Subject;
use crate::scope::Access;
use crate::settings::{Issuer, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The issuer of the tokens.
const ISSUER: &str = "roadstead";

/// The lifetime of a refresh token, which clients store like a password.
///
/// Limit: lifetime of a refresh token; test:
/// `refresh_tokens_are_for_users_and_outlive_the_process`.
const REFRESH_TIME: Duration = Duration::from_hours(24 * 90);

/// The most entries of an `access` claim; further ones are not granted.
pub(crate) const ACCESS_LIMIT: usize = crate::scope::SCOPES_LIMIT;

/// Signs and verifies tokens.
pub(crate) struct Tokens {
    signing: EncodingKey,
    verifying: DecodingKey,
    service: String,
    expiration: Duration,
    /// Whether the key outlives the process.
    lasting: bool,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
    #[serde(default)]
    sub: String,
    subject: Subject,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    access: Vec<Access>,
    /// Of a refresh token: identifies the user's entry that it is valid for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    entry: String,
}

/// A token of the built-in service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// When it was issued, in seconds since 1970.
    pub issued_at: u64,
    /// Its lifetime in seconds.
    pub expires_in: u64,
    /// A refresh token, if one was requested and is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

impl Tokens {
    /// A service whose key is derived from a secret, or random for this process.
    pub(crate) fn new(issuer: &Issuer, secret: Option<&Secret>) -> Result<Self, String> {
        let key = match secret {
            Some(Secret(secret)) => {
                let mut mac = keyed(&[0x52; 64]);
                mac.update(b"roadstead: tokens");
                mac.update(secret.as_bytes());
                mac.finalize().into_bytes().to_vec()
            }
            None => random()?.to_vec(),
        };
        Ok(Self {
            signing: EncodingKey::from_secret(&key),
            verifying: DecodingKey::from_secret(&key),
            service: issuer.service.clone(),
            expiration: issuer.expiration,
            lasting: secret.is_some(),
        })
    }

    /// Signs a token, and a refresh token too if `hash` is given, the user's
    /// password hash that it is valid for.
    pub(crate) fn issue(
        &self,
        subject: &Subject,
        access: Vec<Access>,
        hash: Option<&str>,
        now: SystemTime,
    ) -> Result<Issued, String> {
        let issued_at = seconds(now);
        let sign = |aud: String, time: Duration, access, entry| {
            let claims = Claims {
                iss: ISSUER.to_owned(),
                aud,
                iat: issued_at,
                nbf: issued_at,
                exp: issued_at + time.as_secs(),
                jti: URL_SAFE_NO_PAD.encode(&random()?[..16]),
                sub: subject.user.clone().unwrap_or_default(),
                subject: subject.clone(),
                access,
                entry,
            };
            let header = Header::new(Algorithm::HS256);
            jsonwebtoken::encode(&header, &claims, &self.signing).map_err(|e| e.to_string())
        };
        let refresh_token = hash
            .filter(|_| self.lasting)
            .map(|hash| sign(self.refresh_audience(), REFRESH_TIME, Vec::new(), entry(hash)));
        Ok(Issued {
            token: sign(self.service.clone(), self.expiration, access, String::new())?,
            issued_at,
            expires_in: self.expiration.as_secs(),
            refresh_token: refresh_token.transpose()?,
        })
    }

    /// A token's subject, access and expiry.
    pub(crate) fn verify(&self, token: &str) -> Result<(Subject, Vec<Access>, u64), TokenError> {
        let claims: Claims = self.claims(token, &self.service)?;
        Ok((claims.subject, claims.access, claims.exp))
    }

    /// The subject of a refresh token, if their entry, which `hash_of` returns,
    /// has not changed: a new password revokes all of a user's refresh tokens.
    pub(crate) fn refresh(
        &self,
        token: &str,
        hash_of: impl FnOnce(&str) -> Option<String>,
    ) -> Result<Subject, TokenError> {
        let claims: Claims = self.claims(token, &self.refresh_audience())?;
        let user = claims.subject.user.as_deref().ok_or(TokenError::Claims)?;
        let current = hash_of(user).map(|hash| entry(&hash));
        if current.is_some_and(|current| current == claims.entry) {
            Ok(claims.subject)
        } else {
            Err(TokenError::Expired)
        }
    }

    fn claims<T: DeserializeOwned>(&self, token: &str, audience: &str) -> Result<T, TokenError> {
        if keys::header(token)?.alg != Algorithm::HS256 {
            return Err(TokenError::Algorithm);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        // Tokens come from this clock or another instance's.
        validation.leeway = 5;
        let data = jsonwebtoken::decode(token, &self.verifying, &validation);
        data.map(|data| data.claims).map_err(|error| TokenError::from(&error))
    }

    fn refresh_audience(&self) -> String {
        format!("refresh:{}", self.service)
    }
}

/// What a refresh token contains of a user's entry: enough to detect a change,
/// and nothing that helps to guess the password.
fn entry(hash: &str) -> String {
    let mut mac = keyed(&[0x45; 64]);
    mac.update(hash.as_bytes());
    URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
}

pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
