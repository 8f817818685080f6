//! Tokens of the built-in service.

use super::{
    OTHER, RSA, auth, bearer, known, now, open, part, password, refused, sign, signer, token, user,
};
use crate::htpasswd::hash;
use crate::{
    Access, Answer, Authority, Issued, Question, Refusal, Subject, TOKEN_LIMIT, TokenError,
};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, SystemTime};

const SECRET: &str = "a secret of the operator's";

fn entries() -> String {
    format!("alice:{} bob:{}", hash("a", 4).unwrap(), hash("b", 4).unwrap())
}

/// An authority that issues tokens, with more settings.
fn service(more: &[(&str, &str)]) -> Authority {
    let entries = entries();
    let mut settings = vec![("AUTH", "token"), ("AUTH_HTPASSWD_ENTRIES", &*entries)];
    settings.extend_from_slice(more);
    open(&settings).unwrap()
}

fn issue(authority: &Authority, subject: Subject, refresh: bool, at: SystemTime) -> Issued {
    let access = Access::parse_all("repository:a/b:pull,push registry:catalog:*");
    match authority.answer(&Question::Issue { subject, access, refresh }, at) {
        Answer::Issued(issued) => issued,
        other => panic!("{other:?}"),
    }
}

fn refresh(authority: &Authority, token: &str) -> Answer {
    authority.answer(&Question::Refresh { token: token.to_owned() }, SystemTime::now())
}

#[test]
fn issued_tokens_are_accepted() {
    let job = Subject {
        claims: [("repository".to_owned(), "acme/app".to_owned())].into(),
        ..Subject::default()
    };
    for (settings, expires_in) in [
        (&[][..], 300),
        (&[("HTTP_SECRET", SECRET)], 300),
        (&[("HTTP_SECRET", SECRET), ("AUTH_TOKEN_EXPIRATION", "1h")], 3600),
    ] {
        let authority = service(settings);
        for subject in [user("alice"), job.clone(), Subject::default()] {
            let issued = issue(&authority, subject.clone(), false, SystemTime::now());
            assert_eq!((issued.expires_in, issued.refresh_token), (expires_in, None));
            let Answer::Caller(caller) = bearer(&authority, &issued.token) else { panic!() };
            assert_eq!(caller.subject, subject);
            assert_eq!(caller.until, Some(issued.issued_at + expires_in));
            let access = caller.access.clone().unwrap();
            for (kind, name, action, allowed) in [
                ("repository", "a/b", "pull", true),
                ("repository", "a/b", "push", true),
                ("repository", "a/b", "delete", false),
                ("repository", "a/b/c", "pull", false),
                ("registry", "catalog", "*", true),
                ("repository", "catalog", "*", false),
            ] {
                assert_eq!(Access::allows(&access, kind, name, action), allowed, "{name} {action}");
            }
            let last = SystemTime::UNIX_EPOCH + Duration::from_secs(issued.issued_at + expires_in);
            assert!(caller.is_current(last - Duration::from_secs(1)) && !caller.is_current(last));
        }
    }
}

#[test]
fn tokens_are_good_for_their_time_and_their_service() {
    let authority = service(&[("HTTP_SECRET", SECRET)]);
    let minutes = |count| Duration::from_mins(count);
    let other_service = [("HTTP_SECRET", SECRET), ("AUTH_TOKEN_SERVICE", "other.example")];
    for (issuer, at, expected) in [
        (service(&[("HTTP_SECRET", SECRET)]), SystemTime::now(), None),
        (service(&[("HTTP_SECRET", SECRET)]), SystemTime::now() - minutes(4), None),
        (service(&other_service), SystemTime::now(), Some(TokenError::Audience)),
        (service(&[("HTTP_SECRET", "b")]), SystemTime::now(), Some(TokenError::Signature)),
        (service(&[]), SystemTime::now(), Some(TokenError::Signature)),
        (
            service(&[("HTTP_SECRET", SECRET)]),
            SystemTime::now() - minutes(6),
            Some(TokenError::Expired),
        ),
        (
            service(&[("HTTP_SECRET", SECRET)]),
            SystemTime::now() + minutes(2),
            Some(TokenError::Early),
        ),
    ] {
        let answer = bearer(&authority, &issue(&issuer, user("alice"), false, at).token);
        match expected {
            Some(error) => assert_eq!(answer, refused(error)),
            None => assert!(matches!(answer, Answer::Caller(_)), "{answer:?}"),
        }
    }
}

