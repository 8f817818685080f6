//! Keys print to distribution's layout, and parse from it.

use super::{EventName, InvalidKey, Key, QuotaName, QuotaRecord, Record, Shard};
use crate::{SessionFile, UploadSession};
use roadstead_oci::{Algorithm, Digest, RepositoryName, Tag, UploadId};

const ROUNDS: usize = 20_000;

/// A generator with a fixed seed, so that failures are reproducible.
struct Random(fastrand::Rng);

impl Random {
    fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    fn one_of<'a>(&mut self, pieces: &[&'a str]) -> &'a str {
        pieces[self.below(pieces.len())]
    }

    fn digest(&mut self) -> Digest {
        let algorithm = Algorithm::ALL[self.below(2)];
        let bytes: Vec<u8> =
            (0..algorithm.byte_length()).map(|_| u8::try_from(self.below(256)).unwrap()).collect();
        Digest::from_bytes(algorithm, &bytes).unwrap()
    }

    fn repository(&mut self) -> RepositoryName {
        const PARTS: [&str; 8] =
            ["a", "blobs", "b-c__d.e", "0", "link", "uploads", "tags", "revisions"];
        let parts: Vec<_> = (0..=self.below(4)).map(|_| self.one_of(&PARTS)).collect();
        RepositoryName::parse(&parts.join("/")).unwrap()
    }

    fn tag(&mut self) -> Tag {
        const TAGS: [&str; 8] =
            ["_uploads", "_hint-a", "link", "current", "_layers", "v1.0-X", "_manifests", "0"];
        Tag::parse(self.one_of(&TAGS)).unwrap()
    }

    fn session(&mut self) -> UploadSession {
        let bits = std::array::from_fn(|_| u8::try_from(self.below(256)).unwrap());
        UploadSession::from_random(self.repository(), bits)
    }

    fn file(&mut self) -> SessionFile {
        const FILES: [&str; 5] = ["record", "startedat", "data", "hashstates/sha256/0", "_hint-a"];
        SessionFile::parse(self.one_of(&FILES)).unwrap()
    }

    fn record(&mut self) -> Record {
        let run = u128::from(self.0.u64(..)) << self.below(64);
        let shard = Shard::of(self.digest().encoded()).unwrap();
        let part = self.0.u32(..) >> self.below(32);
        match self.below(9) {
            0 => Record::Marker,
            1 => Record::Lease,
            2 => Record::Sighted(shard),
            3 => Record::Begun(run),
            4 => Record::State(run),
            5 => Record::Live(run, shard, part),
            8 => Record::Pulls,
            6 => Record::Actions(run, part),
            7 => Record::Failure(run),
            _ => Record::Report(run),
        }
    }

    fn quota(&mut self) -> QuotaRecord {
        let bits = |random: &mut Self| u128::from(random.0.u64(..)) << random.below(64);
        let (blob, id, size) = (bits(self), bits(self), self.0.u64(..) >> self.below(64));
        match self.below(6) {
            0 => QuotaRecord::AddedBlob { blob, size, id },
            1 => QuotaRecord::AddedTag { tag: blob, id },
            2 => QuotaRecord::Begun(id),
            3 => QuotaRecord::Count { begun: size, id },
            4 => QuotaRecord::Counting,
            _ => QuotaRecord::Found(id, self.0.u8(..)),
        }
    }

    fn key(&mut self) -> Key {
        let (name, digest) = (self.repository(), self.digest());
        match self.below(25) {
            0 => Key::Blob(digest),
            1 => Key::Hint(digest, name),
            2 => Key::Layer(name, digest),
            3 => Key::Revision(name, digest),
            4 => Key::MediaType(name, digest),
            5 => Key::Tag(name, self.tag()),
            6 => Key::TagHistory(name, self.tag(), digest),
            7 => Key::Referrer { repository: name, subject: self.digest(), digest },
            8 => Key::ReferrersComplete(name),
            9 => {
                let id = u128::from(self.0.u64(..)) << self.below(64);
                Key::Deletion { repository: name, digest, id }
            }
            10 => Key::Session(self.session()),
            11 => Key::Tombstone(digest),
            12 => Key::Need(digest),
            13 => Key::MovedLayer(name, digest),
            14 => Key::Moves { repository: name, id: u128::from(self.0.u64(..)) },
            15 => Key::References(name, digest),
            16 => Key::Record(self.record()),
            18 => Key::MovedRevision(name, digest),
            17 => Key::RepositoryDeletion { repository: name, id: u128::from(self.0.u64(..)) },
            19 => Key::Quarantined(digest),
            20 => {
                Key::Quota(QuotaName::parse(self.one_of(&["a", "Te.am_-9"])).unwrap(), self.quota())
            }
            21 => Key::MovedTag(name, self.tag()),
            22 => Key::Pulled(name, self.tag()),
            23 => Key::Events(EventName {
                pulls: self.0.bool(),
                time: self.0.u64(..),
                id: u128::from(self.0.u64(..)),
            }),
            _ => Key::SessionObject(self.session(), self.file()),
        }
    }
}

