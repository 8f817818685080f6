use super::super::header::{self, BLOCK};
use tar::Header;

#[test]
fn headers_are_ustars_unless_it_has_no_room() {
    const OCTAL: u64 = 0o777_7777_7777;
    let long = format!("{}/{}", "d".repeat(155), "n".repeat(100));
    for (name, size, ustar, blocks) in [
        ("a".to_owned(), 0, true, 1),
        ("n".repeat(100), OCTAL, true, 1),
        (long.clone(), 1, true, 1),
        ("a".to_owned(), OCTAL + 1, false, 1),
        ("a".to_owned(), u64::MAX >> 1, false, 1),
        (long.clone(), OCTAL + 1, false, 3),
        ("n".repeat(101), 1, false, 3),
        (format!("{long}/x"), 1, false, 3),
        ("n".repeat(511), 1, false, 3),
        ("n".repeat(512), 1, false, 4),
    ] {
        let bytes = header::blocks(&name, size);
        assert_eq!(bytes.len() as u64, blocks * BLOCK, "{name} {size}");
        assert!(bytes.len() as u64 <= header::LONGEST);
        let last = Header::from_byte_slice(bytes.last_chunk::<512>().unwrap());
        assert_eq!(last.as_ustar().is_some(), ustar, "{name} {size}");
        assert_eq!(last.entry_size().unwrap(), size, "{name}");
        // Only a short body can be read as a whole.
        if size > 1 {
            continue;
        }
        let mut tar = bytes;
        tar.resize(tar.len() + 512 * usize::from(size > 0) + 1024, 0);
        let members = super::members(&tar);
        assert_eq!(members, [(name, vec![0; usize::from(size > 0)])]);
    }
}

#[test]
fn padding_completes_blocks() {
    for (size, padding) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511), (1 << 60, 0)] {
        assert_eq!(header::padding(size), padding, "{size}");
    }
}
