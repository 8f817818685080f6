//! The text types with random input.

use super::super::{Digest, InvalidDigest, MediaType, Reference, RepositoryName, Tag, UploadId};
use super::random::{ROUNDS, Random, check, regexp};

#[test]
fn names_match_the_specification() {
    let pieces = ["a", "z9", ".", "_", "-", "/", "A", " ", "\u{e9}", "\0", ":"];
    let pattern = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*";
    let often = &pieces[..6];
    check(
        |random| match random.below(100) {
            0 => "a/".repeat(random.below(140)) + "a",
            1..=20 => random.text(&pieces, 8),
            _ => random.text(often, 12),
        },
        RepositoryName::parse,
        regexp(pattern, RepositoryName::MAX_LENGTH),
    );
}

#[test]
fn tags_match_the_specification() {
    let pieces = ["a", "Z", "0", "_", ".", "-", "+", "/", ":", "\u{e9}", "\n"];
    check(
        |random| match random.below(100) {
            0 => "a".repeat(random.below(200)),
            _ => random.text(&pieces, 6),
        },
        Tag::parse,
        regexp("[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", usize::MAX),
    );
}

#[test]
fn references_are_tags_or_digests() {
    let hex = "a".repeat(64);
    let pieces = ["a", "_", ":", "sha256:", hex.as_str(), "-", " "];
    check(
        |random| random.text(&pieces, 3),
        Reference::parse,
        |text| Tag::parse(text).is_ok() || Digest::parse(text).is_ok(),
    );
}

#[test]
fn digests_match_the_specification() {
    let pieces = ["0", "f", "g", "A", ":", "+", "=", "_", "\u{e9}", ""];
    let grammar = regexp("[a-z0-9]+([+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", usize::MAX);
    let supported = regexp("sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}", usize::MAX);
    let good = [("sha256", 64), ("sha512", 128), ("a+b.c", 5)]
        .map(|(name, length)| format!("{name}:{}", "0f".repeat(length / 2)));
    let good = good.each_ref().map(String::as_str);
    let parse = |text: &str| {
        let parsed = Digest::parse(text);
        let malformed = parsed == Err(InvalidDigest::Malformed);
        assert_eq!(malformed, !grammar(text), "{text:?}");
        parsed
    };
    check(
        |random| {
            let text = random.one_of(&good);
            random.damaged(text, &pieces)
        },
        parse,
        supported,
    );
}

#[test]
fn upload_ids_match_their_pattern() {
    let good = "01234567-89ab-cdef-0123-456789abcdef";
    let pieces = ["0", "f", "-", "F", "g", "\u{e9}"];
    check(
        |random| random.damaged(good, &pieces),
        UploadId::parse,
        regexp("[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", usize::MAX),
    );
}

#[test]
fn media_types_match_rfc_6838() {
    let pieces = ["a", "Z0", "/", "+", ".", "!#$&-^_", "*", "\u{e9}", "\r"];
    let part = "[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}";
    let mut blanked = Random::new();
    check(
        |random| {
            let kind = random.text(&pieces[..2], 2);
            kind + random.one_of(&["/", "/", ""]) + &random.text(&pieces, 3)
        },
        |text| {
            let parsed = MediaType::parse(text);
            assert_eq!(MediaType::parse(&format!(" {text} ;x=/")), parsed);
            parsed
        },
        regexp(&format!("{part}/{part}"), MediaType::MAX_LENGTH),
    );
    for _ in 0..ROUNDS {
        let text = blanked.text(&["a", "/", ";", " ", "\t", "=", "\""], 8);
        if let Ok(media_type) = MediaType::parse(&text) {
            assert_eq!(MediaType::parse(media_type.as_str()), Ok(media_type));
        }
    }
}
