//! Archives that are refused, and by which words.

use super::super::error::shown;
use super::kit::{Tar, content, header, in_layout, layout, open, sha256};
use tar::{EntryType, Header};

/// An archive in which everything is right, before the entries of `add`.
fn before(add: impl FnOnce(&mut Tar)) -> Vec<u8> {
    let mut tar = layout(&[], &[]);
    add(&mut tar);
    tar.end()
}

fn raw(kind: u8, name: &str, target: &str, bytes: &[u8]) -> Vec<u8> {
    before(|tar| tar.raw(EntryType::new(kind), name, target, bytes))
}

fn extended(kind: u8, extension: &[u8], name: &str, bytes: &[u8]) -> Vec<u8> {
    before(|tar| {
        tar.raw(EntryType::new(kind), "ext", "", extension);
        tar.raw(EntryType::Regular, name, "", bytes);
    })
}

fn damaged(change: impl FnOnce(&mut Header)) -> Vec<u8> {
    before(|tar| {
        let mut header = header(EntryType::Regular, "bad", "", 0);
        change(&mut header);
        header.set_cksum();
        tar.header(&header, b"");
    })
}

fn sized(field: [u8; 12]) -> Vec<u8> {
    damaged(|header| header.as_old_mut().size = field)
}

#[test]
fn hostile_archives_are_refused() {
    let file = |name: &str| before(|tar| tar.raw(EntryType::Regular, name, "", b"x"));
    let long = "x".repeat(5000);
    let pax = vec![b'x'; 1024 * 1024 + 1];
    for (bytes, expected) in [
        (file("/etc/passwd"), "/etc/passwd: has an absolute path"),
        (file("a/../../b"), "a/../../b: has a path that leads out"),
        (file(".."), "..: has a path that leads out"),
        (file("./"), "./: is a directory with content"),
        (file("a/"), "a/: is a directory with content"),
        (raw(b'0', "", "", b""), ": has no name"),
        (raw(b'5', "/etc", "", b""), "/etc: has an absolute path"),
        (raw(b'5', "d", "", b"x"), "d: is a directory with content"),
        (raw(b'1', "hard", "oci-layout", b""), "hard: is a hard link"),
        (raw(b'2', "soft", "oci-layout", b""), "soft: is a symbolic link"),
        (raw(b'2', "a/layer.tar", "../../b/layer.tar", b""), "a/layer.tar: is a symbolic link"),
        (raw(b'2', "a/layer.tar", "../b/layer.tar", b""), "a/layer.tar: is a symbolic link"),
        (raw(b'2', "a/layer.tar", "../b.tar", b""), "a/layer.tar: is a symbolic link"),
        (raw(b'2', "a/layer.tar", "../b/c.tar", b""), "a/layer.tar: is a symbolic link"),
        (raw(b'2', "a/layer.tar", "../.tar", b""), "a/layer.tar: is a symbolic link"),
        (raw(b'2', "a/layer.tar", "/b.tar", b""), "a/layer.tar: is a symbolic link"),
        (raw(b'2', "a/layer.tar", "../b/layer.tar", b"x"), "a/layer.tar: is a symbolic link with"),
        (raw(b'3', "dev", "", b""), "dev: is a device"),
        (raw(b'4', "dev", "", b""), "dev: is a device"),
        (raw(b'6', "pipe", "", b""), "pipe: is a named pipe"),
        (raw(b'S', "holes", "", b"x"), "holes: is sparse"),
        (raw(b'M', "more", "", b"x"), "more: is of a type"),
        (file("oci-layout"), "oci-layout: is in the archive twice"),
        (file(".//oci-layout"), ".//oci-layout: is in the archive twice"),
        (extended(b'x', b"22 GNU.sparse.major=1\n", "s", b""), "s: is sparse"),
        (extended(b'x', b"20 path=/etc/passwd\n", "s", b""), "/etc/passwd: has an absolute path"),
        (extended(b'x', b"13 path=../x\n", "s", b""), "../x: has a path that leads out"),
        (extended(b'x', b"9 path=a\n9 path=b\n", "s", b""), "ext: has a PAX header that says"),
        (extended(b'x', b"nonsense", "s", b""), "ext: has a damaged PAX header"),
        (extended(b'x', &pax, "s", b""), "ext: has a PAX header that is too large"),
        (extended(b'x', b"13 size=9999\n", "big", b"1"), "big: is cut off: it has 9999 bytes"),
        (
            extended(b'x', b"29 size=18446744073709551615\n", "big", b"1"),
            "big: is cut off: it has 18446744073709551615 bytes",
        ),
        (extended(b'g', b"9 path=a\n", "s", b""), "ext: has a PAX header that is for all"),
        (extended(b'L', b"/etc/passwd\0", "s", b""), "/etc/passwd: has an absolute path"),
        (extended(b'L', b"a\0b\0", "s", b""), "a\\0b: has a name with a zero in it"),
        (extended(b'L', long.as_bytes(), "s", b""), "ext: has a name that is too long"),
        (extended(b'L', &long.as_bytes()[..4097], "s", b""), ": has a name that is too long"),
        (sized(*b"77777777777\0"), "bad: is cut off: it has 8589934591 bytes"),
        (sized([0x80, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]), "bad: is cut off"),
        (sized([0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), "bad: has a damaged size"),
        (sized([0xff; 12]), "bad: has a damaged size"),
        (sized(*b"0000000009\0 "), "bad: has a damaged size"),
        (sized(*b"-0000000001\0"), "bad: has a damaged size"),
        (layout(&[], &[]).0.into_iter().chain(*b"x").collect(), "a.tar: is cut off at byte 2049"),
        (before(|tar| tar.0.extend([b'x'; 512])), "a.tar: is damaged at byte 2048"),
        (before(|tar| tar.0.extend([[0; 512], [1; 512]].concat())), "its end is in the middle"),
        (before(|tar| tar.raw(EntryType::XHeader, "ext", "", b"")), "a.tar: is cut off at byte"),
    ] {
        let error = open(bytes).map(|_| ()).expect_err(expected);
        assert!(error.starts_with("a.tar: ") && error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn headers_that_contradict_are_refused() {
    for kinds in ["xx", "LL", "KK"] {
        let twice = before(|tar| {
            for kind in kinds.bytes() {
                tar.raw(EntryType::new(kind), "ext", "", b"");
            }
        });
        assert_eq!(open(twice).unwrap_err(), "a.tar: ext: has two headers of one kind");
    }
    let names = before(|tar| {
        tar.raw(EntryType::XHeader, "ext", "", b"9 path=a\n");
        tar.raw(EntryType::GNULongName, "ext", "", b"b\0");
        tar.raw(EntryType::Regular, "c", "", b"");
    });
    assert_eq!(open(names).unwrap_err(), "a.tar: a: has two names");
}

#[test]
fn harmless_oddities_are_accepted() {
    let long = format!("{}/x", "d".repeat(200));
    for bytes in [
        before(|_| {}),
        layout(&[], &[]).0,
        raw(b'0', "./x", "", b"x"),
        raw(b'0', "a\\b", "", b"x"),
        raw(b'0', "d/", "", b""),
        raw(b'7', "x", "", b"x"),
        raw(0, "x", "", b"x"),
        raw(b'5', "./", "", b""),
        extended(b'L', long.as_bytes(), "s", b"x"),
        extended(b'x', b"13 comment=x\n", "s", b"x"),
        extended(b'g', b"13 comment=x\n", "s", b"x"),
        extended(b'K', b"target\0", "s", b"x"),
    ] {
        assert!(open(&bytes).is_ok(), "{:?}", open(bytes));
    }
}

#[test]
fn sizes_of_pax_count() {
    let bytes = [b'1'; 600];
    let digest = sha256(bytes);
    let mut tar = layout(&[], &[]);
    tar.raw(EntryType::XHeader, "ext", "", b"12 size=600\n");
    let header = header(EntryType::Regular, &in_layout(&bytes), "", 0);
    tar.header(&header, &bytes);
    let set = open(tar.file("behind", "").end()).unwrap();
    assert_eq!(content(&set, &digest), Some(bytes.to_vec()));
}

#[test]
fn names_in_messages_are_short_and_plain() {
    assert_eq!(shown(b"a/b"), "a/b");
    assert_eq!(shown(b"\x1b[2J\n\xff"), "\\u{1b}[2J\\n\u{fffd}");
    assert_eq!(shown("x".repeat(200).as_bytes()), "x".repeat(200));
    assert_eq!(shown("x".repeat(5000).as_bytes()), "x".repeat(200) + "...");
}