#[test]
fn forged_tokens_are_not_believed() {
    let authority = service(&[("HTTP_SECRET", SECRET)]);
    let good = issue(&authority, user("bob"), false, SystemTime::now()).token;
    let (header, claims) = (part(&good, 0), part(&good, 1));
    let signature = good.rsplit_once('.').unwrap().1;
    let with = |base: &Value, name: &str, value: Value| {
        let mut changed = base.clone();
        changed[name] = value;
        changed
    };
    let hmac = |secret: &str| EncodingKey::from_secret(secret.as_bytes());
    let rsa = signer(RSA.0, Algorithm::RS256);
    let header_of = |algorithm: &str| with(&header, "alg", json!(algorithm));
    let alice = with(&claims, "subject", json!({ "user": "alice" }));
    let later = with(&claims, "exp", json!(now() + 1_000_000));
    let kept = |_: &[u8]| signature.to_owned();
    for (name, token, expected) in [
        ("another user", token(&header, &alice, kept), TokenError::Signature),
        ("a later end", token(&header, &later, kept), TokenError::Signature),
        ("no signature", token(&header, &claims, |_| String::new()), TokenError::Signature),
        ("none", token(&header_of("none"), &claims, |_| String::new()), TokenError::Malformed),
        ("None", token(&header_of("None"), &claims, |_| String::new()), TokenError::Malformed),
        ("none, signed", token(&header_of("none"), &claims, kept), TokenError::Malformed),
        (
            "the secret itself as a key",
            token(&header, &claims, sign(&hmac(SECRET), Algorithm::HS256)),
            TokenError::Signature,
        ),
        (
            "no key",
            token(&header, &claims, sign(&hmac(""), Algorithm::HS256)),
            TokenError::Signature,
        ),
        (
            "a public key as a key",
            token(&header_of("RS256"), &claims, sign(&hmac(OTHER.1), Algorithm::HS256)),
            TokenError::Algorithm,
        ),
        (
            "an algorithm of keys that it has none of",
            token(&header_of("RS256"), &claims, sign(&rsa, Algorithm::RS256)),
            TokenError::Algorithm,
        ),
        (
            "another HMAC",
            token(&header_of("HS512"), &claims, sign(&hmac(SECRET), Algorithm::HS512)),
            TokenError::Algorithm,
        ),
        ("an extension", token(&with(&header, "crit", json!(["x"])), &claims, kept), {
            TokenError::Malformed
        }),
        ("nothing", String::new(), TokenError::Malformed),
        ("two parts", "e30.e30".to_owned(), TokenError::Malformed),
        ("four parts", format!("{good}.x"), TokenError::Malformed),
        ("too long", format!("{good}{}", "A".repeat(TOKEN_LIMIT)), TokenError::Malformed),
    ] {
        assert_eq!(bearer(&authority, &token), refused(expected), "{name}");
        assert_eq!(refresh(&authority, &token), refused(expected), "{name}");
    }
}

