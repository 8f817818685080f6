//! Passwords: which are accepted, what is cached, and what happens when the
//! file changes.

use super::{WRONG, known, open, password};
use crate::htpasswd::{NAME_LIMIT, PASSWORD_LIMIT, hash};
use crate::{Answer, Authority, Question, Refusal, TOKEN_LIMIT};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A line of a file, with bcrypt's minimum cost.
fn entry(user: &str, password: &str) -> String {
    format!("{user}:{}\n", hash(password, 4).unwrap())
}

fn of_file(path: &Path) -> Result<Authority, String> {
    open(&[("AUTH", "htpasswd"), ("AUTH_HTPASSWD_PATH", path.to_str().unwrap())])
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn ask(authority: &Authority, question: &Question) -> Answer {
    authority.answer(question, at(0))
}

/// The cached answer to a question.
fn remembered(authority: &Authority, question: &Question) -> Option<Answer> {
    authority.known(&authority.fingerprint(question).unwrap())
}

/// Nobody's credentials are so long or have such characters: they are refused
/// before they are asked about, as JSON would make them longer still.
#[test]
fn credentials_that_cannot_be_valid() {
    let x = |count| "x".repeat(count);
    for (user, word, possible) in [
        ("alice", "pass:word ü\u{1}", true),
        ("", "eyJ", true),
        (&x(NAME_LIMIT), &x(TOKEN_LIMIT), true),
        (&x(NAME_LIMIT + 1), "secret", false),
        ("al\u{1}ice", "secret", false),
        ("alice\u{7f}", "secret", false),
        ("alice", &"\u{1}".repeat(PASSWORD_LIMIT), true),
        ("alice", &"\u{1}".repeat(PASSWORD_LIMIT + 1), false),
        ("alice", &"ü".repeat(PASSWORD_LIMIT), false),
        ("alice", &x(TOKEN_LIMIT + 1), false),
    ] {
        let refusal = password(user, word).refusal();
        let expected = (!possible).then_some(Refusal::Credentials);
        assert_eq!(refusal, expected, "{user:.20} {word:.20}");
    }
    for (token, possible) in
        [(x(TOKEN_LIMIT), true), (x(TOKEN_LIMIT + 1), false), ("\u{1}".to_owned(), false)]
    {
        let refresh = Question::Refresh { token: token.clone() };
        for question in [refresh, Question::Bearer { token }] {
            let malformed = Refusal::Token("it is not a JSON Web Token".to_owned());
            assert_eq!(question.refusal(), (!possible).then_some(malformed));
        }
    }
}

#[test]
fn only_a_users_own_password_is_accepted() {
    let longest = "x".repeat(PASSWORD_LIMIT);
    let users = entry("alice", "pass:word ü") + &entry("bob", "b") + &entry("long", &longest);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    fs::write(&path, &users).unwrap();
    let from_entries = users.replace('\n', " \t");
    let entries = open(&[("AUTH", "htpasswd"), ("AUTH_HTPASSWD_ENTRIES", &from_entries)]).unwrap();
    for authority in [of_file(&path).unwrap(), entries] {
        assert_eq!(authority.users(), 3);
        for (user, word, right) in [
            ("alice", "pass:word ü", true),
            ("alice", "pass:word", false),
            ("alice", "pass:word ü ", false),
            ("alice", "b", false),
            ("alice", "", false),
            ("Alice", "pass:word ü", false),
            ("bob", "b", true),
            ("bob", "b\0", false),
            ("bob", "b\0b", false),
            ("mallory", "b", false),
            ("", "", false),
            ("long", &longest, true),
            // bcrypt compares only the bytes that these have in common.
            ("long", &format!("{longest}x"), false),
            ("long", &"x".repeat(PASSWORD_LIMIT - 1), false),
        ] {
            let answer = ask(&authority, &password(user, word));
            assert_eq!(answer, if right { known(user) } else { WRONG }, "{user} {word:?}");
        }
    }
}

#[test]
fn verified_passwords_are_cached_until_the_file_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    fs::write(&path, entry("alice", "a") + &entry("bob", "b")).unwrap();
    let authority = of_file(&path).unwrap();
    assert_eq!(authority.settings.files(), [path.as_path()]);
    let (alice, bob) = (password("alice", "a"), password("bob", "b"));
    for question in [&alice, &bob] {
        assert_eq!(remembered(&authority, question), None);
        let answer = ask(&authority, question);
        assert_eq!(remembered(&authority, question), Some(answer));
    }
    let wrong = password("alice", "b");
    assert_eq!(ask(&authority, &wrong), WRONG);
    assert_eq!(remembered(&authority, &wrong), None);
    // Fingerprints of different credentials differ.
    let (one, two) = (password("al", "icea"), password("alice", "a"));
    assert_ne!(authority.fingerprint(&one), authority.fingerprint(&two));

    fs::write(&path, entry("alice", "new")).unwrap();
    assert_eq!(ask(&authority, &bob), known("bob"), "the change has not been noticed yet");
    authority.reload().unwrap();
    assert_eq!(authority.users(), 1);
    for question in [&alice, &bob] {
        assert_eq!(remembered(&authority, question), None);
        assert_eq!(ask(&authority, question), WRONG);
    }
    assert_eq!(ask(&authority, &password("alice", "new")), known("alice"));
}

