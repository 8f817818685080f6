//! Sources, some of them hostile.

use super::{Source, is_of};
use crate::client::Connection;
use clap::Parser;
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::time::Duration;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

fn name() -> RepositoryName {
    RepositoryName::parse("team/app").unwrap()
}

fn open(path: &Path) -> Result<Source, String> {
    let connection = Cli::parse_from(["rescue"]).connection;
    Source::open(path.to_str().unwrap(), &connection, Duration::from_secs(1))
}

/// The bytes of a blob of a source, if it has it.
async fn blob(source: &Source, digest: &Digest) -> Result<Option<Vec<u8>>, String> {
    let Some(blob) = source.blob(&name(), digest).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < blob.size {
        let offset = bytes.len() as u64;
        let length = 3.min(blob.size - offset);
        let length = usize::try_from(length).unwrap();
        bytes.extend(source.read(&blob, offset, length).await?);
    }
    Ok(Some(bytes))
}

async fn manifest(source: &Source, digest: &Digest) -> Result<Option<Vec<u8>>, String> {
    Ok(source.manifest(&name(), digest).await?.map(|found| found.bytes.to_vec()))
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// An entry of an archive, as ustar has it.
fn entry(name: &str, kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    // A long name has a field for its beginning.
    let (prefix, name) = match name.split_at_checked(18) {
        Some((prefix, rest)) if name.len() > 100 => (prefix, &rest[1..]),
        _ => ("", name),
    };
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[345..345 + prefix.len()].copy_from_slice(prefix.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
    header[156] = kind;
    header[257..263].copy_from_slice(b"ustar\0");
    seal(&mut header);
    header.extend(bytes);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

fn seal(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn in_layout(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", digest(bytes).encoded())
}

fn in_registry(bytes: &[u8]) -> String {
    let encoded = digest(bytes).encoded().to_owned();
    format!("docker/registry/v2/blobs/sha256/{}/{encoded}/data", &encoded[..2])
}

fn archive(root: &Path, entries: &[Vec<u8>]) -> Result<Source, String> {
    let path = root.join("a.tar");
    std::fs::write(&path, entries.concat()).unwrap();
    open(&path)
}

#[tokio::test]
async fn directories_have_blobs_by_their_digests() {
    let root = tempfile::tempdir().unwrap();
    let (backup, layout) = (root.path().join("backup"), root.path().join("layout"));
    write(&backup.join(in_registry(b"a layer")), b"a layer");
    write(&layout.join("oci-layout"), b"{}");
    write(&layout.join(in_layout(b"a layer")), b"a layer");
    for place in [&backup, &backup.join("docker/registry/v2"), &layout] {
        if place.ends_with("v2") {
            std::fs::create_dir_all(place.join("repositories")).unwrap();
        }
        let source = open(place).unwrap();
        assert_eq!(blob(&source, &digest(b"a layer")).await, Ok(Some(b"a layer".to_vec())));
        assert_eq!(manifest(&source, &digest(b"a layer")).await, Ok(Some(b"a layer".to_vec())));
        assert_eq!(blob(&source, &digest(b"another")).await, Ok(None));
        assert_eq!(manifest(&source, &digest(b"another")).await, Ok(None));
    }
    // The type that a manifest was pushed with.
    let kind = format!(
        "docker/registry/v2/repositories/team/app/_manifests/revisions/sha256/{}/media-type",
        digest(b"a layer").encoded()
    );
    write(&backup.join(kind), b"application/vnd.example+json");
    let source = open(&backup).unwrap();
    let found = source.manifest(&name(), &digest(b"a layer")).await.unwrap().unwrap();
    assert_eq!(found.media_type.unwrap().as_str(), "application/vnd.example+json");
}

#[tokio::test]
async fn what_is_no_source_says_what_would_be() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    for (bytes, said) in [
        (&b"short"[..], "no tar archive"),
        (&[7; 2048], "no tar archive"),
        (b"", "no tar archive"),
        (&[0x1f, 0x8b, 8, 0], "gunzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd, 0], "unzstd"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let problem = open(&file).err().unwrap();
        assert!(problem.contains(said), "{problem}");
    }
    let problem = open(root.path()).err().unwrap();
    assert!(problem.contains("docker/registry/v2"), "{problem}");
    let problem = open(&root.path().join("missing")).err().unwrap();
    assert!(problem.contains("nor a directory or an archive"), "{problem}");
    let connection = Cli::parse_from(["rescue"]).connection;
    let bad = Source::open("https://a.example/Bad", &connection, Duration::from_secs(1));
    assert!(bad.err().unwrap().contains("no prefix"));
}

/// Whoever made the source may have put anything into it.
#[tokio::test]
async fn hostile_directories_give_nothing() {
    let root = tempfile::tempdir().unwrap();
    let secret = root.path().join("secret");
    std::fs::write(&secret, b"secret").unwrap();
    let layout = root.path().join("layout");
    write(&layout.join("oci-layout"), b"{}");
    std::fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    // Other bytes than the digest's: a manifest is refused here, a blob by the registry.
    write(&layout.join(in_layout(b"manifest")), b"forged");
    // A link, a directory, and a device that never ends.
    std::os::unix::fs::symlink(&secret, layout.join(in_layout(b"secret"))).unwrap();
    std::os::unix::fs::symlink("/dev/zero", layout.join(in_layout(b"zero"))).unwrap();
    std::fs::create_dir(layout.join(in_layout(b"directory"))).unwrap();
    // Too large for a manifest, and not read for that.
    let large = std::fs::File::create(layout.join(in_layout(b"large"))).unwrap();
    large.set_len(1 << 40).unwrap();
    let source = open(&layout).unwrap();
    for (of, said) in [
        (&b"manifest"[..], "do not have this digest"),
        (b"secret", "not a regular file"),
        (b"zero", "not a regular file"),
        (b"directory", "not a regular file"),
        (b"large", "too large"),
    ] {
        let problem = manifest(&source, &digest(of)).await.unwrap_err();
        assert!(problem.contains(said), "{problem}");
    }
    assert!(source.blob(&name(), &digest(b"secret")).await.is_err());
    // A file that became shorter meanwhile.
    let path = layout.join(in_layout(b"short"));
    std::fs::write(&path, b"short").unwrap();
    let found = source.blob(&name(), &digest(b"short")).await.unwrap().unwrap();
    std::fs::write(&path, b"s").unwrap();
    assert!(source.read(&found, 0, 5).await.is_err());
}

#[tokio::test]
async fn archives_of_layouts_and_directories() {
    let root = tempfile::tempdir().unwrap();
    let end = vec![0; 1024];
    let long = format!("{}/{}", "d".repeat(120), in_layout(b"long"));
    let pax = format!("path={}\n", in_layout(b"pax"));
    // Its length counts itself: two digits and a space.
    let pax = format!("{} {pax}", pax.len() + 3);
    let mut binary = entry(&in_layout(b"binary"), b'0', b"binary");
    binary[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6]);
    seal(&mut binary);
    let entries = [
        entry("oci-layout", b'0', b"{}"),
        entry("blobs/", b'5', b""),
        entry(&in_layout(b"a layer"), b'0', b"a layer"),
        entry(&format!("./{}", in_layout(b"dot")), 0, b"dot"),
        entry("././@LongLink", b'L', format!("{long}\0").as_bytes()),
        entry("cut", b'0', b"long"),
        entry("PaxHeaders/x", b'x', pax.as_bytes()),
        entry("cut", b'0', b"pax"),
        binary,
        entry(&in_registry(b"a backup"), b'0', b"a backup"),
        entry(&in_layout(b""), b'0', b""),
        end,
    ];
    let source = archive(root.path(), &entries).unwrap();
    assert_eq!(source.note(), None);
    for bytes in [&b"a layer"[..], b"dot", b"long", b"pax", b"binary", b"a backup", b""] {
        let found = blob(&source, &digest(bytes)).await;
        assert_eq!(found, Ok(Some(bytes.to_vec())), "{:?}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(blob(&source, &digest(b"{}")).await, Ok(None));
}

/// As docker save wrote before version 25, by names that say nothing.
#[tokio::test]
async fn older_archives_are_hashed() {
    let root = tempfile::tempdir().unwrap();
    let large = vec![7; 3 * 1024 * 1024 + 5];
    let entries = [
        entry("abc/layer.tar", b'0', &large),
        entry("manifest.json", b'0', b"[]"),
        entry("link", b'2', b""),
        vec![0; 1024],
    ];
    let source = archive(root.path(), &entries).unwrap();
    let found = source.blob(&name(), &digest(&large)).await.unwrap().unwrap();
    assert!(is_of(&digest(&large), &source.read(&found, 0, large.len()).await.unwrap()));
    assert_eq!(blob(&source, &digest(b"[]")).await, Ok(Some(b"[]".to_vec())));
}

#[tokio::test]
async fn hostile_archives_give_nothing() {
    let root = tempfile::tempdir().unwrap();
    let up = format!("blobs/sha256/../../../{}", digest(b"up").encoded());
    let entries = [
        entry(&in_layout(b"a layer"), b'0', b"a layer"),
        entry("blobs/sha256/../../etc/passwd", b'0', b"x"),
        entry(&up, b'0', b"up"),
        entry(&in_layout(b"symlink"), b'2', b""),
        entry(&in_layout(b"hard link"), b'1', b""),
        entry(&in_layout(b"device"), b'3', b""),
        entry(&in_layout(b"manifest"), b'0', b"forged"),
        vec![0; 1024],
    ];
    let source = archive(root.path(), &entries).unwrap();
    for bytes in [&b"up"[..], b"symlink", b"hard link", b"device"] {
        assert_eq!(blob(&source, &digest(bytes)).await, Ok(None));
    }
    let problem = manifest(&source, &digest(b"manifest")).await.unwrap_err();
    assert!(problem.contains("do not have this digest"), "{problem}");
    assert_eq!(blob(&source, &digest(b"a layer")).await, Ok(Some(b"a layer".to_vec())));
}

#[tokio::test]
async fn damaged_archives_end_where_the_damage_is() {
    let root = tempfile::tempdir().unwrap();
    let first = entry(&in_layout(b"first"), b'0', b"first");
    let last = entry(&in_layout(b"last"), b'0', &[7; 2000]);
    let mut wrong = last.clone();
    wrong[0] ^= 1;
    let mut endless = entry(&in_layout(b"last"), b'0', b"last");
    endless[124..136].copy_from_slice(&[0xff; 12]);
    seal(&mut endless);
    let mut vast = entry(&in_layout(b"last"), b'0', b"last");
    vast[124..136]
        .copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    seal(&mut vast);
    let name = entry("././@LongLink", b'L', &vec![b'x'; 100_000]);
    for rest in [last[..1000].to_vec(), last[..100].to_vec(), wrong, endless, vast, name] {
        let source = archive(root.path(), &[first.clone(), rest]).unwrap();
        let note = source.note().unwrap();
        assert!(note.contains("from byte 1024 on"), "{note}");
        assert_eq!(blob(&source, &digest(b"first")).await, Ok(Some(b"first".to_vec())));
        assert_eq!(blob(&source, &digest(b"last")).await, Ok(None));
    }
    // Without the zeros at the end, and without padding.
    let whole = entry(&in_layout(b"first"), b'0', b"first");
    let source = archive(root.path(), &[whole[..517].to_vec()]).unwrap();
    assert_eq!(source.note(), None);
    assert_eq!(blob(&source, &digest(b"first")).await, Ok(Some(b"first".to_vec())));
}
