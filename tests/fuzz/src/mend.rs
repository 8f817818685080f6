//! Damaged archives with the right sums: few changes of a tar file would get beyond the
//! checksums of its headers and the digests of its contents.

use roadstead_oci::Algorithm;
use roadstead_storage::BlobHash;

const BLOCK: usize = 512;

/// How many hexadecimal digits SHA-256 has.
const DIGITS: usize = 64;

/// The same tar file, in which headers have their checksums and contents are called by what
/// their digests are now, everywhere; none if it has all that already.
pub(crate) fn mended(data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = data.to_vec();
    let mut headers = Vec::new();
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + BLOCK) {
        let start = at + BLOCK;
        if header[257..262] != *b"ustar" {
            at = start;
            continue;
        }
        headers.push(at);
        let size = octal(&header[124..136]).min(bytes.len() - start);
        if let Some(old) = digits(header) {
            let new = sha256(&bytes[start..start + size]);
            // Distribution's directories are called by the first two digits.
            let directory = |digits: &[u8]| [&digits[..2], b"/", digits].concat();
            replace(&mut bytes, &directory(&old), &directory(&new));
            replace(&mut bytes, &old, &new);
        }
        at = start + size.next_multiple_of(BLOCK);
    }
    for at in headers {
        let header = &mut bytes[at..at + BLOCK];
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
    }
    (bytes != data).then_some(bytes)
}

/// The digits of the digest that a member is called by, if its bytes should have it: not of
/// links, which have another member's.
fn digits(header: &[u8]) -> Option<Vec<u8>> {
    let field = |field: &[u8]| field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    let path = [field(&header[345..500]), field(&header[..100])].join(&b'/');
    let name =
        [b"/data".as_slice(), b".json", b""].into_iter().find_map(|end| path.strip_suffix(end))?;
    let digits = name.rsplit(|byte| *byte == b'/').next()?;
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (digits.len() == DIGITS && digits.iter().all(is_digit)).then(|| digits.to_vec())
}

fn octal(field: &[u8]) -> usize {
    let digits = field.iter().take_while(|byte| matches!(byte, b'0'..=b'7'));
    digits.fold(0, |all: usize, digit| {
        all.saturating_mul(8).saturating_add(usize::from(digit - b'0'))
    })
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    let mut hash = BlobHash::new(Algorithm::Sha256);
    hash.update(bytes);
    let digest = hash.finish().unwrap_or_else(|error| panic!("{error}"));
    digest.encoded().as_bytes().to_vec()
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let (Some(first), true) = (old.first(), old != new) else { return };
    let mut at = 0;
    // Comparing everywhere would take most of the time.
    while let Some(next) = bytes[at..].iter().position(|byte| byte == first) {
        at += next;
        match bytes.get_mut(at..at + old.len()) {
            Some(place) if place == old => {
                place.copy_from_slice(new);
                at += old.len();
            }
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::mended;
    use roadstead_archive::{Options, Set};

    const ARCHIVE: &[u8] = include_bytes!("../../../fuzz/corpus/archives/oci-layout-small");

    fn open(mut bytes: &[u8]) -> Result<Set, String> {
        let options = Options { temporary: Some(std::env::temp_dir()) };
        let set = Set::open_with(&["-".into()], &options, &mut bytes);
        set.map_err(|error| error.to_string())
    }

    #[test]
    fn changed_archives_can_be_opened() {
        assert!(mended(ARCHIVE).is_none());
        let before = open(ARCHIVE).unwrap();
        let image = &before.images()[0];
        let mut bytes = ARCHIVE.to_vec();
        super::replace(&mut bytes, b"image.layer.v1.tar", b"image.layer.v9.tar");
        assert!(open(&bytes).unwrap_err().contains("does not have its digest"));
        let after = open(&mended(&bytes).unwrap()).unwrap();
        assert_eq!(after.images().len(), before.images().len());
        assert_ne!(after.images()[0].digest, image.digest);
        assert!(after.manifest(&after.images()[0].digest).unwrap().is_some());
    }
}