#[test]
fn a_broken_file_leaves_the_users_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    let good = entry("alice", "a");
    fs::write(&path, &good).unwrap();
    let authority = of_file(&path).unwrap();
    let sha1 = "bob:{SHA}6dyLoiuxr9Dxq1v1kUaB5sqUVZE=\n";
    for (content, expected) in [
        (format!("{good}{sha1}"), "line 2: the hash is SHA-1"),
        (format!("\n# {good}\nbob"), "line 4: an entry is user:hash"),
        (good[..good.len() - 9].to_owned(), "line 1: the bcrypt hash is damaged"),
    ] {
        fs::write(&path, content).unwrap();
        let problem = authority.reload().unwrap_err();
        assert!(problem.contains(expected), "{problem}");
        assert!(problem.contains("REGISTRY_AUTH_HTPASSWD_PATH"), "{problem}");
        assert!(!problem.contains("$2y$") && !problem.contains("6dyL"), "a hash: {problem}");
        assert_eq!(of_file(&path).unwrap_err(), problem, "such a file is refused at startup too");
        assert_eq!(ask(&authority, &password("alice", "a")), known("alice"));
    }
    fs::write(&path, b"\xff\xfe").unwrap();
    assert!(authority.reload().unwrap_err().contains("cannot read"));
    fs::remove_file(&path).unwrap();
    let problem = authority.reload().unwrap_err();
    assert!(problem.contains("; create it with roadstead htpasswd -c "), "{problem}");
    assert_eq!(authority.users(), 1);
}

#[test]
fn without_users_no_password_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    fs::write(&path, "# nobody yet\n").unwrap();
    let authority = of_file(&path).unwrap();
    assert_eq!(authority.users(), 0);
    assert_eq!(ask(&authority, &password("", "")), WRONG);
    assert_eq!(ask(&authority, &password("alice", "a")), WRONG);
    let without_passwords = open(&[("AUTH_RULES", "anonymous pull **")]).unwrap();
    assert_eq!(ask(&without_passwords, &password("alice", "a")), WRONG);
}

#[test]
fn invalid_entries_are_named_by_number_and_not_shown() {
    let entries = format!("{} bob:secret", entry("alice", "a").trim());
    let problem = open(&[("AUTH", "htpasswd"), ("AUTH_HTPASSWD_ENTRIES", &entries)]).unwrap_err();
    assert!(problem.contains("REGISTRY_AUTH_HTPASSWD_ENTRIES: line 2: "), "{problem}");
    assert!(!problem.contains("secret") && !problem.contains("$2y$"), "{problem}");
}

