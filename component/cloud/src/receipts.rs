//! Receipts for uploads whose bytes are a blob already.
//!
//! A client sends a layer by one request and then says by another one that it
//! was all. Where it is to say so is up to us, and the address holds a receipt:
//! a keyed hash of the session, the digest and the time. With it, the session
//! need not be looked up. It holds for [`TRUSTED_FOR`], as long as a blob that
//! no link makes visible is taken to be there; without it, or later, the
//! session's record says the same.
//!
//! Whoever could make one up would get any blob by its digest alone. So hashes
//! are compared in a time that tells nothing.
//!
//! A session that was cancelled, or that went on, can thus still end as the
//! blob that its client had sent by then.

use super::bucket::Bucket;
use super::session::TRUSTED_FOR;
use hmac::{Hmac, KeyInit as _, Mac as _};
use object_store::path::Path;
use roadstead_oci::Digest;
use sha2::Sha256;
use std::fmt::Write as _;
use std::time::SystemTime;

/// Sets these hashes apart from those of identifiers.
const PURPOSE: &[u8] = b"receipt\0";

/// How many bytes of the hash a receipt holds: those of a `u128`.
const HASH: usize = 16;

impl Bucket {
    /// A receipt that the session's bytes are this blob, where there is a
    /// secret for it.
    pub(super) fn receipt(&self, session: &Path, digest: &Digest) -> Option<String> {
        self.receipt_of(now(), session, digest)
    }

    fn receipt_of(&self, time: u64, session: &Path, digest: &Digest) -> Option<String> {
        let hash = self.keyed(time, session, digest)?.finalize().into_bytes();
        Some(hash.iter().take(HASH).fold(format!("{time}."), |mut text, byte| {
            // Writing to text does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    /// Whether a receipt is one that was given for this, not long ago.
    pub(super) fn gave(&self, receipt: &str, session: &Path, digest: &Digest) -> bool {
        let Some((time, hash)) = receipt.split_once('.') else { return false };
        let (Ok(time), Ok(bits)) = (time.parse(), u128::from_str_radix(hash, 16)) else {
            return false;
        };
        hash.len() == 2 * HASH
            && !hash.starts_with('+')
            && now().saturating_sub(time) <= TRUSTED_FOR.as_secs()
            && self
                .keyed(time, session, digest)
                .is_some_and(|keyed| keyed.verify_truncated_left(&bits.to_be_bytes()).is_ok())
    }

    /// The hash of what a receipt says, where there is a key.
    fn keyed(&self, time: u64, session: &Path, digest: &Digest) -> Option<Hmac<Sha256>> {
        let mut keyed = Hmac::new_from_slice(self.options.secret.as_ref()?).ok()?;
        keyed.update(PURPOSE);
        keyed.update(format!("{time} {digest} {session}").as_bytes());
        Some(keyed)
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::now;
    use crate::native::MemoryBucket;
    use crate::store::cloud::bucket::{Bucket, Options};
    use crate::store::contract::sha256;
    use object_store::path::Path;

    #[test]
    fn receipts_hold_for_what_they_were_given_for() {
        let bucket = |secret: Option<&[u8]>| {
            let options = Options { secret: secret.map(<[u8]>::to_vec), ..Options::default() };
            Bucket::new(MemoryBucket::default().backend(""), options)
        };
        let (ours, theirs) = (bucket(Some(b"ours")), bucket(Some(b"theirs")));
        let (session, other) = (Path::from("a/_uploads/1"), Path::from("a/_uploads/2"));
        let (digest, wrong) = (sha256(b"some"), sha256(b"other"));
        let receipt = ours.receipt(&session, &digest).unwrap();
        assert!(ours.gave(&receipt, &session, &digest));
        assert!(!ours.gave(&receipt, &other, &digest));
        assert!(!ours.gave(&receipt, &session, &wrong));
        assert!(!theirs.gave(&receipt, &session, &digest));
        let (time, hash) = receipt.split_once('.').unwrap();
        let later = time.parse::<u64>().unwrap() + 1;
        assert!(!ours.gave(&format!("{later}.{hash}"), &session, &digest));
        let signed = format!("{time}.+{}", &hash[1..]);
        for nonsense in
            [&signed, "", ".", "x.y", hash, time, "99999999999999999999.00", &receipt[..20]]
        {
            assert!(!ours.gave(nonsense, &session, &digest), "{nonsense}");
        }
        let old = ours.receipt_of(now() - 301, &session, &digest).unwrap();
        assert!(!ours.gave(&old, &session, &digest));
        assert!(ours.gave(
            &ours.receipt_of(now() - 200, &session, &digest).unwrap(),
            &session,
            &digest
        ));
        assert_eq!(bucket(None).receipt(&session, &digest), None);
        assert!(!bucket(None).gave(&receipt, &session, &digest));
    }
}