#[test]
fn every_key_parses_from_what_it_prints() {
    let mut random = Random::new(1);
    for _ in 0..ROUNDS {
        let key = random.key();
        let text = key.to_string();
        assert_eq!(Key::parse(&text), Ok(key), "{text}");
    }
}

/// Whatever text parses is printed as it was: no two texts are one key, and no
/// text is a key by mistake.
#[test]
fn every_text_that_parses_is_what_its_key_prints() {
    const PIECES: [&str; 16] = [
        "/", "_uploads", "_hint-", "link", "..", "a", "=", "_layers", "sha256", "current", "index",
        "data", "-", "A", "_", "\u{e9}",
    ];
    let mut random = Random::new(2);
    let mut parsed = 0;
    for _ in 0..ROUNDS {
        let mut text = random.key().to_string();
        for _ in 0..random.below(3) {
            let at = random.below(text.len() + 1);
            let end = (at + random.below(3)).min(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(end) {
                text.replace_range(at..end, random.one_of(&PIECES));
            }
        }
        if let Ok(key) = Key::parse(&text) {
            parsed += 1;
            assert_eq!(key.to_string(), text);
        }
    }
    assert!((ROUNDS / 5..ROUNDS - ROUNDS / 5).contains(&parsed), "{parsed}");
}

#[test]
fn distributions_layout() {
    let name = RepositoryName::parse("a/b-c__d.e").unwrap();
    let hex = "0123456789abcdef".repeat(4);
    let digest = Digest::parse(&format!("sha256:{hex}")).unwrap();
    let tag = Tag::parse("_v1.0-X").unwrap();
    let session = UploadSession { repository: name.clone(), id: UploadId::from_random([7; 16]) };
    let id = session.id.clone();
    let repository = "docker/registry/v2/repositories/a/b-c__d.e";
    let referrer =
        Key::Referrer { repository: name.clone(), subject: digest.clone(), digest: digest.clone() };
    for (key, expected) in [
        (Key::Blob(digest.clone()), format!("docker/registry/v2/blobs/sha256/01/{hex}/data")),
        (
            Key::Hint(digest.clone(), name.clone()),
            format!("docker/registry/v2/blobs/sha256/01/{hex}/_hint-a=b-c__d.e"),
        ),
        (
            Key::Layer(name.clone(), digest.clone()),
            format!("{repository}/_layers/sha256/{hex}/link"),
        ),
        (
            Key::Revision(name.clone(), digest.clone()),
            format!("{repository}/_manifests/revisions/sha256/{hex}/link"),
        ),
        (
            Key::MediaType(name.clone(), digest.clone()),
            format!("{repository}/_manifests/revisions/sha256/{hex}/media-type"),
        ),
        (
            Key::Tag(name.clone(), tag.clone()),
            format!("{repository}/_manifests/tags/_v1.0-X/current/link"),
        ),
        (
            Key::TagHistory(name.clone(), tag, digest.clone()),
            format!("{repository}/_manifests/tags/_v1.0-X/index/sha256/{hex}/link"),
        ),
        (referrer, format!("{repository}/_referrers/sha256/{hex}/sha256-{hex}/descriptor")),
        (Key::ReferrersComplete(name.clone()), format!("{repository}/_referrers/complete")),
        (
            Key::Deletion { repository: name, digest, id: 0x1f },
            format!("{repository}/_deletions/sha256-{hex}/{:032x}/tags", 0x1f),
        ),
        (Key::Session(session.clone()), format!("{repository}/_uploads/{id}")),
        (
            Key::SessionObject(session, SessionFile::record()),
            format!("{repository}/_uploads/{id}/record"),
        ),
    ] {
        assert_eq!(key.to_string(), expected);
        assert_eq!(Key::parse(&expected), Ok(key));
    }
}

#[test]
fn layout_of_garbage_collection() {
    let name = RepositoryName::parse("a/b-c__d.e").unwrap();
    let hex = "0123456789abcdef".repeat(4);
    let digest = Digest::parse(&format!("sha256:{hex}")).unwrap();
    let repository = "docker/registry/v2/repositories/a/b-c__d.e";
    for (key, expected) in [
        (
            Key::Moves { repository: name.clone(), id: 0x1f },
            format!("{repository}/_deletions/collection/{:032x}/links", 0x1f),
        ),
        (
            Key::MovedLayer(name.clone(), digest.clone()),
            format!("{repository}/_condemned/layers/sha256/{hex}/link"),
        ),
        (
            Key::MovedRevision(name.clone(), digest.clone()),
            format!("{repository}/_condemned/revisions/sha256/{hex}/link"),
        ),
        (
            Key::MovedTag(name.clone(), Tag::parse("_v1.0-X").unwrap()),
            format!("{repository}/_condemned/tags/_v1.0-X/link"),
        ),
        (
            Key::Pulled(name.clone(), Tag::parse("_v1.0-X").unwrap()),
            format!("{repository}/_pulled/_v1.0-X"),
        ),
        (Key::Record(Record::Pulls), ".roadstead/collect/pulls".to_owned()),
        (
            Key::References(name, digest.clone()),
            format!("{repository}/_references/sha256/{hex}/digests"),
        ),
        (
            Key::Tombstone(digest.clone()),
            format!("docker/registry/v2/blobs/sha256/01/{hex}/_condemned"),
        ),
        (Key::Need(digest.clone()), format!("docker/registry/v2/blobs/sha256/01/{hex}/_needed")),
        (
            Key::Quarantined(digest),
            format!("docker/registry/v2/blobs/sha256/01/{hex}/_quarantined"),
        ),
        (
            Key::Record(Record::Live(0x1f, Shard::of("a").unwrap(), 7)),
            format!(".roadstead/collect/live-{:032x}-a-7", 0x1f),
        ),
        (
            Key::Quota(
                QuotaName::parse("team").unwrap(),
                QuotaRecord::AddedBlob { blob: 0x1f, size: 7, id: 9 },
            ),
            format!(".roadstead/quotas/team/added-blob-{:032x}-7-{:032x}", 0x1f, 9),
        ),
        (
            Key::Quota(QuotaName::parse("team").unwrap(), QuotaRecord::Found(9, 0xa)),
            format!(".roadstead/quotas/team/found-{:032x}-0a", 9),
        ),
        (
            Key::Events(EventName { pulls: false, time: 0x2f, id: 9 }),
            format!(".roadstead/outbox/changes-{:016x}-{:032x}", 0x2f, 9),
        ),
    ] {
        assert_eq!(key.to_string(), expected);
        assert_eq!(Key::parse(&expected), Ok(key));
    }
}

#[test]
fn what_is_no_key() {
    let hex = "0123456789abcdef".repeat(4);
    for text in [
        "",
        "docker/registry/v2",
        "docker/registry/v2/",
        "docker/registry/v2/blobs",
        "docker/registry/v2/repositories/a/_manifests",
        "docker/registry/v2/repositories/_manifests/tags/a/current/link",
        "docker/registry/v2/repositories/A/_manifests/tags/a/current/link",
        "docker/registry/v2/repositories/a/_manifests/tags/-a/current/link",
        "docker/registry/v2/repositories/a/_uploads/1/data",
        ".roadstead/owner",
        ".roadstead/collect/",
        ".roadstead/collect/lease/",
        ".roadstead/collect/sighted-10",
        ".roadstead/collect/begun-1",
        ".roadstead/quotas/counting",
        ".roadstead/quotas/../counting",
        ".roadstead/quotas/.a/counting",
        ".roadstead/quotas/a/counting/",
        ".roadstead/quotas/a/count-1-1",
        ".roadstead/quotas/a/added-blob-1-1-1",
        &format!(".roadstead/quotas/{}/counting", "a".repeat(65)),
        &format!(".roadstead/collect/actions-{:032x}-01", 1),
        // In the wrong directory, or under another spelling.
        &format!("docker/registry/v2/blobs/sha256/02/{hex}/data"),
        &format!("docker/registry/v2/blobs/sha256/01/{hex}/data/"),
        &format!("docker/registry/v2/blobs/sha256/01/{hex}/_hint-"),
        &format!("docker/registry/v2/blobs/sha512/01/{hex}/data"),
        &format!("/docker/registry/v2/blobs/sha256/01/{hex}/data"),
    ] {
        assert_eq!(Key::parse(text), Err(InvalidKey), "{text}");
    }
}

/// No segment is longer than a file name may be, and hints of earlier versions,
/// which had one segment, are still read.
#[test]
fn hints_of_the_longest_names() {
    let digest = Digest::from_bytes(Algorithm::Sha256, &[7; 32]).unwrap();
    let directory = Key::blob_directory(&digest);
    for length in 1..=255 {
        for slash in [0, 1, 200, 247, 248, 249, 250, 253] {
            let mut name = "a".repeat(length);
            if (1..length.saturating_sub(1)).contains(&slash) {
                name.replace_range(slash..=slash, "/");
            }
            let name = RepositoryName::parse(&name).unwrap();
            let key = Key::Hint(digest.clone(), name.clone());
            let text = key.to_string();
            assert!(text.split('/').all(|segment| segment.len() <= 255), "{text}");
            assert_eq!(Key::parse(&text), Ok(key));
            let former = format!("_hint-{}", name.as_str().replace('/', "="));
            if former.len() <= 255 {
                assert_eq!(text, format!("{directory}/{former}"));
                assert_eq!(Key::hinted(&former, None), Some(name));
            } else {
                assert_eq!(Key::hinted(&former, None), None);
            }
        }
    }
    let (beginning, rest) = ("a".repeat(249), "a".repeat(6));
    for (first, second) in [
        (format!("_hint-{beginning}"), format!("_hint-{rest}/")),
        (format!("_hint-{beginning}"), "_hint-".to_owned()),
        (format!("_hint-{beginning}"), rest.clone()),
        (format!("_hint-{beginning}"), "data".to_owned()),
        (format!("_hint-{rest}"), format!("_hint-{rest}")),
    ] {
        assert_eq!(Key::parse(&format!("{directory}/{first}/{second}")), Err(InvalidKey));
    }
}

/// The variant decides, and not how the key is spelt.
#[test]
fn names_do_not_decide_what_is_durable() {
    let name = RepositoryName::parse("a").unwrap();
    for tag in ["_uploads", "_hint-a", "_layers"] {
        let key = Key::Tag(name.clone(), Tag::parse(tag).unwrap());
        assert!(key.is_durable(), "{key}");
        assert!(Key::parse(&key.to_string()).unwrap().is_durable(), "{key}");
    }
    let mut random = Random::new(3);
    for _ in 0..ROUNDS {
        let key = random.key();
        let lost = matches!(
            key,
            Key::Hint(..)
                | Key::Pulled(..)
                | Key::Deletion { .. }
                | Key::RepositoryDeletion { .. }
                | Key::Moves { .. }
                | Key::Session(_)
                | Key::SessionObject(..)
                | Key::Record(
                    Record::Lease
                        | Record::Pulls
                        | Record::Begun(_)
                        | Record::State(_)
                        | Record::Live(..)
                        | Record::Actions(..)
                )
        );
        let lost = lost
            || matches!(&key, Key::Quota(_, record) if !matches!(record, QuotaRecord::Count { .. }));
        assert_eq!(key.is_durable(), !lost, "{key}");
        if let Some(companion) = key.companion() {
            assert_eq!(companion.companion(), None);
        }
    }
}
