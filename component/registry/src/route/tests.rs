//! Request lines and routes.

use super::{
    BlobAction, MOST_REPOSITORIES, MOST_TAGS, ManifestAction, PageRequest, Route, StartUpload,
    TagOrder, UploadAction, VIEW_PAGE, View,
};
use crate::Error;
use http::{Method, Uri};
use roadstead_oci::{Digest, ErrorCode, Reference, RepositoryName};
use roadstead_storage::UploadSession;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ID: &str = "00000000-0000-4000-8000-000000000000";

fn parse(method: &Method, uri: &str) -> Result<Route, Error> {
    Route::parse(method, &uri.parse::<Uri>().unwrap())
}

fn name(name: &str) -> RepositoryName {
    RepositoryName::parse(name).unwrap()
}

#[test]
fn paths_are_matched_from_the_right() {
    let digest = Digest::parse(&format!("sha256:{HEX}")).unwrap();
    let tag = || Reference::parse("t").unwrap();
    let session = || UploadSession::parse(name("a"), ID).unwrap();
    for (method, uri, expected) in [
        (Method::GET, "/v2/a/manifests/t".to_owned(), {
            Route::Manifest(name("a"), tag(), ManifestAction::Get)
        }),
        // Words of the API within names.
        (Method::HEAD, "/v2/a/manifests/manifests/t".to_owned(), {
            Route::Manifest(name("a/manifests"), tag(), ManifestAction::Head)
        }),
        (Method::PUT, "/v2/blobs/uploads/manifests/t".to_owned(), {
            Route::Manifest(name("blobs/uploads"), tag(), ManifestAction::Put(Vec::new()))
        }),
        (Method::GET, format!("/v2/a/tags/list/blobs/sha256:{HEX}"), {
            Route::Blob(name("a/tags/list"), digest.clone(), BlobAction::Get)
        }),
        (Method::GET, format!("/v2/a/blobs/sha256%3A{HEX}"), {
            Route::Blob(name("a"), digest.clone(), BlobAction::Get)
        }),
        (Method::GET, format!("/v2/a%2Fb/blobs/sha256:{HEX}"), {
            Route::Blob(name("a/b"), digest.clone(), BlobAction::Get)
        }),
        (Method::POST, "/v2/a/blobs/uploads/".to_owned(), {
            Route::StartUpload(name("a"), StartUpload::Session)
        }),
        (Method::POST, "/v2/a/blobs/uploads".to_owned(), {
            Route::StartUpload(name("a"), StartUpload::Session)
        }),
        (Method::POST, format!("/v2/a/blobs/uploads/?digest=sha256:{HEX}"), {
            Route::StartUpload(name("a"), StartUpload::Whole(digest.clone()))
        }),
        (Method::POST, format!("/v2/a/blobs/uploads/?from=b/c&mount=sha256:{HEX}&origin=x"), {
            let from = Some(name("b/c"));
            Route::StartUpload(name("a"), StartUpload::Mount { digest: digest.clone(), from })
        }),
        (Method::PUT, format!("/v2/a/blobs/uploads/{ID}?_state=x&digest=sha256%3A{HEX}"), {
            Route::Upload(session(), UploadAction::Commit(digest.clone(), None))
        }),
        (Method::PATCH, format!("/v2/a/blobs/uploads/{ID}"), {
            Route::Upload(session(), UploadAction::Append)
        }),
    ] {
        assert_eq!(parse(&method, &uri).unwrap(), expected, "{method} {uri}");
    }
}