#[test]
fn a_refresh_token_replaces_a_password_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    fs::write(&path, entries().replace(' ', "\n")).unwrap();
    let settings = [
        ("AUTH", "token"),
        ("AUTH_HTPASSWD_PATH", path.to_str().unwrap()),
        ("HTTP_SECRET", SECRET),
    ];
    let authority = open(&settings).unwrap();
    let [alice, bob] =
        ["alice", "bob"].map(|name| issue(&authority, user(name), true, SystemTime::now()));
    let (token, refresh_token) = (alice.token, alice.refresh_token.unwrap());
    assert_eq!(bearer(&authority, &refresh_token), refused(TokenError::Audience));
    assert_eq!(refresh(&authority, &token), refused(TokenError::Audience));
    assert_eq!(refresh(&authority, &refresh_token), known("alice"));
    // Another instance with the same secret accepts it too.
    assert_eq!(refresh(&open(&settings).unwrap(), &refresh_token), known("alice"));
    assert!(!refresh_token.contains("$2y$") && part(&refresh_token, 1).get("access").is_none());

    // Alice gets a new password, and bob is removed.
    fs::write(&path, format!("alice:{}", hash("new", 4).unwrap())).unwrap();
    authority.reload().unwrap();
    assert_eq!(bearer(&authority, &bob.token), refused(TokenError::User), "removed");
    assert!(matches!(bearer(&authority, &token), Answer::Caller(_)), "still a user");
    assert_eq!(refresh(&authority, &refresh_token), refused(TokenError::Expired));
    assert_eq!(refresh(&authority, &bob.refresh_token.unwrap()), refused(TokenError::Expired));
    // The same password with a new salt is another entry.
    fs::write(&path, format!("alice:{}", hash("a", 4).unwrap())).unwrap();
    authority.reload().unwrap();
    assert_eq!(authority.answer(&password("alice", "a"), SystemTime::now()), known("alice"));
    assert_eq!(refresh(&authority, &refresh_token), refused(TokenError::Expired));

    let days = |count: u64| SystemTime::now() - Duration::from_hours(24 * count);
    for (age, expected) in [(89, known("alice")), (91, refused(TokenError::Expired))] {
        let issued = issue(&authority, user("alice"), true, days(age));
        assert_eq!(refresh(&authority, &issued.refresh_token.unwrap()), expected, "{age} days");
    }
}

#[test]
fn refresh_tokens_are_for_users_and_outlive_the_process() {
    let lasting = [("HTTP_SECRET", SECRET)];
    let job = Subject {
        claims: [("repository".to_owned(), "acme/app".to_owned())].into(),
        ..Subject::default()
    };
    for (settings, subject, asked, given) in [
        (&lasting[..], user("alice"), true, true),
        (&lasting, user("alice"), false, false),
        (&lasting, user("nobody"), true, false),
        (&lasting, Subject::default(), true, false),
        (&lasting, job, true, false),
        // Without a secret, the key is random for each process.
        (&[], user("alice"), true, false),
    ] {
        let issued = issue(&service(settings), subject.clone(), asked, SystemTime::now());
        assert_eq!(issued.refresh_token.is_some(), given, "{subject:?}");
    }
}

#[test]
fn without_the_service_there_are_no_tokens() {
    let entries = entries();
    let settings = [("AUTH", "htpasswd"), ("AUTH_HTPASSWD_ENTRIES", &*entries)];
    let authority = open(&settings).unwrap();
    let issue = Question::Issue { subject: user("alice"), access: Vec::new(), refresh: true };
    let token = super::issued::issue(&service(&[]), user("alice"), false, SystemTime::now()).token;
    let no = Answer::Refused(Refusal::Token("this registry does not accept tokens".to_owned()));
    assert_eq!(authority.answer(&issue, SystemTime::now()), no);
    assert_eq!(bearer(&authority, &token), no);
    assert_eq!(refresh(&authority, &token), no);

    // Where rules allow something to anonymous users, there are tokens.
    let rules = ("AUTH_RULES", "anonymous pull **; alice all **");
    let authority = open(&[settings[0], settings[1], rules]).unwrap();
    assert!(matches!(authority.answer(&issue, SystemTime::now()), Answer::Issued(_)));
}

#[test]
fn instances_that_share_no_memory_need_a_secret() {
    let entries = entries();
    let variables = |more: &[(&str, &str)]| {
        let mut all = vec![("AUTH", "token"), ("AUTH_HTPASSWD_ENTRIES", &*entries)];
        all.extend_from_slice(more);
        auth(&all)
    };
    let problem = Authority::open(variables(&[]), false).unwrap_err();
    assert!(problem.contains("REGISTRY_HTTP_SECRET"), "{problem}");
    let secret = [("HTTP_SECRET", SECRET)];
    let [one, two] = [(); 2].map(|()| Authority::open(variables(&secret), false).unwrap());
    let token = issue(&one, user("alice"), false, SystemTime::now()).token;
    assert!(matches!(bearer(&two, &token), Answer::Caller(_)));
    assert!(!format!("{one:?}").contains(SECRET) && !format!("{one:?}").contains("$2y$"));
}
