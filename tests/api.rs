//! The protocol, as tables of requests, against every form of the registry:
//! natively, over a directory and over a bucket; as the real component in the
//! real host; and as the same bytes under `wasmtime serve`.
//!
//! The tables are in `roadstead_kit::requests`.

use roadstead_kit::requests::filled::{self, Filled};
use roadstead_kit::requests::{self, Table};
use roadstead_tests::{Registry, Target, everywhere, run};
use std::path::Path;

/// A test for each table of this name, over a fresh registry of each form.
macro_rules! tables {
    ($($name:ident),* $(,)?) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];

        $(
            #[tokio::test]
            async fn $name() {
                let Table { name, settings, steps } = table(stringify!($name));
                everywhere(name, settings, || steps.clone()).await;
            }
        )*
    };
}

tables![
    base_and_unknown_endpoints,
    invalid_requests,
    tokens_are_not_issued,
    blob_in_one_post,
    ranges_of_a_blob,
    upload_as_docker_pushes,
    upload_in_the_closing_put,
    upload_in_chunks,
    upload_with_a_wrong_digest_leaves_nothing,
    upload_cancelled_or_of_another_repository,
    mounts,
    mounts_without_a_source,
    repositories_with_the_longest_names,
    manifest_of_an_image,
    media_types_are_kept_and_checked,
    content_is_inert_in_browsers,
    manifest_of_the_largest_size_and_one_byte_more,
    tags_by_parameter_and_sha512,
    conditional_requests,
    pages_of_tags_and_of_the_catalog,
    text_that_headers_cannot_hold,
    referrers,
    deletes,
    collection_is_off,
    collection_without_permission,
    collection,
    scrubbing_is_off,
    scrubbing,
    quarantine_is_off,
    scrubbing_what_is_read_only,
    a_repository,
    a_repository_that_holds_little,
    deletes_are_off,
    read_only,
    warning,
    sparse_images,
    immutable_tags,
    immutable_tags_of_several,
    quotas_of_bytes,
    quotas_of_tags,
    history_of_a_tag,
    extensions,
    the_page,
    no_page,
    other_sites,
    the_registry_itself,
    the_registry_itself_to_others,
    levels_of_repositories,
    tags_in_orders,
    images,
    previews_of_deletions,
    maintenance,
    maintenance_is_off,
];

fn table(name: &str) -> Table {
    requests::all().into_iter().find(|table| table.name == name).unwrap()
}

#[test]
fn every_table_has_a_test() {
    let all: Vec<_> = requests::all().into_iter().map(|table| table.name).collect();
    assert_eq!(all, TESTED);
}

/// Writes the files of another registry below `root`.
fn fill(root: &Path, files: &[(String, String)]) {
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[tokio::test]
async fn referrers_that_another_registry_pushed() {
    let Filled { files, steps } = filled::referrers_of_another_registry();
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), &files);
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    // They are gathered for the first of these requests.
    run(&Target::Server(host.address.clone()), &steps).await;
    run(&Target::Server(host.address.clone()), &steps).await;
}

#[tokio::test]
async fn a_registry_that_distribution_filled() {
    let Filled { files, steps } = filled::distribution();
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), &files);
    run(&Target::native(root.path(), &[]).unwrap(), &steps).await;
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    run(&Target::Server(host.address.clone()), &steps).await;
}