#[test]
fn routes_print_as_they_parse() {
    let digest = format!("sha256:{HEX}");
    for (method, path) in [
        (Method::GET, "/".to_owned()),
        (Method::GET, "/v2/".to_owned()),
        (Method::GET, "/v2/_catalog".to_owned()),
        (Method::POST, "/v2/_roadstead/collect".to_owned()),
        (Method::POST, "/v2/_roadstead/scrub".to_owned()),
        (Method::GET, "/v2/_roadstead/collect/reports".to_owned()),
        (Method::GET, "/v2/_roadstead/collect/usage".to_owned()),
        (Method::GET, "/v2/_roadstead/collect/contents".to_owned()),
        (Method::GET, "/v2/_roadstead/collect/quotas".to_owned()),
        (Method::GET, format!("/v2/_roadstead/collect/why/{digest}")),
        (Method::GET, "/v2/_roadstead/retention".to_owned()),
        (Method::GET, "/v2/a/b/_roadstead/retention/t".to_owned()),
        (Method::GET, "/v2/_roadstead/ui/registry".to_owned()),
        (Method::GET, "/v2/_roadstead/repositories".to_owned()),
        (Method::GET, "/v2/_roadstead/uploads".to_owned()),
        (Method::GET, "/v2/_roadstead/collect/trash".to_owned()),
        (Method::GET, "/ui".to_owned()),
        (Method::GET, "/ui/index.html".to_owned()),
        (Method::GET, "/v2/a/b/_roadstead/tags".to_owned()),
        (Method::GET, format!("/v2/a/b/_roadstead/image/{digest}")),
        (Method::GET, "/v2/a/b/_roadstead/deletion".to_owned()),
        (Method::DELETE, "/v2/a/b/_roadstead/repository".to_owned()),
        (Method::GET, "/v2/a/b/tags/list".to_owned()),
        (Method::GET, "/v2/a/b/_oci/tag-history/t".to_owned()),
        (Method::GET, "/v2/_oci/ext/discover".to_owned()),
        (Method::GET, "/v2/a/b/_oci/ext/discover".to_owned()),
        (Method::GET, "/v2/a/b/manifests/t".to_owned()),
        (Method::PUT, format!("/v2/a/manifests/{digest}")),
        (Method::GET, format!("/v2/a/referrers/{digest}")),
        (Method::HEAD, format!("/v2/a/blobs/{digest}")),
        (Method::POST, "/v2/a/blobs/uploads/".to_owned()),
        (Method::DELETE, format!("/v2/a/blobs/uploads/{ID}")),
    ] {
        let route = parse(&method, &path).unwrap();
        assert_eq!(route.path(), path);
        assert_eq!(parse(&method, &route.path()).unwrap(), route);
    }
}

