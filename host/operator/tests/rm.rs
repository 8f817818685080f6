//! `roadstead rm` against registries on loopback: this one's answers, and those of
//! others.

use crate::local::Local;
use clap::Parser;
use roadstead_operator::rm::{Args, Streams, run};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// What a registry can do.
#[derive(Clone, Copy, Default)]
struct Abilities {
    /// Deletes a tag by its name.
    tags: bool,
    /// Deletes a repository, so many objects at a time.
    whole: usize,
    /// Deletion is off.
    off: bool,
    /// Asks for a token, and its service for alice's password.
    login: bool,
}

/// A registry with one repository, `team/app`, of tags by digest.
struct Fake {
    abilities: Abilities,
    tags: Mutex<BTreeMap<String, String>>,
    seen: Mutex<Vec<String>>,
    port: u16,
}

fn digest(number: u8) -> String {
    format!("sha256:{}", format!("{number:02x}").repeat(32))
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn error(status: &str, code: &str) -> String {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"the message"}}]}}"#);
    response(status, "", &body)
}

impl Fake {
    fn start(abilities: Abilities, tags: &[(&str, u8)]) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let tags = tags.iter().map(|(tag, number)| ((*tag).to_owned(), digest(*number)));
        let (tags, seen) = (Mutex::new(tags.collect()), Mutex::default());
        let fake = Arc::new(Self { abilities, tags, seen, port });
        let registry = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                registry.serve(stream);
            }
        });
        fake
    }

    fn serve(&self, mut stream: TcpStream) {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                // Not TLS.
                Ok(1) if !head.is_empty() || byte[0].is_ascii_uppercase() => head.push(byte[0]),
                _ => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let header = |name: &str| {
            let line = head.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.get(name.len()..).unwrap_or_default().trim().to_owned()
        };
        let answer = self.answer(method, path, &header("authorization:"));
        self.seen.lock().unwrap().push(format!("{method} {path}"));
        // A client may close early.
        let _ = stream.write_all(answer.as_bytes());
    }

    fn answer(&self, method: &str, path: &str, authorization: &str) -> String {
        if path.starts_with("/token") {
            // alice:secret
            return match authorization {
                "Basic YWxpY2U6c2VjcmV0" => response("200 OK", "", r#"{"token":"t"}"#),
                _ => response("401 Unauthorized", "", ""),
            };
        }
        if self.abilities.login && authorization != "Bearer t" {
            let challenge = format!(
                "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{}/token\",service=\"s\",\
                 scope=\"repository:team/app:delete\"\r\n",
                self.port
            );
            return response("401 Unauthorized", &challenge, "");
        }
        let mut tags = self.tags.lock().unwrap();
        let Some(rest) = path.strip_prefix("/v2/team/app/") else {
            return error("404 Not Found", "NAME_UNKNOWN");
        };
        if method == "DELETE" && self.abilities.off {
            let body = r#"{"errors":[{"code":"UNSUPPORTED"}]}"#;
            return response("405 Method Not Allowed", "Allow: GET, HEAD\r\n", body);
        }
        match (method, rest.split_once('/')) {
            ("DELETE", Some(("_roadstead", _))) if self.abilities.whole > 0 => {
                let names: Vec<String> = tags.keys().take(self.abilities.whole).cloned().collect();
                if tags.is_empty() {
                    return error("404 Not Found", "NAME_UNKNOWN");
                }
                tags.retain(|name, _| !names.contains(name));
                let (count, complete) = (names.len(), tags.is_empty());
                let body = format!(r#"{{"complete":{complete},"tags":{count},"manifests":1}}"#);
                response("202 Accepted", "", &body)
            }
            ("GET", Some(("tags", _))) => {
                // Two on a page.
                let last = rest.split_once("last=").map_or("", |(_, last)| last);
                let rest: Vec<_> = tags.keys().filter(|tag| tag.as_str() > last).collect();
                let link = if rest.len() > 2 { "Link: <next>; rel=\"next\"\r\n" } else { "" };
                let page: Vec<_> = rest.into_iter().take(2).collect();
                response("200 OK", link, &format!(r#"{{"tags":{page:?}}}"#))
            }
            ("HEAD", Some(("manifests", reference))) => {
                let found = if reference.starts_with("sha256:") {
                    tags.values().find(|digest| *digest == reference)
                } else {
                    tags.get(reference)
                };
                match found {
                    Some(digest) => {
                        response("200 OK", &format!("Docker-Content-Digest: {digest}\r\n"), "")
                    }
                    None => response("404 Not Found", "", ""),
                }
            }
            ("DELETE", Some(("manifests", reference))) if reference.starts_with("sha256:") => {
                tags.retain(|_, digest| digest != reference);
                response("202 Accepted", "", "")
            }
            ("DELETE", Some(("manifests", tag))) if self.abilities.tags => {
                tags.remove(tag);
                response("202 Accepted", "", "")
            }
            ("DELETE", Some(("manifests", _))) => error("400 Bad Request", "DIGEST_INVALID"),
            _ => error("404 Not Found", "UNSUPPORTED"),
        }
    }

    fn rm(&self, target: &str, arguments: &[&str]) -> (u8, String, String) {
        let target = format!("127.0.0.1:{}/{target}", self.port);
        rm(&[&[target.as_str()], arguments].concat())
    }

    fn tags(&self) -> Vec<String> {
        self.tags.lock().unwrap().keys().cloned().collect()
    }

    fn deletes(&self) -> usize {
        self.seen.lock().unwrap().iter().filter(|line| line.starts_with("DELETE")).count()
    }
}

/// The status, what was printed, and what went wrong.
fn rm(arguments: &[&str]) -> (u8, String, String) {
    let nowhere = ["rm", "--docker-directory", "/nonexistent"];
    let config = ["--docker-config", "/nonexistent"];
    let config: &[&str] = if arguments.contains(&"--docker-config") { &[] } else { &config };
    let args = Cli::try_parse_from([&nowhere[..], config, arguments].concat());
    let args = args.unwrap_or_else(|error| panic!("{error}")).args;
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        input: &mut &b"secret"[..],
        output: &mut output,
        errors: &mut errors,
        screen: roadstead_operator::terminal::Screen::None,
    };
    let status = run(&args, &Local, &mut streams);
    (status, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
}

const THIS: Abilities = Abilities { tags: true, whole: 2, off: false, login: false };
const OTHER: Abilities = Abilities { tags: false, whole: 0, off: false, login: false };

#[test]
fn tags_and_manifests_are_deleted() {
    let fake = Fake::start(THIS, &[("a", 1), ("b", 1), ("c", 2)]);
    let (status, said, _) = fake.rm("team/app:a", &[]);
    assert_eq!((status, fake.tags()), (0, vec!["b".to_owned(), "c".to_owned()]));
    assert!(said.contains(&digest(1)), "how to delete the manifest: {said}");
    let (status, said, _) = fake.rm(&format!("team/app@{}", digest(1)), &[]);
    assert_eq!((status, fake.tags()), (0, vec!["c".to_owned()]), "{said}");
    let (status, _, problem) = fake.rm("team/app:none", &[]);
    assert_eq!(status, 3, "{problem}");
    // All of them are tried, and none if one is a mistake.
    let at = format!("127.0.0.1:{}/team/app", fake.port);
    let (none, c) = (format!("{at}:none"), format!("{at}:c"));
    assert_eq!(rm(&[&c, &at]).0, 2);
    assert_eq!(fake.tags(), ["c"]);
    assert_eq!(rm(&[&none, &c]).0, 3);
    assert_eq!(fake.tags(), [""; 0]);
}

#[test]
fn nothing_is_deleted_by_a_dry_run() {
    let fake = Fake::start(THIS, &[("a", 1), ("b", 1), ("c", 2)]);
    let by_digest = format!("team/app@{}", digest(1));
    for (target, arguments, expected) in [
        ("team/app:a", &["--dry-run"][..], digest(1).as_str()),
        (&by_digest, &["-n"], "its tags: a, b"),
        ("team/app", &["-n", "--repository"], "3 tags that lead to 2 manifests"),
    ] {
        let (status, said, problem) = fake.rm(target, arguments);
        assert_eq!((status, problem.as_str()), (0, ""));
        assert!(said.starts_with("would delete") && said.contains(expected), "{said}");
    }
    assert_eq!((fake.deletes(), fake.tags().len()), (0, 3));
}

#[test]
fn a_repository_is_deleted_by_as_many_requests_as_it_takes() {
    let fake = Fake::start(THIS, &[("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)]);
    let (status, said, _) = fake.rm("team/app", &["--repository"]);
    assert_eq!((status, fake.deletes(), fake.tags().len()), (0, 3, 0));
    assert!(said.contains("5 tags, 3 manifests"), "{said}");
    let (status, _, problem) = fake.rm("team/app", &["--repository"]);
    assert_eq!(status, 3, "{problem}");
}

#[test]
fn a_deletion_that_does_not_end_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut begun = [0; 1024];
            let length = stream.read(&mut begun).unwrap_or(0);
            if begun[..length].starts_with(b"DELETE") {
                let now = "Retry-After: 0\r\n";
                let answer = response("202 Accepted", now, r#"{"complete":false,"tags":0}"#);
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    let (status, _, problem) = rm(&["--repository", &format!("127.0.0.1:{port}/a")]);
    assert_eq!(status, 1);
    assert!(problem.contains("another deletion"), "{problem}");
}

#[test]
fn another_registry_has_its_tags_deleted_by_digest() {
    let fake = Fake::start(OTHER, &[("a", 1), ("b", 1), ("c", 2), ("d", 3), ("e", 3)]);
    // Another tag would go with it.
    let (status, _, problem) = fake.rm("team/app:a", &[]);
    assert_eq!((status, fake.tags().len()), (1, 5));
    assert!(problem.contains("other tags: b;") && problem.contains(&digest(1)), "{problem}");
    let (status, said, _) = fake.rm("team/app:c", &[]);
    assert_eq!((status, fake.tags().len()), (0, 4), "{said}");
    let (status, said, _) = fake.rm("team/app", &["--repository"]);
    assert_eq!((status, fake.tags().len()), (0, 0));
    assert!(said.contains("4 tags and their 2 manifests") && said.contains("stay"), "{said}");
}

#[test]
fn where_deletion_is_off_the_setting_is_named() {
    let fake = Fake::start(Abilities { off: true, ..THIS }, &[("a", 1)]);
    let by_digest = format!("team/app@{}", digest(1));
    for (target, arguments) in
        [("team/app:a", &[][..]), (&by_digest, &[]), ("team/app", &["--repository"])]
    {
        let (status, _, problem) = fake.rm(target, arguments);
        assert_eq!((status, fake.tags().len()), (1, 1));
        assert!(problem.contains("REGISTRY_STORAGE_DELETE_ENABLED=true"), "{problem}");
    }
}

#[test]
fn passwords_are_those_of_docker_login_or_given() {
    let fake = Fake::start(Abilities { login: true, ..THIS }, &[("a", 1), ("b", 1), ("c", 1)]);
    let (status, _, problem) = fake.rm("team/app:a", &[]);
    assert_eq!((status, fake.tags().len()), (1, 3));
    assert!(problem.contains("docker login 127.0.0.1"), "{problem}");
    let (status, _, problem) = fake.rm("team/app:a", &["--user", "alice", "--password-stdin"]);
    assert_eq!((status, fake.tags().len()), (0, 2), "{problem}");
    let scope = "scope=repository%3Ateam%2Fapp%3Adelete";
    assert!(fake.seen.lock().unwrap().iter().any(|line| line.contains(scope)));
    let (status, _, _) = fake.rm("team/app:b", &["--user", "bob", "--password-stdin"]);
    assert_eq!((status, fake.tags().len()), (1, 2));
    let root = tempfile::tempdir().unwrap();
    let config =
        format!(r#"{{"auths":{{"127.0.0.1:{}":{{"auth":"YWxpY2U6c2VjcmV0"}}}}}}"#, fake.port);
    std::fs::write(root.path().join("config.json"), config).unwrap();
    let config = ["--docker-config", root.path().to_str().unwrap()];
    let (status, _, problem) = fake.rm("team/app:b", &config);
    assert_eq!((status, fake.tags().len()), (0, 1), "{problem}");
}

#[test]
fn a_password_is_for_one_registry() {
    let [one, other] = [(); 2].map(|()| Fake::start(THIS, &[("a", 1)]));
    let target = format!("127.0.0.1:{}/team/app:a", other.port);
    let user = [&target, "--user", "alice", "--password-stdin"];
    let (status, _, problem) = one.rm("team/app:a", &user);
    assert_eq!((status, problem.contains("--user is for one registry")), (2, true), "{problem}");
    let seen = |fake: &Fake| fake.seen.lock().unwrap().len();
    assert_eq!(seen(&one) + seen(&other), 0);
    assert_eq!(one.rm("team/app:a", &[&target]).0, 0);
}

#[test]
fn mistakes_are_explained() {
    for (arguments, expected) in [
        (&["localhost:5000/a"][..], "--repository"),
        (&["/srv/registry"], "--directory"),
        (&["a/b:c"], "not a registry"),
        (&["--repository", "localhost:5000/a:v1"], "without tag"),
    ] {
        let (status, _, problem) = rm(arguments);
        assert_eq!(status, 2);
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn json_says_what_became_of_each_target() {
    let fake = Fake::start(THIS, &[("a", 1), ("b", 1)]);
    let at = |tag: &str| format!("127.0.0.1:{}/team/app:{tag}", fake.port);
    let (status, said, problem) = rm(&["-o", "json", &at("a"), &at("none")]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, fake.tags()), (3, vec!["b".to_owned()]), "{problem}");
    let results: Vec<_> = said["targets"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&results[0]["target"], &results[0]["result"]),
        (&at("a").into(), &"deleted".into())
    );
    assert_eq!(results[1]["result"], "missing");
    assert!(results[0]["messages"][0].as_str().unwrap().contains(&digest(1)), "{said}");
}
