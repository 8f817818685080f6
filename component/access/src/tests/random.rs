//! Random input: nothing panics, and nothing is accepted.

use super::{JWKS, P256, RSA, open, sign, signer, token};
use crate::htpasswd::Htpasswd;
use crate::{Access, Action, Answer, Authority, Keys, Question, Refusal, Rules, Subject};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use std::time::SystemTime;

const ROUNDS: usize = 20_000;

/// Rules take less time to read than tokens.
const RULES_ROUNDS: usize = 50_000;

/// A generator with a fixed seed, so that failures are reproducible.
struct Random(fastrand::Rng);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    fn text(&mut self, pieces: &[&str], most: usize) -> String {
        (0..self.below(most + 1)).map(|_| pieces[self.below(pieces.len())]).collect()
    }

    /// `text` with one to three edits: characters replaced, dropped or inserted.
    fn damaged(&mut self, text: &str, pieces: &[&str]) -> String {
        let mut characters: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(3) {
            let start = self.below(characters.len() + 1);
            let end = (start + self.below(3)).min(characters.len());
            let piece = self.text(pieces, 1);
            characters.splice(start..end, piece.chars());
        }
        characters.into_iter().collect()
    }
}

fn random() -> Random {
    Random(fastrand::Rng::with_seed(1))
}

const ENTRY: &str = "alice:$2y$04$aPUJ6PfPZtEBWLW2SQbOwujk2WbUdka3xms7DNMBvGOEXM.2iBrm6";

#[test]
fn files_of_users() {
    const PIECES: [&str; 16] = [
        ":", "$", "$2y$", "$2b$04$", "04", "31", "99", "\n", "\r", "#", " ", "\0", "a", "ü", ".",
        "{SHA}",
    ];
    let mut random = random();
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let mut text = random.damaged(&format!("{ENTRY}\nbob{}", &ENTRY[5..]), &PIECES);
        text += &random.text(&PIECES, 8);
        if let Ok(users) = Htpasswd::parse(&text) {
            accepted += 1;
            // Accepted hashes can be compared; costs above the minimum would
            // take too long here.
            if accepted % 50 == 0 && !text.contains("$1") && text.matches("$04$").count() == 2 {
                assert!(!users.verify("alice", "nonsense"), "{text:?}");
            }
        }
    }
    assert!((ROUNDS / 100..ROUNDS / 2).contains(&accepted), "{accepted}");
}

#[test]
fn scopes() {
    const PIECES: [&str; 12] =
        [":", ",", " ", "(", ")", "repository", "registry", "a/b", "pull", "*", "ü", "\0"];
    let mut random = random();
    for _ in 0..ROUNDS {
        let text = random.text(&PIECES, 12);
        for access in Access::parse_all(&text) {
            assert!(!access.kind.is_empty() && !access.name.is_empty(), "{text:?}");
            assert!(!access.kind.contains(['(', ' ']) && !access.name.contains(' '), "{text:?}");
            assert!(access.actions.iter().all(|a| !a.is_empty() && !a.contains([',', ' '])));
            // Parsed scopes survive being written and parsed again.
            let scope = format!("{}:{}:{}", access.kind, access.name, access.actions.join(","));
            assert_eq!(Access::parse_all(&scope), [access], "{text:?}");
        }
    }
}

#[test]
fn sets_of_keys_and_certificates() {
    const PIECES: [&str; 14] =
        ["\"", "{", "}", "[", "]", ",", "null", "-1", "kty", "EC", "\"x\":\"\"", "AAAA", "=", "ü"];
    let mut random = random();
    for _ in 0..ROUNDS / 10 {
        let _ = Keys::new(&[]).unwrap().add_jwks(&random.damaged(JWKS, &PIECES));
        let _ = Keys::new(&[]).unwrap().add_certificates(&random.damaged(RSA.1, &PIECES));
    }
    // Every member is replaced by a value of another type.
    let set: Value = serde_json::from_str(JWKS).unwrap();
    for key in set["keys"].as_array().unwrap() {
        for name in key.as_object().unwrap().keys() {
            for value in [json!(null), json!(0), json!(""), json!("AA"), json!([]), json!("P-521")]
            {
                let mut changed = key.clone();
                changed[name] = value;
                let _ = Keys::new(&[]).unwrap().add_jwks(&json!({ "keys": [changed] }).to_string());
            }
        }
    }
}