#[test]
fn each_mistake_has_its_code() {
    let code = |method, uri: &str| parse(&method, uri).unwrap_err().status_and_code();
    for (method, uri, status, expected) in [
        (Method::GET, "/v2", 200, ErrorCode::Unknown),
        (Method::GET, "/v1/", 404, ErrorCode::Unsupported),
        (Method::GET, "/v2x/", 404, ErrorCode::Unsupported),
        (Method::GET, "/v2/tags/list", 404, ErrorCode::Unsupported),
        (Method::GET, "/v2//tags/list", 400, ErrorCode::NameInvalid),
        (Method::GET, "/v2/_roadstead/collect", 405, ErrorCode::Unsupported),
        (Method::GET, "/v2/_roadstead/scrub", 405, ErrorCode::Unsupported),
        (Method::POST, "/v2/_roadstead/other", 404, ErrorCode::Unsupported),
        (Method::GET, "/v2/_roadstead/collect/tags/list", 400, ErrorCode::NameInvalid),
        (Method::PUT, "/v2/a/tags/list", 405, ErrorCode::Unsupported),
        (Method::GET, "/v2/a/_roadstead/repository", 405, ErrorCode::Unsupported),
        (Method::DELETE, "/v2/a/_roadstead/other", 404, ErrorCode::Unsupported),
        (Method::DELETE, "/v2/_roadstead/repository", 404, ErrorCode::Unsupported),
        (Method::DELETE, "/v2/a/", 404, ErrorCode::Unsupported),
        (Method::DELETE, "/v2/a/manifests/", 400, ErrorCode::TagInvalid),
        (Method::GET, "/v2/a/manifests/", 400, ErrorCode::TagInvalid),
        (Method::GET, "/v2/a/blobs/", 400, ErrorCode::DigestInvalid),
        (Method::PUT, "/v2/a/blobs/uploads/x?digest=y", 404, ErrorCode::BlobUploadUnknown),
        (Method::GET, "/v2/_catalog?n=x", 400, ErrorCode::PaginationNumberInvalid),
        (Method::GET, "/v2/a/_oci/tag-history/t?n=-1", 400, ErrorCode::PaginationNumberInvalid),
        (Method::GET, "/v2/a/_oci/tag-history/t?before=x", 400, ErrorCode::Unsupported),
        (Method::GET, "/v2/a/_oci/tag-history/t?since=2026-05-04", 400, ErrorCode::Unsupported),
        (Method::GET, "/v2/a/_oci/tag-history/t?digest=x", 400, ErrorCode::DigestInvalid),
        (Method::GET, "/v2/a/_oci/tag-history/t?last=x", 400, ErrorCode::DigestInvalid),
        (Method::GET, "/v2/a/_roadstead/retention/-t", 400, ErrorCode::TagInvalid),
        (Method::GET, "/v2/A/_roadstead/retention/t", 400, ErrorCode::NameInvalid),
        (Method::POST, "/v2/a/_roadstead/retention/t", 405, ErrorCode::Unsupported),
        (Method::POST, "/v2/_roadstead/ui/registry", 405, ErrorCode::Unsupported),
        (Method::GET, "/v2/_roadstead/ui/other", 404, ErrorCode::Unsupported),
        (Method::POST, "/v2/_roadstead/repositories", 405, ErrorCode::Unsupported),
        (Method::GET, "/v2/_roadstead/repositories?under=a//", 400, ErrorCode::Unsupported),
        (Method::GET, "/v2/_roadstead/repositories?under=/", 400, ErrorCode::Unsupported),
        (Method::DELETE, "/v2/a/_roadstead/tags", 405, ErrorCode::Unsupported),
        (Method::GET, "/v2/a/_roadstead/tags?offset=4294967296", 400, ErrorCode::Unsupported),
        (Method::GET, "/v2/a/_roadstead/image/-t", 400, ErrorCode::TagInvalid),
        (Method::GET, "/v2/A/_roadstead/image/t", 400, ErrorCode::NameInvalid),
        (Method::GET, "/v2/a/_roadstead/image/", 400, ErrorCode::TagInvalid),
        (Method::GET, "/v2/a/_roadstead/other/t", 404, ErrorCode::Unsupported),
        (Method::GET, "/v2/a/_oci/tag-history/-t", 400, ErrorCode::TagInvalid),
        (Method::GET, "/v2/a/_oci/tag-history/", 400, ErrorCode::TagInvalid),
        (Method::GET, "/v2/A/_oci/tag-history/t", 400, ErrorCode::NameInvalid),
        (Method::GET, "/v2//_oci/tag-history/t", 400, ErrorCode::NameInvalid),
        (Method::GET, "/v2/_oci/tag-history/t", 404, ErrorCode::Unsupported),
        (Method::DELETE, "/v2/a/_oci/tag-history/t", 405, ErrorCode::Unsupported),
        (Method::HEAD, "/v2/_oci/ext/discover", 405, ErrorCode::Unsupported),
        (Method::GET, "/v2/a/_oci/ext/other", 404, ErrorCode::Unsupported),
        (Method::GET, "/v2/a/_oci/other/t", 404, ErrorCode::Unsupported),
    ] {
        if status == 200 {
            assert!(parse(&method, uri).is_ok(), "{uri}");
        } else {
            let (found, code) = code(method, uri);
            assert_eq!((found.as_u16(), code), (status, expected), "{uri}");
        }
    }
}

