//! `docs/errors.md` has every message that the protocol answers with, with its code and status,
//! and none that it does not answer with.

use http::Method;
use roadstead_oci::{
    Algorithm, Digest, InvalidContentRange, InvalidDigest, InvalidManifest, InvalidName,
    InvalidPageSize, InvalidTag, InvalidUploadId, MediaType, Reference, RepositoryName, Tag,
    UploadId,
};
use roadstead_registry::{Error, ImmutableTag, OverQuota, Reason, Resource};
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../../docs/errors.md");

/// The part of the document that is compared.
const SECTION: &str = "## Answers of the registry\n";

/// What stands for names and numbers in it.
const ANY: char = '…';

/// The enumerations of which [`samples`] has every variant, what is before such a value in the
/// debug output of an [`Error`], and their sources.
const ENUMERATIONS: [(&str, &str, &str); 9] = [
    ("Error", "", include_str!("../src/error.rs")),
    ("Reason", "reason: ", include_str!("../src/challenge.rs")),
    ("InvalidContentRange", "ContentRange(", include_str!("../../oci/src/upload_range.rs")),
    ("InvalidDigest", "Digest(", include_str!("../../oci/src/digest.rs")),
    ("InvalidManifest", "Manifest(", include_str!("../../oci/src/manifest_error.rs")),
    ("InvalidName", "Name(", include_str!("../../oci/src/name.rs")),
    ("InvalidPageSize", "PageSize(", include_str!("../../oci/src/page.rs")),
    ("InvalidTag", "Tag(", include_str!("../../oci/src/reference.rs")),
    ("InvalidUploadId", "UploadId(", include_str!("../../oci/src/upload_id.rs")),
];

#[test]
fn each_message_is_explained() {
    let rows = rows();
    let mut used = BTreeSet::new();
    for error in samples() {
        let message = error.to_string();
        let (status, code) = error.status_and_code();
        let row = rows.iter().find(|row| fits(row.message, &message));
        let row = row.unwrap_or_else(|| panic!("docs/errors.md does not have: {message}"));
        assert_eq!(row.code, format!("`{code}` {}", status.as_u16()), "{message}");
        used.insert(row.message);
    }
    let unused: Vec<_> = rows.iter().filter(|row| !used.contains(row.message)).collect();
    assert!(unused.is_empty(), "no error has these messages: {unused:?}");
}

#[test]
fn samples_are_of_every_variant() {
    let shown: Vec<_> = samples().iter().map(|error| format!("{error:?}")).collect();
    for (name, before, source) in ENUMERATIONS {
        let variants = variants(name, source);
        assert!(variants.len() > 1, "{name}: {variants:?}");
        for variant in variants {
            let is_of = |text: &String| {
                text.split_once(before).is_some_and(|(_, rest)| name_at(rest) == variant)
            };
            assert!(shown.iter().any(is_of), "no sample is of {name}::{variant}");
        }
    }
}

#[derive(Debug)]
struct Row {
    message: &'static str,
    code: &'static str,
}

