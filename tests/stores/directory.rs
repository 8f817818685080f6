//! A directory, whose adapter is not one of object_store's clients.

use crate::{expect, outcome};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use object_store::{ObjectStore, integration};
use roadstead_component::native::NativeDirectory;
use roadstead_component::store::{LocalStorage, Storage as _};
use roadstead_directory::Directory;

/// A part of object_store's suite.
type Suite = (&'static str, for<'a> fn(&'a dyn ObjectStore) -> BoxFuture<'a, ()>);

/// The parts of the suite that need only the trait that a directory implements.
const SUITES: &[Suite] = &[
    ("put_get_delete_list", |o| integration::put_get_delete_list(o).boxed()),
    ("list_with_offset_exclusivity", |o| integration::list_with_offset_exclusivity(o).boxed()),
    ("get_opts", |o| integration::get_opts(o).boxed()),
    ("list_uses_directories_correctly", |o| {
        integration::list_uses_directories_correctly(o).boxed()
    }),
    ("list_with_delimiter", |o| integration::list_with_delimiter(o).boxed()),
    ("rename_and_copy", |o| integration::rename_and_copy(o).boxed()),
    ("copy_rename_nonexistent_object", |o| integration::copy_rename_nonexistent_object(o).boxed()),
    ("copy_if_not_exists", |o| integration::copy_if_not_exists(o).boxed()),
    ("stream_get", |o| integration::stream_get(o).boxed()),
    ("put_get_attributes", |o| integration::put_get_attributes(o).boxed()),
    ("put_opts", |o| integration::put_opts(o, false).boxed()),
];

#[tokio::test]
async fn object_stores_suite() {
    let mut failed = Vec::new();
    for (name, suite) in SUITES {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::new(NativeDirectory(Directory::open(root.path()).unwrap()));
        failed.extend(outcome(suite(storage.objects())).await.map(|reason| (*name, reason)));
    }
    // Not used by the registry over a directory, and not possible in
    // distribution's files.
    expect(
        &failed,
        &[
            ("get_opts", "on a `None` value"),
            ("stream_get", r#"NotImplemented { operation: "multipart upload""#),
            ("put_get_attributes", "left: Attributes({})"),
        ],
    );
}