#[test]
fn tokens() {
    const PIECES: [&str; 10] = ["A", "_", "-", "=", ".", "e30", "eyJ", "ü", "\0", "AAAA"];
    let authorities = [
        open(&[
            ("AUTH", "token"),
            ("AUTH_TOKEN_REALM", "https://auth.example/token"),
            ("AUTH_TOKEN_SERVICE", "s"),
            ("AUTH_TOKEN_ISSUER", "i"),
            ("AUTH_TOKEN_JWKS", JWKS),
        ])
        .unwrap(),
        open(&[("AUTH", "token"), ("AUTH_HTPASSWD_ENTRIES", ENTRY), ("HTTP_SECRET", "x")]).unwrap(),
        open(&[
            ("AUTH_OIDC_ISSUER", "i"),
            ("AUTH_OIDC_AUDIENCE", "s"),
            ("AUTH_OIDC_JWKS", JWKS),
            ("AUTH_RULES", "claim:sub=x pull **"),
        ])
        .unwrap(),
    ];
    let claims = json!({ "iss": "i", "aud": "s", "exp": super::now() + 1000, "sub": "x" });
    let header = json!({ "alg": "ES256", "kid": "p256-1", "typ": "JWT" });
    let key = signer(P256.0, Algorithm::ES256);
    let good = token(&header, &claims, sign(&key, Algorithm::ES256));
    assert!(matches!(super::bearer(&authorities[0], &good), Answer::Caller(_)));

    let mut random = random();
    for _ in 0..ROUNDS / 10 {
        let damaged = random.damaged(&good, &PIECES);
        if damaged != good {
            check(&authorities, &damaged);
        }
    }
    // Headers with members of any type.
    let values =
        [json!(null), json!(0), json!(""), json!([]), json!(["AA"]), json!({}), json!("x")];
    for name in ["alg", "kid", "x5c", "jwk", "jku", "crit", "x5t", "enc", "zip", "typ", "b64"] {
        for value in &values {
            let mut header = header.clone();
            header[name] = value.clone();
            let signed = token(&header, &claims, |_| "AAAA".to_owned());
            check(&authorities, &signed);
        }
    }
}

/// Asserts that this token is refused in every kind of question.
fn check(authorities: &[Authority], token: &str) {
    for authority in authorities {
        let password = super::password("x", token);
        let mut questions = vec![
            Question::Bearer { token: token.to_owned() },
            Question::Refresh { token: token.to_owned() },
        ];
        // Otherwise it would be compared as a password, by bcrypt.
        if authority.fingerprint(&password).is_none() {
            questions.push(password);
        }
        for question in questions {
            let answer = authority.answer(&question, SystemTime::now());
            let expected =
                matches!(answer, Answer::Refused(Refusal::Token(_) | Refusal::UnknownKey));
            assert!(expected, "{token:?}: {answer:?}");
        }
    }
}

#[test]
fn rules() {
    const PIECES: [&str; 28] = [
        " ",
        " ",
        " ",
        ",",
        ";",
        "\n",
        "#",
        "=",
        "&",
        "@",
        "@a",
        "@a = b\n",
        "*",
        "**",
        "/",
        "a",
        "b/",
        "pull",
        "push",
        "all",
        "catalog",
        "anonymous",
        "claim:",
        "claim:r=a*",
        "cert:",
        ":",
        "ü",
        "\0",
    ];
    let claims = [("r".to_owned(), "ab".to_owned())].into();
    let subjects = [
        Subject::default(),
        Subject { user: Some("a".to_owned()), ..Subject::default() },
        Subject { certificate: Some("a".to_owned()), ..Subject::default() },
        Subject { claims, ..Subject::default() },
    ];
    let mut random = random();
    let mut accepted = 0;
    for _ in 0..RULES_ROUNDS {
        let mut text = random.text(&PIECES, 8);
        if random.below(2) == 0 {
            text = format!("a pull {text}");
        }
        let Ok(rules) = Rules::parse(&text) else { continue };
        accepted += 1;
        for subject in &subjects {
            for action in Action::ALL {
                for repository in ["a", "b/a", "a/b/c"] {
                    let permitted = rules.permit(subject, action, repository);
                    assert!(!permitted || rules.permit_any(subject, action), "{text:?}");
                    // Who is known may do what everyone may.
                    let everyone = rules.permit(&subjects[0], action, repository);
                    assert!(permitted || !everyone, "{text:?}: {subject:?}");
                }
            }
        }
    }
    assert!((RULES_ROUNDS / 50..RULES_ROUNDS / 2).contains(&accepted), "{accepted}");
}