/// The rows of the first table of the section.
fn rows() -> Vec<Row> {
    let (_, section) = DOCUMENT.split_once(SECTION).unwrap();
    let table = section.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    let table = table.take_while(|line| line.starts_with('|'));
    let row = |line: &'static str| {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let message = cells.next().unwrap().trim_matches('`');
        Row { message, code: cells.next().unwrap() }
    };
    table.map(row).collect()
}

/// Whether a message is the documented one, all of it.
fn fits(documented: &str, message: &str) -> bool {
    let Some((begin, rest)) = documented.split_once(ANY) else { return documented == message };
    let Some(message) = message.strip_prefix(begin) else { return false };
    let mut places = message.char_indices().map(|(place, _)| place).chain([message.len()]);
    places.any(|place| fits(rest, &message[place..]))
}

/// The variants of an enumeration, as its source declares them.
fn variants(name: &str, source: &str) -> Vec<String> {
    let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let declared = body.lines().filter_map(|line| line.strip_prefix("    "));
    let declared =
        declared.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    declared.map(|line| name_at(line).to_owned()).collect()
}

/// The name at the beginning of a text.
fn name_at(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default()
}

/// An error of each kind.
fn samples() -> Vec<Error> {
    let digest = || Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap();
    let text = || "something".to_owned();
    let name = || RepositoryName::parse("team/app").unwrap();
    let mut samples = vec![
        Error::UnknownEndpoint,
        Error::DeleteDisabled,
        Error::CollectionDisabled,
        Error::Collecting,
        Error::Scrubbing,
        Error::ScrubRequest(text()),
        Error::CollectionRequest(text()),
        Error::ReadOnly,
        Error::Denied(None),
        Error::CrossSite,
        Error::TooManyAttempts { seconds: 7 },
        Error::Busy,
        Error::NoTokens,
        Error::TokenRequest("something"),
        Error::TooManyTags { limit: 7 },
        Error::Parameter { name: "sort", expected: "name, pushed or size" },
        Error::MethodNotAllowed(&[Method::GET]),
        Error::NameUnknown(name()),
        Error::DigestMissing,
        Error::DigestMismatch { expected: digest(), actual: None },
        Error::DigestMismatch { expected: digest(), actual: Some(digest()) },
        Error::BlobUnknown(digest()),
        Error::RangeNotSatisfiable { size: 7 },
        Error::UploadUnknown(UploadId::from_random([7; 16])),
        Error::ChunkOrder { offset: 7 },
        Error::UploadBusy,
        Error::BodyLength { announced: 7 },
        Error::BodyAborted,
        Error::BodyTooSlow,
        Error::ManifestUnknown(Reference::parse("latest").unwrap()),
        Error::ManifestTooLarge,
        Error::ReferrerTooLarge,
        Error::ContentType(text()),
        Error::ManifestBlobUnknown(vec![digest()]),
        Error::NotReady(text()),
        Error::Unavailable(text()),
        Error::StorageFull(text()),
        Error::StorageReadOnly(text()),
        Error::Internal(text()),
    ];
    let reasons = [
        Reason::Missing,
        Reason::Malformed,
        Reason::Credentials,
        Reason::Token(text()),
        Reason::Scope,
    ];
    samples.extend(reasons.map(|reason| Error::Unauthorized {
        challenge: text(),
        reason,
        scope: None,
    }));
    let (tag, rule) = (Tag::parse("1.2").unwrap(), "releases".to_owned());
    for (digest, deletion) in
        [(Some(digest()), false), (None, false), (Some(digest()), true), (None, true)]
    {
        let (tag, rule) = (tag.clone(), rule.clone());
        samples.push(Error::TagImmutable(Box::new(ImmutableTag { tag, digest, rule, deletion })));
    }
    samples.extend([Error::Time("since"), Error::HistoryTooLong { limit: 7 }]);
    samples.extend(quotas());
    samples.extend(identifiers());
    samples.extend(manifests().map(Error::Manifest));
    samples
}

/// Pushes that quotas refuse.
fn quotas() -> [Error; 3] {
    [(Resource::Bytes, Some(7)), (Resource::Bytes, None), (Resource::Tags, Some(1))].map(
        |(resource, needed)| {
            let rule = "team".to_owned();
            Error::OverQuota(Box::new(OverQuota { rule, resource, used: 9, limit: 10, needed }))
        },
    )
}

/// Names, tags, digests, identifiers of uploads and numbers that are malformed.
fn identifiers() -> Vec<Error> {
    let (character, position, length) = ('A', 7, 300);
    let names = [
        InvalidName::Empty,
        InvalidName::TooLong { length },
        InvalidName::Character { character, position },
        InvalidName::EmptySegment { position },
        InvalidName::SegmentEdge { character, position },
        InvalidName::Separators { position },
    ];
    let tags = [
        InvalidTag::Empty,
        InvalidTag::TooLong { length },
        InvalidTag::Character { character, position },
        InvalidTag::Character { character, position: 0 },
    ];
    let digests = [
        InvalidDigest::Malformed,
        InvalidDigest::UnsupportedAlgorithm { name: "md5".to_owned() },
        InvalidDigest::WrongLength { algorithm: Algorithm::Sha256, length },
        InvalidDigest::NotLowerHex,
    ];
    let uploads =
        [InvalidUploadId::WrongLength { length }, InvalidUploadId::Character { position }];
    let ranges = [
        InvalidContentRange::Malformed,
        InvalidContentRange::Reversed,
        InvalidContentRange::BeyondTotal,
        InvalidContentRange::TooLarge,
    ];
    let sizes = [InvalidPageSize::Negative, InvalidPageSize::NotANumber];
    let mut errors = Vec::from(names.map(Error::Name));
    errors.extend(tags.map(Error::Tag));
    errors.extend(digests.map(Error::Digest));
    errors.extend(uploads.map(Error::UploadId));
    errors.extend(ranges.map(Error::ContentRange));
    errors.extend(sizes.map(Error::PageSize));
    errors
}

/// Manifests that are refused.
fn manifests() -> [InvalidManifest; 13] {
    let media_type = || MediaType::parse("application/vnd.oci.image.manifest.v1+json").unwrap();
    let message = "key must be a string".to_owned();
    [
        InvalidManifest::TooLarge { size: 7 },
        InvalidManifest::Json { line: 1, column: 7, message },
        InvalidManifest::KeyCase { key: "MediaType".to_owned() },
        InvalidManifest::MediaTypeMismatch { header: media_type(), field: media_type() },
        InvalidManifest::UnknownMediaType,
        InvalidManifest::Ambiguous,
        InvalidManifest::UnexpectedField { media_type: media_type(), field: "manifests" },
        InvalidManifest::MissingField { media_type: media_type(), field: "config" },
        InvalidManifest::Schema1,
        InvalidManifest::SchemaVersion { found: 3 },
        InvalidManifest::TooManyDescriptors { count: 7 },
        InvalidManifest::TooManyAnnotations { count: 7 },
        InvalidManifest::NotJson { media_type: media_type() },
    ]
}
