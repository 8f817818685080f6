//! `storage`, but for object stores, and what may be stored.

use super::kinds::{Below, Choice, Flag, Leaf, Number, Parsed, Span, Tree, boolean, duration};
use super::{Scope, Section, Setting, table};
use crate::cloud::Driver;
use crate::{
    DEFAULT_GC_GRACE, DEFAULT_GC_INTERVAL, DEFAULT_GC_KEEP, DEFAULT_GC_RATE, DEFAULT_PURGE_AGE,
    DEFAULT_PURGE_INTERVAL, LEAST_GC_GRACE, MAX_GC_RATE,
};
use std::path::PathBuf;
use std::time::Duration;

/// What is said of a driver that keeps nothing.
const MEMORY: &str = "content is always kept: in a directory, which \
                      {storage.filesystem.rootdirectory} names, or in an object store";

/// The longest of garbage collection's times: ten years, which do not overflow.
///
/// Limit: times of garbage collection, at most; test: `waits_of_collection_have_a_least_value`.
const GC_MOST: Duration = Duration::from_hours(10 * 365 * 24);

pub(crate) static STORAGE_FILESYSTEM: Section = Section::new("storage.filesystem");

pub(crate) static STORAGE_READONLY: Section = Section::not_empty(
    "storage.maintenance.readonly",
    "set {storage.maintenance.readonly.enabled}, or remove it",
);

