//! Every route and every method, against every set of permissions.

use crate::{PASSWORDS, with};
use bytes::Bytes;
use http::Request;
use http::{HeaderMap, Method};
use roadstead_access::{Action, Caller, Subject};
use roadstead_bridge::Services;
use roadstead_bridge::collect::{OVERRIDES, REPORTS, USAGE, WHY};
use roadstead_config::Config;
use roadstead_registry::{Error, Gate, Route};
use roadstead_tests::{Registry, digest};

const METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
    Method::CONNECT,
];

/// A path of every endpoint.
fn paths() -> Vec<String> {
    let digest = digest(b"x");
    let id = "00000000-0000-4000-8000-000000000000";
    let mut paths: Vec<String> = [
        "/",
        "/livez",
        "/ui",
        "/ui/",
        "/ui/index.html",
        "/readyz",
        "/v2",
        "/v2/",
        "/v2/_catalog",
        "/v2/_oci/ext/discover",
        "/v2/_roadstead/collect",
        "/v2/_roadstead/events",
        "/v2/_roadstead/retention",
        "/v2/_roadstead/repositories",
        "/v2/_roadstead/repositories?under=team/&q=a",
        "/v2/_roadstead/scrub",
        "/v2/_roadstead/collect/trash",
        "/v2/_roadstead/uploads",
        "/v2/_roadstead/ui/registry",
        REPORTS,
        USAGE,
        "/v2/token",
    ]
    .map(String::from)
    .into();
    paths.push(format!("{WHY}{digest}"));
    for rest in [
        "tags/list".to_owned(),
        "_roadstead/repository".to_owned(),
        "_roadstead/retention/tag".to_owned(),
        "_roadstead/tags".to_owned(),
        "_roadstead/image/tag".to_owned(),
        format!("_roadstead/image/{digest}"),
        "_roadstead/deletion?tag=tag".to_owned(),
        "_oci/ext/discover".to_owned(),
        "_oci/tag-history/tag".to_owned(),
        "manifests/tag".to_owned(),
        format!("manifests/{digest}"),
        format!("manifests/{digest}?tag=a"),
        format!("referrers/{digest}"),
        format!("blobs/{digest}"),
        "blobs/uploads".to_owned(),
        "blobs/uploads/".to_owned(),
        format!("blobs/uploads/?digest={digest}"),
        format!("blobs/uploads/?mount={digest}"),
        format!("blobs/uploads/?mount={digest}&from=other"),
        format!("blobs/uploads/{id}"),
        format!("blobs/uploads/{id}?digest={digest}"),
    ] {
        paths.push(format!("/v2/team/a/{rest}"));
    }
    paths
}

/// What a route needs, specified independently of the code's types, by path and
/// method.
fn needed(method: &Method, path: &str) -> Option<Action> {
    let upload = path.contains("/blobs/uploads");
    if !path.contains("/team/a/") {
        return None;
    }
    Some(match *method {
        _ if upload => Action::Push,
        // It looks at all tags of the repository, for those who may delete them.
        Method::GET if path.contains("/_roadstead/retention/") => Action::Delete,
        // It says what a deletion would affect.
        Method::GET if path.contains("/_roadstead/deletion") => Action::Delete,
        Method::GET | Method::HEAD => Action::Pull,
        Method::DELETE => Action::Delete,
        _ => Action::Push,
    })
}