/// What a link to another page repeats has a limit, so that a header can hold it.
#[test]
fn long_parameters_are_shortened() {
    let long = "%C3%BC".repeat(5_000);
    let last = |page: PageRequest| page.last.unwrap().len();
    for uri in ["/v2/_catalog", "/v2/a/tags/list"] {
        match parse(&Method::GET, &format!("{uri}?last={long}")).unwrap() {
            Route::Catalog(page) | Route::Tags(_, page) => assert_eq!(last(page), 512),
            other => panic!("{other:?}"),
        }
    }
    let uri = format!("/v2/a/referrers/sha256:{HEX}?artifactType={long}&last={long}");
    let Ok(Route::Referrers(_, _, request)) = parse(&Method::GET, &uri) else { panic!() };
    assert_eq!(last(request.page), 512);
    // Longer than any media type still, so that it is equal to none.
    assert_eq!(request.artifact_type.unwrap().len(), 510);
}

#[test]
fn parameters_of_lists() {
    let repositories = |query: &str| {
        let uri = format!("/v2/_roadstead/repositories{query}");
        match parse(&Method::GET, &uri).unwrap() {
            Route::View(View::Repositories(request)) => request,
            other => panic!("{other:?}"),
        }
    };
    let tags = |query: &str| match parse(&Method::GET, &format!("/v2/a/_roadstead/tags{query}"))
        .unwrap()
    {
        Route::View(View::Tags(_, request)) => request,
        other => panic!("{other:?}"),
    };
    assert_eq!((repositories("").limit, tags("").limit), (VIEW_PAGE, VIEW_PAGE));
    assert_eq!(repositories("?n=99999").limit, MOST_REPOSITORIES);
    assert_eq!((tags("?n=99999").limit, tags("?n=0").limit), (MOST_TAGS, 1));
    let request = repositories("?under=a%2Fb/&q=%C3%9CA&last=");
    assert_eq!((request.under.as_str(), request.last), ("a/b/", None));
    assert_eq!(request.search.as_deref(), Some("\u{fc}a"));
    let request = tags("?sort=size&order=desc&offset=7&q=");
    assert_eq!((request.sort, request.descending, request.offset), (TagOrder::Size, true, 7));
    assert_eq!(request.search.as_deref(), Some(""), "all names have it");
    assert_eq!((repositories("").search, tags("").search), (None, None));
    let long = "%C3%BC".repeat(5_000);
    assert_eq!(tags(&format!("?q={long}")).search.unwrap().len(), 256, "longer than any name");
}

/// Any path and query: a route or an error, and what is a route prints as
/// one.
#[test]
fn arbitrary_paths() {
    const PIECES: [&str; 32] = [
        "referrers",
        "_oci/tag-history",
        "?before=",
        "_roadstead/repository",
        "_roadstead/image",
        "_roadstead/tags",
        "_roadstead/repositories",
        "?under=",
        "/",
        "/",
        "/v2/",
        "a",
        "b",
        "Z",
        "-",
        "_",
        ".",
        "..",
        "%2f",
        "%00",
        "%ff",
        "%",
        "blobs",
        "uploads",
        "manifests",
        "tags/list",
        "_catalog",
        "?n=",
        "&last=",
        "sha256:",
        HEX,
        ID,
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    let mut routes = 0;
    for _ in 0..50_000 {
        let mut text = "/v2/".to_owned();
        for _ in 0..next(9) {
            text.push_str(PIECES[next(PIECES.len())]);
        }
        let Ok(uri) = text.parse::<Uri>() else { continue };
        let methods = [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE];
        let method = methods[next(5)].clone();
        match Route::parse(&method, &uri) {
            Ok(route) => {
                routes += 1;
                assert!(route.path().starts_with('/'));
            }
            Err(error) => {
                let (status, _) = error.status_and_code();
                assert!(status.is_client_error(), "{text}: {error}");
                assert!((1..=1000).contains(&error.body(None).len()), "{text}: {error}");
            }
        }
    }
    assert!(routes > 100, "{routes}");
}
