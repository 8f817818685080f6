//! `roadstead login` and `logout`, with files as Docker has them.

use crate::images::{run, run_on};
use crate::plain::{Page, Plain};
use roadstead_operator::terminal::Screen;
use serde_json::{Value, json};
use std::path::Path;

/// alice:secret
const BASIC: &str = "Basic YWxpY2U6c2VjcmV0";

fn config(root: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(root.join("config.json")).unwrap()).unwrap()
}

fn login(root: &Path, registry: &str, user: &str, password: &[u8]) -> (u8, String) {
    let config = root.to_str().unwrap();
    let words = ["login", registry, "-u", user, "--password-stdin", "--docker-config", config];
    let (status, _, problem) = run_on(Screen::None, password, &words);
    (status, problem)
}

#[test]
fn a_password_that_is_taken_is_kept_for_its_owner_alone() {
    let basic = Plain::start_with(&[("/v2/", Page::new("{}"))], Some((BASIC, "Basic realm=\"r\"")));
    let bearer = Plain::start_with(
        &[("/v2/", Page::new("{}")), ("/token", Page::new(r#"{"token":"t"}"#))],
        Some(("Bearer t", "Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"s\"")),
    );
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("new/docker");
    for plain in [&basic, &bearer] {
        let at = plain.at("");
        let (status, problem) = login(&path, &at, "alice", b"wrong\n");
        assert_eq!(status, 1, "{problem}");
        assert!(!path.join("config.json").exists() || config(&path)["auths"].get(&at).is_none());
        let (status, problem) = login(&path, &format!("http://{at}"), "alice", b"secret\n");
        assert_eq!(status, 0, "{problem}");
        assert_eq!(config(&path)["auths"][&at], json!({ "auth": "YWxpY2U6c2VjcmV0" }));
        assert!(!problem.contains("secret"), "{problem}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path.join("config.json")), mode(&path)), (0o600, 0o700));
    }
    // Other commands find it.
    let directory = path.to_str().unwrap();
    let (status, _, problem) = run(&["tags", &basic.at("/a"), "--docker-config", directory]);
    assert_eq!((status, problem.contains("no such repository")), (3, true), "{problem}");
    let logout = |registry: &str| run(&["logout", registry, "--docker-config", directory]);
    assert_eq!(logout(&basic.at("")).0, 0);
    assert_eq!(logout(&basic.at("")).0, 3);
    let auths = config(&path)["auths"].as_object().unwrap().len();
    assert_eq!(
        (auths, &config(&path)["auths"][bearer.at("")]["auth"]),
        (1, &json!("YWxpY2U6c2VjcmV0"))
    );
}

#[test]
fn what_else_is_in_the_file_stays() {
    let plain = Plain::start_with(&[("/v2/", Page::new("{}"))], Some((BASIC, "Basic realm=\"r\"")));
    let root = tempfile::tempdir().unwrap();
    let other = json!({ "auth": "b3RoZXI6cA==" });
    let old = json!({ "auths": { "other.example": other, format!("https://{}/v2/", plain.at("")): {} },
        "detachKeys": "ctrl-e", "credHelpers": { "third.example": "x" } });
    std::fs::write(root.path().join("config.json"), old.to_string()).unwrap();
    assert_eq!(login(root.path(), &plain.at(""), "alice", b"secret").0, 0);
    let expected = json!({
        "auths": { "other.example": other, plain.at(""): { "auth": "YWxpY2U6c2VjcmV0" } },
        "detachKeys": "ctrl-e", "credHelpers": { "third.example": "x" },
    });
    assert_eq!(config(root.path()), expected);
}

#[test]
fn nothing_is_kept_that_was_not_tried() {
    let nothing = Plain::start(&[]);
    let root = tempfile::tempdir().unwrap();
    for (registry, user, password, expected, said) in [
        (nothing.at(""), "alice", &b"secret"[..], 1, "there is no registry"),
        (nothing.at(""), "alice", b"", 2, "standard input is empty"),
        (nothing.at(""), "a:b", b"secret", 2, "no colon"),
        ("a b".to_owned(), "alice", b"secret", 2, "not a host"),
        ("ftp://a".to_owned(), "alice", b"secret", 2, "not http or https"),
    ] {
        let (status, problem) = login(root.path(), &registry, user, password);
        assert_eq!(status, expected, "{problem}");
        assert!(problem.contains(said), "{problem}");
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    // A file that is no configuration is not replaced.
    let open = Plain::start(&[("/v2/", Page::new("{}"))]);
    for text in ["{", "[]", r#"{"auths":[]}"#] {
        std::fs::write(root.path().join("config.json"), text).unwrap();
        let (status, problem) = login(root.path(), &open.at(""), "alice", b"secret");
        assert_eq!((status, problem.contains("config.json")), (1, true), "{problem}");
        assert_eq!(std::fs::read_to_string(root.path().join("config.json")).unwrap(), text);
    }
    // It was shown to the registry, although that had not asked.
    assert_eq!(open.seen("GET /v2/").len(), 6);
    std::fs::write(root.path().join("config.json"), r#"{"credsStore":"is-not-there"}"#).unwrap();
    let (status, problem) = login(root.path(), &open.at(""), "alice", b"secret");
    assert_eq!(status, 1);
    assert!(problem.contains("docker-credential-is-not-there"), "{problem}");
}