table! {
    STORAGE_TABLE:

    STORAGE: Choice<Option<Driver>> = Setting::new(
        "storage",
        Scope::Both,
        Choice {
            default: None,
            words: &[
                ("filesystem", Some(Driver::Filesystem)),
                ("s3", Some(Driver::S3)),
                ("gcs", Some(Driver::Gcs)),
                ("azure", Some(Driver::Azure)),
            ],
            also: &[("s3aws", Some(Driver::S3))],
            refused: &[],
            boolean: None,
            blank: true,
        },
        "Where the data is. Settings of the other drivers are then left alone; without it, \
         settings of two drivers are an error.",
    )
    .by_default("the driver that has settings; else `filesystem`");

    STORAGE_FILESYSTEM_ROOTDIRECTORY: Parsed<Option<PathBuf>> = Setting::new(
        "storage.filesystem.rootdirectory",
        Scope::Host,
        Parsed { name: "directory", default: || None, written: None, parse: directory },
        "The directory that holds the data. Created if it is missing.",
    )
    .by_default(
        "`$XDG_DATA_HOME/roadstead`, which is `~/.local/share/roadstead`; `/var/lib/registry` \
         without a home, and under other hosts",
    )
    .help("directory for the data")
    .differs("the default is below the user's home");

    STORAGE_FILESYSTEM_JOURNAL: Flag = Setting::new(
        "storage.filesystem.journal",
        Scope::Host,
        Flag(false),
        "`true`: small pushes become durable by a journal, several at once. After a loss of power, \
         the next start puts back from it what other programs would find missing until then; \
         `roadstead recover` does the same alone. For one native process on ext4, XFS, Btrfs or \
         F2FS; elsewhere without effect.",
    )
    .ours();

    STORAGE_DELETE_ENABLED: Flag = Setting::new(
        "storage.delete.enabled",
        Scope::Component,
        Flag(false),
        "`true`: manifests, tags and blobs can be deleted. Otherwise DELETE is answered with 405 \
         `UNSUPPORTED`.",
    )
    .help("true: content can be deleted")
    .differs(
        "it also has garbage collected while the registry serves, unless \
         `storage.maintenance.gc.enabled` is `false`",
    );

    STORAGE_MAINTENANCE_READONLY_ENABLED: Flag = Setting::new(
        "storage.maintenance.readonly.enabled",
        Scope::Both,
        Flag(false),
        "`true`: nothing can be changed; requests that would are answered with 405 `UNSUPPORTED`. A \
         directory is then not written to at all, and may be on a read-only file system.",
    );

    STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED: Flag = Setting::new(
        "storage.maintenance.uploadpurging.enabled",
        Scope::Both,
        Flag(true),
        "Upload sessions that clients have abandoned are removed: from a directory by the native \
         host, at the start and then regularly; from a bucket, and from a directory that is mounted \
         into another host, by some of the uploads to it.",
    );

    STORAGE_MAINTENANCE_UPLOADPURGING_AGE: Span = Setting::new(
        "storage.maintenance.uploadpurging.age",
        Scope::Both,
        Span { default: DEFAULT_PURGE_AGE, least: Duration::from_mins(1), most: Duration::MAX },
        "How long nothing must have been added to an upload for it to be abandoned. In a bucket, and \
         in a directory without the native host, at least an hour; at least 26 hours where open \
         multipart uploads cannot be listed.",
    )
    .differs("it counts from the last chunk, and not from the start of the upload");

    STORAGE_MAINTENANCE_UPLOADPURGING_INTERVAL: Span = Setting::new(
        "storage.maintenance.uploadpurging.interval",
        Scope::Both,
        Span { default: DEFAULT_PURGE_INTERVAL, least: Duration::from_mins(1), most: Duration::MAX },
        "How long to wait from one purge to the next. In a bucket it counts for each repository; in a \
         directory without the native host, for a walk over all repositories.",
    )
    .differs("the first purge is at the start or, in a bucket, by an upload; not up to an hour later");

    STORAGE_MAINTENANCE_UPLOADPURGING_DRYRUN: Flag = Setting::new(
        "storage.maintenance.uploadpurging.dryrun",
        Scope::Both,
        Flag(false),
        "`true`: what would be removed is only logged, a line for each upload and a summary; in a \
         directory without the native host only a summary.",
    );

    STORAGE_MAINTENANCE_GC_ENABLED: Parsed<Option<bool>> = Setting::new(
        "storage.maintenance.gc.enabled",
        Scope::Both,
        Parsed { name: "boolean", default: || None, written: None, parse: maybe },
        "Content that no manifest refers to is collected while the registry serves. Under hosts \
         without a schedule of their own, this permits requests that collect. \
         [operations.md](operations.md#collecting-garbage) says how.",
    )
    .by_default("`true` if `storage.delete.enabled` is")
    .ours();

    STORAGE_MAINTENANCE_GC_INTERVAL: Span = Setting::new(
        "storage.maintenance.gc.interval",
        Scope::Both,
        Span { default: DEFAULT_GC_INTERVAL, least: Duration::from_mins(1), most: GC_MOST },
        "How long after the beginning of a run the next one begins.",
    )
    .ours();

    STORAGE_MAINTENANCE_GC_GRACE: Span = Setting::new(
        "storage.maintenance.gc.grace",
        Scope::Component,
        Span { default: DEFAULT_GC_GRACE, least: LEAST_GC_GRACE, most: GC_MOST },
        "How long a client may rely on an answer, as that a blob exists, before it pushes a \
         manifest that refers to it. Also the longest time that one push of a manifest or blob \
         may take, and how old content must be to be collected.",
    )
    .ours();

    STORAGE_MAINTENANCE_GC_KEEP: Span = Setting::new(
        "storage.maintenance.gc.keep",
        Scope::Component,
        Span { default: DEFAULT_GC_KEEP, least: LEAST_GC_GRACE, most: GC_MOST },
        "How long content that is to go is kept, in case that something needs it again; at least \
         twice `grace`.",
    )
    .ours();

    STORAGE_MAINTENANCE_GC_DELETEUNTAGGED: Parsed<Option<Duration>> = Setting::new(
        "storage.maintenance.gc.deleteuntagged",
        Scope::Component,
        Parsed { name: "duration, 1h to 87600h", default: || None, written: None, parse: untagged },
        "Manifests that were pushed longer ago than this, and than `grace`, are deleted if no tag \
         leads to them, no manifest that stays lists them, and their `subject` does not stay. A \
         pull by digest, or a push that names one, brings it back for as long as `keep` says.",
    )
    .by_default("they are kept")
    .ours();

    STORAGE_MAINTENANCE_GC_RATE: Number = Setting::new(
        "storage.maintenance.gc.rate",
        Scope::Component,
        Number {
            default: DEFAULT_GC_RATE,
            least: 1,
            most: MAX_GC_RATE,
            multiple_of: 1,
            unit: Some("operations"),
        },
        "How many operations of the storage a run takes in a second: requests to a bucket, or \
         reads and writes of files. 64 KiB that are read or written count as one more.",
    )
    .ours();

    STORAGE_REDIRECT_DISABLE: Flag = Setting::new(
        "storage.redirect.disable",
        Scope::Component,
        Flag(false),
        "`true`: blobs are served by the registry. Otherwise clients are redirected to the object \
         store, if there is one, by presigned URLs.",
    );

    VALIDATION_MANIFESTS_SPARSE: Flag = Setting::new(
        "validation.manifests.sparse",
        Scope::Component,
        Flag(false),
        "`true`: an image manifest may name blobs that the repository does not hold. Otherwise it \
         is refused with `MANIFEST_BLOB_UNKNOWN`. An index may always name missing manifests.",
    )
    .ours();

    CACHE: Below = Setting::ignored(
        "storage.cache",
        "caches need no settings",
        Below(&["blobdescriptor", "blobdescriptorsize", "layerinfo"]),
    );
    MAXTHREADS: Leaf = Setting::ignored(
        "storage.filesystem.maxthreads",
        "threads need no settings",
        Leaf,
    );
    CONCURRENCYLIMIT: Leaf = Setting::ignored(
        "storage.tag.concurrencylimit",
        "tags are looked up without a setting",
        Leaf,
    );
    INMEMORY: Tree = Setting::refused("storage.inmemory", MEMORY, Tree(&[])).even_empty();
    SWIFT: Tree = Setting::refused(
        "storage.swift",
        "there is no such driver; use the store's S3 API, if it has one, with {storage.s3.regionendpoint}",
        Tree(&[]),
    )
    .even_empty();
    OSS: Tree = Setting::refused(
        "storage.oss",
        "there is no such driver; use the store's S3 API, with {storage.s3.regionendpoint}, and \
         false for {storage.s3.forcepathstyle}",
        Tree(&[]),
    )
    .even_empty();
}

fn directory(value: &str) -> Result<Option<PathBuf>, &'static str> {
    (!value.is_empty()).then(|| Some(PathBuf::from(value))).ok_or("must name a directory")
}

fn untagged(value: &str) -> Result<Option<Duration>, &'static str> {
    match (value, duration(value)) {
        ("", _) => Ok(None),
        (_, Some(age)) if (LEAST_GC_GRACE..=GC_MOST).contains(&age) => Ok(Some(age)),
        _ => Err("must be a duration from 1h to 87600h, such as 168h"),
    }
}

fn maybe(value: &str) -> Result<Option<bool>, &'static str> {
    match value {
        "" => Ok(None),
        value => boolean(value).map(Some).ok_or("must be true or false"),
    }
}