#[test]
fn wrong_passwords_are_throttled() {
    let entries = entry("alice", "a") + &entry("bob", "b");
    let authority = open(&[("AUTH", "htpasswd"), ("AUTH_HTPASSWD_ENTRIES", &entries)]).unwrap();
    let client = |text: &str| -> Option<IpAddr> { Some(text.parse().unwrap()) };
    let ask = |user: &str, word: &str, client, seconds| {
        let (user, password) = (user.to_owned(), word.to_owned());
        authority.answer(&Question::Password { user, password, client }, at(seconds))
    };
    let pause = |seconds| Answer::Refused(Refusal::Pause(seconds));

    // One user, from any address.
    for number in 0..5 {
        assert_eq!(ask("alice", "x", client(&format!("192.0.2.{number}")), 0), WRONG);
    }
    assert_eq!(ask("alice", "x", client("192.0.2.9"), 0), pause(1));
    assert_eq!(ask("alice", "a", None, 0), pause(1), "the correct password has to wait too");
    assert_eq!(ask("alice", "x", None, 1), WRONG);
    assert_eq!(ask("alice", "x", None, 1), pause(2), "longer than before");
    assert_eq!(ask("bob", "b", None, 1), known("bob"), "other users need not wait");
    assert_eq!(ask("alice", "a", None, 3), known("alice"));
    for _ in 0..4 {
        assert_eq!(ask("alice", "x", None, 3), WRONG, "failures before a success are forgiven");
    }

    // One address, with any user name.
    for number in 0..20 {
        assert_eq!(ask(&format!("user{number}"), "x", client("198.51.100.7"), 10), WRONG);
    }
    assert_eq!(ask("carol", "x", client("198.51.100.7"), 10), pause(1));
    assert_eq!(ask("carol", "x", client("::ffff:198.51.100.7"), 10), pause(1), "the same address");
    assert_eq!(ask("carol", "x", client("198.51.100.8"), 10), WRONG);
    assert_eq!(ask("bob", "b", client("198.51.100.7"), 10), known("bob"), "it is cached");
    authority.reload().unwrap();
    assert_eq!(ask("bob", "b", client("198.51.100.7"), 10), pause(1), "it must be verified again");
    assert_eq!(ask("bob", "b", client("198.51.100.7"), 11), known("bob"));
}

/// A file of users is only to be created where there is none: the command would replace all
/// users of another.
#[test]
fn unreadable_files_are_not_to_be_created() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    let problem = |path: &Path| of_file(path).unwrap_err();
    let missing = problem(&path);
    let create = format!("; create it with roadstead htpasswd -c {} USER", path.display());
    assert!(missing.ends_with(&create), "{missing}");
    fs::create_dir(&path).unwrap();
    let of_directory = problem(&path);
    fs::remove_dir(&path).unwrap();
    fs::write(&path, [0xff, 0xfe]).unwrap();
    for said in [of_directory, problem(&path.join("htpasswd")), problem(&path)] {
        assert!(said.contains("cannot read ") && !said.contains("roadstead"), "{said}");
    }
}

#[test]
fn warnings() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    let shown = path.to_str().unwrap();
    let check = |users: &str, scheme: &str, rules: Option<&str>, expected: &[&str]| {
        fs::write(&path, users).unwrap();
        let mut settings = vec![("AUTH", scheme), ("AUTH_HTPASSWD_PATH", shown)];
        settings.extend(rules.map(|rules| ("AUTH_RULES", rules)));
        let warnings = open(&settings).unwrap().warnings();
        assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
        for (warning, expected) in warnings.iter().zip(expected) {
            assert!(warning.contains(expected), "{warning}");
        }
    };
    let (alice, bob) = (entry("alice", "a"), entry("bob", "b"));
    let nobody = "REGISTRY_AUTH_HTPASSWD_PATH has no user, so nobody can log in";
    check("", "htpasswd", None, &[nobody]);
    check("# alice\n", "token", None, &[nobody]);
    check(&alice, "htpasswd", None, &[]);
    let rules = Some("@team = alice, bob; @old = dave; @team pull a; * pull b; anonymous pull c");
    check(&alice, "htpasswd", rules, &["REGISTRY_AUTH_HTPASSWD_PATH does not have: bob; correct"]);
    check(&(alice.clone() + &bob), "htpasswd", rules, &[]);
    check("", "token", rules, &[nobody, "does not have: alice, bob; correct"]);
    let many = (0..12).map(|number| format!("u{number:02} pull a")).collect::<Vec<_>>().join("; ");
    let shown = "u00, u01, u02, u03, u04, u05, u06, u07, u08, u09 and 2 more; correct";
    check(&alice, "htpasswd", Some(&many), &[shown]);
    let entries = [
        ("AUTH", "htpasswd"),
        ("AUTH_HTPASSWD_ENTRIES", alice.as_str()),
        ("AUTH_RULES", "carol pull a"),
    ];
    let [warning] = open(&entries).unwrap().warnings().try_into().unwrap();
    assert!(warning.contains("REGISTRY_AUTH_HTPASSWD_ENTRIES does not have: carol"), "{warning}");
}
