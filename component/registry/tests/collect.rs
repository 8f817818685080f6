//! Who may ask for garbage collection, and on which overrides.

use bytes::Bytes;
use http::{HeaderMap, Request};
use roadstead_access::{Access, Caller, Subject};
use roadstead_bridge::Services;
use roadstead_bridge::collect::{OVERRIDES, Overrides, PATH, Progress};
use roadstead_config::Config;
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::NativeRegistry;
use roadstead_registry::{Error, Gate, Route};

fn gate(services: Services, variables: &[(&str, &str)]) -> Gate {
    let owned = variables.iter().map(|&(n, v)| (format!("REGISTRY_{n}"), v.to_owned()));
    Gate::new(&Config::from_variables(owned).unwrap(), services, None)
}

fn headers(overrides: &str) -> HeaderMap {
    HeaderMap::from_iter([(OVERRIDES, overrides.parse().unwrap())])
}

const PASSWORDS: (&str, &str) = ("AUTH_HTPASSWD_PATH", "/users");

/// The native host is believed, which lets no client send its header; under other
/// hosts, the header comes from a client.
#[test]
fn only_a_native_host_sets_overrides() {
    let of_host =
        Overrides { exclusive: true, grace: Some(0), budget: Some(7), ..Overrides::default() };
    let said = headers(&serde_json::to_string(&of_host).unwrap());
    for services in [Services::parse("storage,access,front"), Services::default()] {
        let gate = gate(services, &[PASSWORDS]);
        let believed = services.front;
        assert_eq!(gate.overrides(&said).unwrap(), believed.then_some(of_host));
        assert_eq!(gate.permit(&Caller::default(), &Route::Collect, &said).is_ok(), believed);
        assert_eq!(gate.overrides(&headers("x")).is_err(), believed);
        assert_eq!(gate.overrides(&HeaderMap::new()).unwrap(), None);
        // Nothing else is permitted by it.
        let catalog = Route::parse(&http::Method::GET, &"/v2/_catalog".parse().unwrap()).unwrap();
        assert!(gate.permit(&Caller::default(), &catalog, &said).is_err());
    }
}

#[test]
fn who_may_delete_everything() {
    const RULES: (&str, &str) = ("AUTH_RULES", "admin delete **; bob all */**, a; * pull **");
    let user = |name: &str| Caller {
        subject: Subject { user: Some(name.to_owned()), ..Subject::default() },
        ..Caller::default()
    };
    let with =
        |name: &str, scope: &str| Caller { access: Some(Access::parse_all(scope)), ..user(name) };
    let whole = "registry:maintenance:*";
    for (variables, caller, permitted) in [
        (&[][..], Caller::default(), true),
        (&[PASSWORDS], Caller::default(), false),
        (&[PASSWORDS], user("bob"), true),
        (&[PASSWORDS, RULES], user("bob"), false),
        (&[PASSWORDS, RULES], user("admin"), true),
        (&[PASSWORDS, RULES], with("admin", "registry:catalog:*"), false),
        (&[PASSWORDS, RULES], with("admin", whole), true),
        (&[PASSWORDS, RULES], with("bob", whole), false),
    ] {
        let gate = gate(Services::default(), variables);
        let result = gate.permit(&caller, &Route::Collect, &HeaderMap::new());
        assert_eq!(result.is_ok(), permitted, "{variables:?} {caller:?}");
        let granted = gate.grant(&caller.subject, Access::parse_all(whole));
        if caller.access.is_none() && !variables.is_empty() {
            assert_eq!(!granted.is_empty(), permitted, "{variables:?} {caller:?}");
        }
    }
    let gate = gate(Services::default(), &[("AUTH", "token"), PASSWORDS, ("HTTP_SECRET", "s")]);
    let headers = HeaderMap::from_iter([(http::header::HOST, "a".parse().unwrap())]);
    let Err(Error::Unauthorized { challenge, .. }) =
        gate.permit(&Caller::default(), &Route::Collect, &headers)
    else {
        panic!()
    };
    assert!(challenge.ends_with("scope=\"registry:maintenance:*\""), "{challenge}");
}

/// By the settings' defaults, to the end of a run or until none is due.
#[tokio::test]
async fn a_run_is_asked_for_in_slices() {
    let root = tempfile::tempdir().unwrap();
    let storage = DirectoryStorage(NativeDirectory::new(Directory::open(root.path()).unwrap()));
    let settings = [("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
    let registry = NativeRegistry::new(storage, &settings).unwrap();
    let ask = async |body: String| {
        let request = Request::post(PATH).body(Bytes::from(body)).unwrap();
        registry.send(request).await
    };
    assert_eq!(ask(" ".repeat(1025)).await.status(), 400);
    let mut body = String::new();
    for _ in 0..1000 {
        let response = ask(body).await;
        assert_eq!(response.status(), 200, "{:?}", response.body());
        match serde_json::from_slice(response.body()).unwrap() {
            Progress::Running { run, .. } => body = format!(r#"{{"run":"{run}"}}"#),
            Progress::Done { report } => {
                assert_eq!((report.dry_run, report.removed), (false, 0));
                return;
            }
            Progress::NotDue { .. } => return,
        }
    }
    panic!("a run of an empty registry does not end");
}
