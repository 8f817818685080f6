//! Real object stores, with the clients that the component uses: object_store's
//! own suite, and the behaviour of each store that the registry relies on.
//!
//! Garage is a cluster of three nodes, Azurite is Microsoft's emulator of Azure
//! Blob Storage, and fake-gcs-server one of Google Cloud Storage, for which there
//! is also a stand-in. A store that is not installed is skipped, with a message.
//!
//! Stand-ins for what gives credentials on a platform have stores of their own
//! (`platform`).

mod azurite;
mod commands;
mod contract;
mod fake_gcs;
mod garage;
mod gcs;
mod operators;
mod outage;
mod platform;
mod registry;
mod tls;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use object_store::client::{HttpRequest, HttpRequestBody, HttpService as _};
use object_store::integration;
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::signer::SignedUrlOptions;
use roadstead_buckets::Bucket;
use roadstead_tests::NativeHttp;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// How long a signed URL is valid.
const EXPIRES: Duration = Duration::from_mins(1);

/// A part of object_store's suite, which panics when it fails.
type Suite = (&'static str, fn(Arc<dyn Bucket>) -> BoxFuture<'static, ()>);

macro_rules! suites {
    ($($name:literal: |$bucket:ident| $run:expr;)*) => {
        &[$(($name, |$bucket| async move { $run.await; }.boxed())),*]
    };
}

/// The parts of the suite that need no special settings.
const SUITES: &[Suite] = suites! {
    "put_get_delete_list": |b| integration::put_get_delete_list(&*b);
    "list_with_offset_exclusivity": |b| integration::list_with_offset_exclusivity(&*b);
    "get_opts": |b| integration::get_opts(&*b);
    "list_uses_directories_correctly": |b| integration::list_uses_directories_correctly(&*b);
    "list_with_delimiter": |b| integration::list_with_delimiter(&*b);
    "rename_and_copy": |b| integration::rename_and_copy(&*b);
    "copy_rename_nonexistent_object": |b| integration::copy_rename_nonexistent_object(&*b);
    "copy_if_not_exists": |b| integration::copy_if_not_exists(&*b);
    "stream_get": |b| integration::stream_get(&*b);
    "put_get_attributes": |b| integration::put_get_attributes(&*b);
    "put_opts": |b| integration::put_opts(&*b, true);
    "multipart": |b| integration::multipart(&*b, &*b);
    "multipart_with_opts": |b| integration::multipart_with_opts(&*b, &*b);
    "multipart_put_part_out_of_order": |b| integration::multipart_put_part_out_of_order(&*b, &*b);
    "multipart_out_of_order": |b| integration::multipart_out_of_order(&*b);
    "list_paginated": |b| integration::list_paginated(&*b, &*b);
};

/// Runs all parts, each in its own bucket, and returns those that failed.
/// `last_writer_wins` applies to concurrent multipart uploads of one object.
async fn failures(
    last_writer_wins: bool,
    make: impl AsyncFn(&str) -> Arc<dyn Bucket>,
) -> Vec<(&'static str, String)> {
    let mut failed = Vec::new();
    for (number, (name, suite)) in SUITES.iter().enumerate() {
        let bucket = make(&format!("suite-{number}")).await;
        if let Some(reason) = outcome(suite(bucket)).await {
            failed.push((*name, reason));
        }
    }
    let bucket = make("suite-race").await;
    let race = integration::multipart_race_condition(&*bucket, last_writer_wins);
    failed.extend(outcome(race).await.map(|reason| ("multipart_race_condition", reason)));
    failed
}

/// The message of a panic.
async fn outcome(suite: impl Future<Output = ()>) -> Option<String> {
    let panic = AssertUnwindSafe(suite).catch_unwind().await.err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or(panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
}

/// Compares the failures with the known ones and their messages.
fn expect(failed: &[(&'static str, String)], known: &[(&'static str, &str)]) {
    let names = |(name, _): &(&'static str, _)| *name;
    let found: Vec<_> = failed.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, known.iter().map(names).collect::<Vec<_>>(), "{failed:#?}");
    for ((name, reason), (_, part)) in failed.iter().zip(known) {
        assert!(reason.contains(part), "{name}: {reason}");
    }
}

/// Sends a request to a signed URL, like a client that was redirected to the
/// store.
async fn send(
    bucket: &dyn Bucket,
    method: Method,
    key: &str,
    query: &[(&str, &str)],
    signed: &[(&'static str, &str)],
    unsigned: &[(&'static str, &str)],
    body: &str,
) -> (StatusCode, HeaderMap, String) {
    let mut options = SignedUrlOptions::default().with_query(query.iter().copied());
    for (name, value) in signed {
        options = options.with_signed_header(name.parse().unwrap(), value.parse().unwrap());
    }
    let url = bucket.signed_url_opts(method.clone(), &Path::from(key), EXPIRES, &options).await;
    let mut request = HttpRequest::new(HttpRequestBody::from(body.to_owned()));
    *request.method_mut() = method;
    *request.uri_mut() = url.unwrap().as_str().parse().unwrap();
    for (name, value) in signed.iter().chain(unsigned) {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let (parts, body) = NativeHttp::new().call(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8_lossy(&body).into_owned())
}

/// At most `limit` objects and directories directly below `prefix` and after
/// `offset`, and whether there are more.
async fn list(
    bucket: &dyn Bucket,
    prefix: &str,
    offset: &str,
    limit: usize,
) -> (Vec<String>, bool) {
    let options = PaginatedListOptions {
        offset: (!offset.is_empty()).then(|| offset.to_owned()),
        delimiter: Some("/".into()),
        max_keys: Some(limit),
        ..PaginatedListOptions::default()
    };
    let page = bucket.list_paginated(Some(prefix), options).await.unwrap();
    let directories = page.result.common_prefixes.iter().map(|prefix| format!("{prefix}/"));
    let objects = page.result.objects.iter().map(|object| object.location.to_string());
    let mut names: Vec<_> = directories.chain(objects).collect();
    names.sort_unstable();
    (names, page.page_token.is_some())
}
