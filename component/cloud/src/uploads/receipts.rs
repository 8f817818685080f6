//! Receipts for sessions whose bytes are stored as a blob already.
//!
//! A client sends a layer by one request, and says by another one that it was
//! all. The URL of the second is for the registry to choose, and holds a receipt:
//! the time, the blob's size, and a keyed hash of these, of the session and of the
//! digest. With it, the session need not be looked up. It is valid for
//! [`TRUSTED_FOR`], as long as a blob that is not linked is trusted to exist;
//! without it, or later, the session's record says the same.
//!
//! Whoever could forge a receipt would get any blob by its digest alone, so
//! hashes are compared in constant time.
//!
//! A session that was cancelled, or that went on, can still end as the blob that
//! the client had sent by then.

use super::session::TRUSTED_FOR;
use hmac::{Hmac, Mac as _};
use roadstead_oci::Digest;
use roadstead_storage::{Key, SessionSecret, UploadSession};
use sha2::Sha256;
use std::fmt::Write as _;
use std::time::SystemTime;

/// Sets these hashes apart from those of identifiers.
const PURPOSE: &[u8] = b"receipt\0";

/// How many bytes of the hash a receipt holds: those of a `u128`.
const HASH: usize = 16;

/// A receipt that the session's bytes, `size` in number, are this blob.
pub(super) fn receipt(
    secret: &SessionSecret,
    session: &UploadSession,
    digest: &Digest,
    size: u64,
) -> Option<String> {
    receipt_at(secret, now(), session, digest, size)
}

fn receipt_at(
    secret: &SessionSecret,
    time: u64,
    session: &UploadSession,
    digest: &Digest,
    size: u64,
) -> Option<String> {
    let hash = receipt_hash(secret, time, session, digest, size)?.finalize().into_bytes();
    Some(hash.iter().take(HASH).fold(format!("{time}.{size}."), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// The size in a receipt, if it is a valid one for this session and digest.
pub(super) fn receipt_size(
    secret: &SessionSecret,
    receipt: &str,
    session: &UploadSession,
    digest: &Digest,
) -> Option<u64> {
    let (time, rest) = receipt.split_once('.')?;
    let (size, hash) = rest.split_once('.')?;
    let (time, size) = (time.parse().ok()?, size.parse().ok()?);
    if hash.len() != 2 * HASH
        || hash.starts_with('+')
        || now().saturating_sub(time) > TRUSTED_FOR.as_secs()
    {
        return None;
    }
    let bytes = u128::from_str_radix(hash, 16).ok()?.to_be_bytes();
    let expected = receipt_hash(secret, time, session, digest, size)?;
    expected.verify_truncated_left(&bytes).ok().map(|()| size)
}

/// The hash of what a receipt says. `None` if the secret cannot be a key.
fn receipt_hash(
    secret: &SessionSecret,
    time: u64,
    session: &UploadSession,
    digest: &Digest,
    size: u64,
) -> Option<Hmac<Sha256>> {
    let mut hash = secret.hmac()?;
    hash.update(PURPOSE);
    hash.update(format!("{time} {size} {digest} {}", Key::Session(session.clone())).as_bytes());
    Some(hash)
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::{now, receipt, receipt_at, receipt_size};
    use roadstead_oci::{Digest, RepositoryName};
    use roadstead_storage::{SessionSecret, UploadSession};

    #[test]
    fn receipts_are_valid_for_what_they_were_given_for() {
        let (ours, theirs) = (SessionSecret::new(*b"ours"), SessionSecret::new(*b"theirs"));
        let name = RepositoryName::parse("a").unwrap();
        let session = |byte| UploadSession::from_random(name.clone(), [byte; 16]);
        let (session, other) = (session(1), session(2));
        let digest = |digit: &str| Digest::parse(&format!("sha256:{}", digit.repeat(64))).unwrap();
        let (digest, wrong) = (digest("a"), digest("b"));
        let given = receipt(&ours, &session, &digest, 5).unwrap();
        assert!(given.len() <= 64, "longer than routes take");
        assert_eq!(receipt_size(&ours, &given, &session, &digest), Some(5));
        assert_eq!(receipt_size(&ours, &given, &other, &digest), None);
        assert_eq!(receipt_size(&ours, &given, &session, &wrong), None);
        assert_eq!(receipt_size(&theirs, &given, &session, &digest), None);
        let (time, rest) = given.split_once('.').unwrap();
        let (size, hash) = rest.split_once('.').unwrap();
        let later = time.parse::<u64>().unwrap() + 1;
        for forged in [
            &format!("{later}.{size}.{hash}"),
            &format!("{time}.6.{hash}"),
            &format!("{time}.{size}.+{}", &hash[1..]),
            &format!("{time}.{hash}"),
            "",
            ".",
            "..",
            "x.y.z",
            hash,
            time,
            "99999999999999999999.5.00",
            &given[..20],
        ] {
            assert_eq!(receipt_size(&ours, forged, &session, &digest), None, "{forged}");
        }
        let old = receipt_at(&ours, now() - 301, &session, &digest, 5).unwrap();
        assert_eq!(receipt_size(&ours, &old, &session, &digest), None);
        let recent = receipt_at(&ours, now() - 200, &session, &digest, 5).unwrap();
        assert_eq!(receipt_size(&ours, &recent, &session, &digest), Some(5));
    }
}
