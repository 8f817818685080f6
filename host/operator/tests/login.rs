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

#[test]
fn a_password_leaves_the_file_even_if_the_helper_fails() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    let auth = json!({ "auth": "YWxpY2U6c2VjcmV0" });
    let old = json!({ "credsStore": "is-not-there", "auths": {
        "a.example": auth, "a.example/team": auth, "b.example": auth } });
    std::fs::write(root.path().join("config.json"), old.to_string()).unwrap();
    let (status, _, problem) = run(&["logout", "a.example", "--docker-config", path]);
    assert_eq!(
        (status, problem.contains("docker-credential-is-not-there")),
        (1, true),
        "{problem}"
    );
    let expected = json!({ "a.example/team": auth, "b.example": auth });
    assert_eq!(config(root.path())["auths"], expected);
    let bad = json!({ "credsStore": "x/../../y" });
    std::fs::write(root.path().join("config.json"), bad.to_string()).unwrap();
    let (status, _, problem) = run(&["logout", "a.example", "--docker-config", path]);
    assert_eq!(
        (status, problem.contains("no name of a credential helper")),
        (1, true),
        "{problem}"
    );
}

/// A helper that keeps one password, and whose words of others are its own.
#[cfg(unix)]
const HELPER: &str = r#"#!/bin/sh
input=$(cat)
echo "$1" >> "$KEPT.log"
case $1 in
store) printf '%s' "$input" > "$KEPT"
    # Another program writes the file meanwhile.
    sed 's/"credsStore"/"detachKeys":"x","credsStore"/' "$KEPT.d/config.json" > "$KEPT.new"
    mv "$KEPT.new" "$KEPT.d/config.json" ;;
get) grep -qsF "\"ServerURL\":\"$input\"" "$KEPT" && cat "$KEPT" ;;
erase) grep -qsF "\"ServerURL\":\"$input\"" "$KEPT" || { echo 'quite another message'; exit 1; }
    rm "$KEPT" ;;
esac
"#;

/// The variable of this process that says where the helper keeps its password.
#[cfg(unix)]
const KEPT: &str = "KEPT";

/// The search path is that of a process, so this runs itself once more.
#[cfg(unix)]
#[test]
fn a_helper_keeps_finds_and_forgets() {
    use std::os::unix::fs::PermissionsExt as _;
    if std::env::var_os(KEPT).is_some() {
        return with_a_helper();
    }
    let root = tempfile::tempdir().unwrap();
    let program = root.path().join("docker-credential-of-a-test");
    std::fs::write(&program, HELPER).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", root.path().display(), std::env::var("PATH").unwrap());
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "login::a_helper_keeps_finds_and_forgets", "--nocapture"])
        .env("PATH", path)
        .env(KEPT, root.path().join("kept"))
        .output()
        .unwrap();
    let [said, errors] = [&run.stdout, &run.stderr].map(|it| String::from_utf8_lossy(it));
    assert!(run.status.success() && said.contains("1 passed"), "{said}{errors}");
    let log = std::fs::read_to_string(root.path().join("kept.log")).unwrap();
    assert_eq!(log, "store\nget\nget\nerase\nget\nerase\n");
}

#[cfg(unix)]
fn with_a_helper() {
    let plain = Plain::start_with(&[("/v2/", Page::new("{}"))], Some((BASIC, "Basic realm=\"r\"")));
    let at = plain.at("");
    let path = format!("{}.d", std::env::var(KEPT).unwrap());
    let (path, root) = (path.as_str(), Path::new(&path));
    std::fs::create_dir(root).unwrap();
    let old = json!({ "credsStore": "of-a-test", "auths": { &at: { "auth": "b2xkOnA=" } } });
    std::fs::write(root.join("config.json"), old.to_string()).unwrap();
    assert_eq!(login(root, &at, "alice", b"secret"), (0, String::new()));
    // It is with the helper alone.
    let expected = json!({ "credsStore": "of-a-test", "detachKeys": "x", "auths": { &at: {} } });
    assert_eq!(config(root), expected);
    let (status, _, problem) = run(&["tags", &plain.at("/a"), "--docker-config", path]);
    assert_eq!((status, problem.contains("no such repository")), (3, true), "{problem}");
    let logout = || run(&["logout", &at, "--docker-config", path]);
    let (status, _, problem) = logout();
    assert_eq!((status, problem.as_str()), (0, ""));
    assert_eq!(config(root)["auths"], json!({}));
    let (status, _, problem) = logout();
    assert_eq!((status, problem.contains("there was no login")), (3, true), "{problem}");
    // Nothing is stored where the file cannot be written.
    let old = r#"{"credsStore":"of-a-test","auths":[]}"#;
    std::fs::write(root.join("config.json"), old).unwrap();
    assert_eq!(login(root, &at, "alice", b"secret").0, 1);
}
