//! Verifies Amazon's signatures of requests and of URLs, version 4.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use super::Key;
use crate::stand_in::{Asked, DENIED, Refusal};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use roadstead_kit::requests::digest;
use sha2::Sha256;
use std::fmt::Write as _;

/// The characters of a query that are escaped.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const WRONG: Refusal = Refusal(StatusCode::FORBIDDEN, "SignatureDoesNotMatch");
const EXPIRED: Refusal = Refusal(StatusCode::BAD_REQUEST, "ExpiredToken");
const OTHER_BODY: Refusal = Refusal(StatusCode::BAD_REQUEST, "XAmzContentSHA256Mismatch");

/// What a request says of its signature.
struct Said {
    /// The key's ID, and the scope of the signature.
    credential: String,
    headers: String,
    signature: String,
    date: String,
    token: String,
    payload: String,
}

/// Checks that a request is signed with a key, and has the body that was signed.
pub(super) fn verify(asked: &Asked, key: &Key) -> Result<(), Refusal> {
    let said = in_header(asked).or_else(|| in_query(asked)).ok_or(DENIED)?;
    let (id, scope) = said.credential.split_once('/').ok_or(DENIED)?;
    if id != key.id || said.token != key.token {
        return Err(EXPIRED);
    }
    let canonical = format!(
        "{}\n{}\n{}\n{}\n{}\n{}",
        asked.head.method,
        asked.head.uri.path(),
        query(asked),
        headers(asked, &said.headers).ok_or(WRONG)?,
        said.headers,
        said.payload
    );
    let hash = sha256(canonical.as_bytes());
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", said.date);
    let secret = format!("AWS4{}", key.secret).into_bytes();
    let signing = scope.split('/').fold(secret, |key, part| mac(&key, part));
    if hex(&mac(&signing, &text)) != said.signature {
        return Err(WRONG);
    }
    if said.payload != "UNSIGNED-PAYLOAD" && said.payload != sha256(&asked.body) {
        return Err(OTHER_BODY);
    }
    Ok(())
}

fn in_header(asked: &Asked) -> Option<Said> {
    let value = asked.header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let part = |name: &str| {
        let mut parts = value.split(',').map(str::trim);
        parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    let header = |name: &str| asked.header(name).unwrap_or_default().to_owned();
    Some(Said {
        credential: part("Credential")?,
        headers: part("SignedHeaders")?,
        signature: part("Signature")?,
        date: header("x-amz-date"),
        token: header("x-amz-security-token"),
        payload: header("x-amz-content-sha256"),
    })
}

fn in_query(asked: &Asked) -> Option<Said> {
    let parameter = |name: &str| asked.get(&format!("X-Amz-{name}")).to_owned();
    (parameter("Algorithm") == "AWS4-HMAC-SHA256").then(|| Said {
        credential: parameter("Credential"),
        headers: parameter("SignedHeaders"),
        signature: parameter("Signature"),
        date: parameter("Date"),
        token: parameter("Security-Token"),
        payload: "UNSIGNED-PAYLOAD".to_owned(),
    })
}

/// The canonical query.
fn query(asked: &Asked) -> String {
    let pairs = asked.query.iter().filter(|(name, _)| *name != "X-Amz-Signature");
    let escaped = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    let mut pairs: Vec<_> =
        pairs.map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.sort_unstable();
    pairs.join("&")
}

/// The canonical headers.
fn headers(asked: &Asked, signed: &str) -> Option<String> {
    let mut text = String::new();
    for name in signed.split(';') {
        let value = asked.header(name)?;
        let value: Vec<_> = value.split_whitespace().collect();
        writeln!(text, "{name}:{}", value.join(" ")).ok()?;
    }
    Some(text)
}

fn sha256(bytes: &[u8]) -> String {
    digest(bytes).trim_start_matches("sha256:").to_owned()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