#[test]
fn every_route_against_every_set_of_permissions() {
    let user = Caller {
        subject: Subject { user: Some("bob".to_owned()), ..Subject::default() },
        ..Caller::default()
    };
    let (mut routes, mut decided) = (std::collections::BTreeSet::new(), 0);
    for (set, everywhere) in
        (0..1_u32 << Action::ALL.len()).flat_map(|set| [(set, false), (set, true)])
    {
        let granted: Vec<_> =
            (0..).zip(Action::ALL).filter(|(bit, _)| set >> bit & 1 == 1).map(|(_, a)| a).collect();
        let words: Vec<_> = granted.iter().map(|action| action.as_str()).collect();
        let rules = match words.as_slice() {
            [] => "nobody all **".to_owned(),
            // Only what is said of all repositories permits what concerns them all.
            words if everywhere => format!("bob {} **; alice all other", words.join(",")),
            words => format!("bob {} team/a,*/**; alice all other", words.join(",")),
        };
        let settings = with(&PASSWORDS, &[("REGISTRY_AUTH_RULES", &rules)]);
        let settings = settings.iter().map(|&(n, v)| (n.to_owned(), v.to_owned()));
        let gate = Gate::new(&Config::from_variables(settings).unwrap(), Services::default(), None);
        for method in METHODS {
            for path in paths() {
                let Ok(route) = Route::parse(&method, &path.parse().unwrap()) else { continue };
                routes.insert(number(&route));
                let anonymous = gate.permit(&Caller::default(), &route, &HeaderMap::new());
                let known = gate.permit(&user, &route, &HeaderMap::new());
                let open = matches!(
                    route,
                    Route::Root | Route::Live | Route::Ready | Route::Token(_) | Route::Page(_)
                );
                let expected = match needed(&method, &path) {
                    Some(action) => granted.contains(&action),
                    None if path == "/v2/_catalog"
                        || path.starts_with("/v2/_roadstead/repositories") =>
                    {
                        granted.contains(&Action::Catalog)
                    }
                    None if path == "/v2/_roadstead/ui/registry" => true,
                    // For the native host alone.
                    None if path == "/v2/_roadstead/events" => false,
                    None if path.starts_with("/v2/_roadstead/") => {
                        everywhere && granted.contains(&Action::Delete)
                    }
                    None => true,
                };
                assert_eq!(anonymous.is_ok(), open, "{method} {path}, nobody: {anonymous:?}");
                assert_eq!(known.is_ok(), expected, "{method} {path} with {words:?}: {known:?}");
                if !open {
                    assert!(matches!(anonymous, Err(Error::Unauthorized { .. })));
                    assert!(matches!(known, Ok(()) | Err(Error::Denied(_))));
                }
                decided += 1;
            }
        }
    }
    // Each kind of route occurred.
    assert_eq!(routes.into_iter().collect::<Vec<_>>(), (0..ROUTES).collect::<Vec<_>>());
    assert!(decided > 300, "{decided}");
}

const ROUTES: usize = 22;

/// A new kind of route does not compile until it is added here, and the test
/// fails until a path leads to it.
fn number(route: &Route) -> usize {
    match route {
        Route::Root => 0,
        Route::Base => 1,
        Route::Catalog(_) => 2,
        Route::Token(_) => 3,
        Route::Tags(..) => 4,
        Route::Manifest(..) => 5,
        Route::Referrers(..) => 6,
        Route::Blob(..) => 7,
        Route::StartUpload(..) | Route::Upload(..) => 8,
        Route::Collect => 9,
        Route::Repository(..) => 10,
        Route::Scrub => 11,
        Route::Collection(_) => 12,
        Route::TagHistory(..) => 13,
        Route::Discover(_) => 14,
        Route::Live => 15,
        Route::Ready => 16,
        Route::Expiring(_) => 17,
        Route::Retained(..) => 18,
        Route::View(_) => 19,
        Route::Page(_) => 20,
        Route::Events => 21,
    }
}

/// Whether a path is for health checks, or a file of the page, which nobody logs in for.
fn is_open(path: &str) -> bool {
    matches!(path, "/" | "/livez" | "/readyz") || path.starts_with("/ui")
}

/// The same from outside: without credentials, every response is that they are
/// missing, or that the endpoint does not exist.
#[tokio::test]
async fn nothing_without_credentials() {
    let root = tempfile::tempdir().unwrap();
    let settings = with(&PASSWORDS, &[crate::DELETE]);
    let registry = Registry::start(root.path(), &settings, &[]).unwrap();
    for method in METHODS {
        for path in paths() {
            if method == Method::CONNECT || is_open(&path) && method != Method::POST {
                continue;
            }
            let request = Request::builder()
                .method(&method)
                .uri(&path)
                .header(OVERRIDES, r#"{"exclusive":true}"#)
                .body(Bytes::new());
            let answer = roadstead_tests::send(&registry.address, request.unwrap()).await.unwrap();
            let parsed = Route::parse(&method, &path.parse().unwrap());
            let expected = match parsed {
                Ok(Route::Token(_)) => 404,
                Ok(_) => 401,
                Err(error) => error.status_and_code().0.as_u16(),
            };
            assert_eq!(answer.status(), expected, "{method} {path}");
        }
    }
}
