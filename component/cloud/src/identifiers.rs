//! Identifiers of uploads that are known to be ours without a request.
//!
//! An upload begins with a POST, of which nothing is stored: its identifier
//! says itself that it was given out. Of its bits, five bytes are random, two
//! are the hour, and seven are a keyed hash of these and of the repository's
//! place. An identifier whose record is missing is one of an upload that has no
//! bytes yet, for [`FRESH_HOURS`]; later it is one of none.
//!
//! The hash keeps nobody out: who may push may begin an upload anyway. It
//! makes an identifier that was never given out unknown, as the specification
//! wants it, and all that are given out hard to guess.

use super::bucket::Bucket;
use hmac::{Hmac, KeyInit as _, Mac as _};
use object_store::path::Path;
use roadstead_oci::UploadId;
use sha2::Sha256;
use std::time::SystemTime;

/// How long an upload may have no bytes, in hours, counted in whole ones.
pub(super) const FRESH_HOURS: u16 = 24;

/// Where the hour is. Bytes 6 and 8 hold bits that every identifier has.
const HOUR: [usize; 2] = [5, 7];

/// Where the hash begins.
const HASH: usize = 9;

impl Bucket {
    /// Makes the bits of an identifier of random ones.
    pub(super) fn session_bits(&self, uploads: &Path, mut random: [u8; 16]) -> [u8; 16] {
        let Some(secret) = &self.options.secret else { return random };
        for (place, byte) in HOUR.into_iter().zip(hour().to_be_bytes()) {
            random[place] = byte;
        }
        let hash = keyed(secret, uploads, &random);
        for (to, from) in random.iter_mut().skip(HASH).zip(hash) {
            *to = from;
        }
        random
    }

    /// Whether a session without a record is one that has no bytes yet.
    pub(super) fn is_fresh(&self, session: &Path) -> bool {
        let (Some(secret), Some((uploads, id))) =
            (&self.options.secret, session.as_ref().rsplit_once('/'))
        else {
            return false;
        };
        let (Ok(id), Ok(uploads)) = (UploadId::parse(id), Path::parse(uploads)) else {
            return false;
        };
        let digits: String = id.as_str().chars().filter(|&digit| digit != '-').collect();
        let Ok(bits) = u128::from_str_radix(&digits, 16) else { return false };
        let bits = bits.to_be_bytes();
        let began = u16::from_be_bytes(HOUR.map(|place| bits[place]));
        let hash = keyed(secret, &uploads, &bits);
        bits.iter().skip(HASH).eq(hash.iter().take(bits.len() - HASH))
            && hour().wrapping_sub(began) <= FRESH_HOURS
    }
}

/// The hash of what an identifier says and of where it is said. A key that
/// cannot be used gives none that fits, so that there are no uploads.
fn keyed(secret: &[u8], uploads: &Path, bits: &[u8; 16]) -> Vec<u8> {
    let Ok(mut hash) = Hmac::<Sha256>::new_from_slice(secret) else { return Vec::new() };
    for place in [0, 1, 2, 3, 4, HOUR[0], HOUR[1]] {
        hash.update(&[bits[place]]);
    }
    hash.update(uploads.as_ref().as_bytes());
    hash.finalize().into_bytes().to_vec()
}

/// The time in hours, of which as many count as two bytes hold.
fn hour() -> u16 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Seven years later it is the same again, which no upload lives to see.
    u16::try_from(now.as_secs() / 3600 % (u64::from(u16::MAX) + 1)).unwrap_or_default()
}
