//! Settings of authentication.

use super::{problem, read};
use roadstead_access::{Auth, External, Issuer, Oidc, Realm, Scheme, Users};
use std::time::Duration;

/// A setting's name and value.
type Variable = (&'static str, &'static str);

const PATH: Variable = ("AUTH_HTPASSWD_PATH", "/auth/htpasswd");
const ENTRIES: Variable = ("AUTH_HTPASSWD_ENTRIES", "alice:$2y$05$x");
const RULES: Variable = ("AUTH_RULES", "* all **");
const ANONYMOUS: Variable = ("AUTH_RULES", "anonymous pull **; * all **");
const REALM: Variable = ("AUTH_TOKEN_REALM", "https://auth.example/token");
const SERVICE: Variable = ("AUTH_TOKEN_SERVICE", "registry.example");
const ISSUER: Variable = ("AUTH_TOKEN_ISSUER", "auth.example");
const BUNDLE: Variable = ("AUTH_TOKEN_ROOTCERTBUNDLE", "/auth/bundle.pem");
const JWKS: Variable = ("AUTH_TOKEN_JWKS", "/auth/jwks.json");
const TOKEN: Variable = ("AUTH", "token");
const OIDC: [Variable; 2] = [
    ("AUTH_OIDC_ISSUER", "https://token.actions.githubusercontent.com"),
    ("AUTH_OIDC_AUDIENCE", "registry.example"),
];

fn external() -> External {
    External {
        realm: Realm::Url("https://auth.example/token".to_owned()),
        service: "registry.example".to_owned(),
        issuer: "auth.example".to_owned(),
        certificates: Some("/auth/bundle.pem".to_owned()),
        jwks: None,
        algorithms: Vec::new(),
    }
}

fn auth(variables: &[Variable]) -> Auth {
    read(variables).unwrap_or_else(|problems| panic!("{variables:?}: {problems}")).auth
}

#[test]
fn schemes() {
    let issuer = Issuer::default();
    let minutes = |count| Issuer { expiration: Duration::from_mins(count), ..Issuer::default() };
    for (variables, scheme, enabled, tokens, passwords) in [
        (&[][..], Scheme::None, false, None, false),
        (&[("AUTH", "")], Scheme::None, false, None, false),
        (&[("AUTH", "none")], Scheme::None, false, None, false),
        // Said so, whatever else is left from before.
        (&[("AUTH", "none"), PATH], Scheme::None, false, None, false),
        (&[("AUTH", "htpasswd"), PATH], Scheme::Htpasswd, true, None, true),
        (&[PATH], Scheme::Htpasswd, true, None, true),
        (&[ENTRIES], Scheme::Htpasswd, true, None, true),
        (&[PATH, RULES], Scheme::Htpasswd, true, None, true),
        (&[PATH, ANONYMOUS], Scheme::Htpasswd, true, Some(&issuer), true),
        (&[RULES], Scheme::None, true, None, false),
        (&[ANONYMOUS], Scheme::None, true, None, false),
        (&[TOKEN, PATH], Scheme::Token(issuer.clone()), true, Some(&issuer), true),
        (&[TOKEN, ENTRIES], Scheme::Token(issuer.clone()), true, Some(&issuer), true),
        (
            &[("AUTH_TOKEN_EXPIRATION", "1m"), PATH],
            Scheme::Token(minutes(1)),
            true,
            Some(&minutes(1)),
            true,
        ),
        (
            &[("AUTH_TOKEN_EXPIRATION", "1h"), PATH],
            Scheme::Token(minutes(60)),
            true,
            Some(&minutes(60)),
            true,
        ),
        (&[OIDC[0], OIDC[1], RULES], Scheme::None, true, Some(&issuer), true),
        (
            &[TOKEN, OIDC[0], OIDC[1], RULES],
            Scheme::Token(issuer.clone()),
            true,
            Some(&issuer),
            true,
        ),
        (
            &[REALM, SERVICE, ISSUER, BUNDLE],
            Scheme::External(Box::new(external())),
            true,
            None,
            false,
        ),
    ] {
        let auth = auth(variables);
        assert_eq!(auth.scheme, scheme, "{variables:?}");
        assert_eq!(auth.enabled(), enabled, "{variables:?}");
        assert_eq!(auth.issuer().as_ref(), tokens, "{variables:?}");
        assert_eq!(auth.takes_passwords(), passwords, "{variables:?}");
    }
}

#[test]
fn the_rest() {
    let defaults = auth(&[]);
    assert_eq!((&*defaults.realm, &defaults.users), ("Roadstead", &None));
    assert_eq!((&defaults.oidc, &defaults.secret, defaults.plain_http), (&None, &None, false));
    let set = auth(&[
        PATH,
        ("AUTH_HTPASSWD_REALM", "Registry Realm"),
        ("AUTH_PLAINHTTP", "true"),
        ("HTTP_SECRET", "s"),
    ]);
    assert_eq!(set.users, Some(Users::File("/auth/htpasswd".into())));
    assert_eq!((&*set.realm, set.plain_http), ("Registry Realm", true));
    assert_eq!(set.secret.unwrap().0, "s");

    let jobs = auth(&[OIDC[0], OIDC[1], ("AUTH_OIDC_JWKS", "https://a.example/keys"), RULES]);
    let oidc = Oidc {
        issuer: OIDC[0].1.to_owned(),
        audience: OIDC[1].1.to_owned(),
        jwks: Some("https://a.example/keys".to_owned()),
    };
    assert_eq!(jobs.oidc, Some(oidc));

    let service = auth(&[TOKEN, PATH, REALM, SERVICE]);
    let Scheme::Token(issuer) = service.scheme else { panic!("{:?}", service.scheme) };
    assert_eq!(issuer.realm.as_deref(), Some(REALM.1));
    assert_eq!(issuer.service, SERVICE.1);
}

/// Rules for callers that cannot authenticate start with a warning, by the name that was
/// given or would be next to it.
#[test]
fn rules_that_are_for_nobody() {
    const USERS: &str = "REGISTRY_AUTH_RULES has rules for users, but no user can log in: name the \
                         file of users with REGISTRY_AUTH_HTPASSWD_PATH";
    const CERTIFICATES: &str = "REGISTRY_AUTH_RULES has rules for client certificates";
    const JOBS: &str = "REGISTRY_AUTH_RULES has rules for the claims of CI jobs";
    const ALL: Variable = ("AUTH_RULES", "a pull a; cert:b pull b; claim:c=d push e");
    const TLS: [Variable; 3] = [
        ("HTTP_TLS_CERTIFICATE", "a.crt"),
        ("HTTP_TLS_KEY", "a.key"),
        ("HTTP_TLS_CLIENTCAS_0", "ca.crt"),
    ];
    for (variables, expected) in [
        (&[][..], &[][..]),
        (&[PATH], &[]),
        (&[("AUTH_RULES", "anonymous pull **")], &[]),
        (&[RULES], &[USERS]),
        (&[("AUTH_RULES", "@team = a; @team pull **")], &[USERS]),
        // Nobody is in the group.
        (&[("AUTH_RULES", "@team = a; anonymous pull **")], &[]),
        (&[RULES, ("AUTH", "none"), PATH], &[USERS]),
        (&[RULES, PATH], &[]),
        (&[RULES, REALM, SERVICE, ISSUER, BUNDLE], &[]),
        (&[ALL], &[USERS, CERTIFICATES, JOBS]),
        (&[ALL, PATH], &[CERTIFICATES, JOBS]),
        (&[ALL, PATH, TLS[0], TLS[1]], &[CERTIFICATES, JOBS]),
        (&[ALL, PATH, TLS[0], TLS[1], TLS[2]], &[JOBS]),
        (&[ALL, OIDC[0], OIDC[1]], &[USERS, CERTIFICATES]),
    ] {
        let warnings = read(variables).unwrap().warnings;
        let alike = warnings.iter().zip(expected).all(|(found, start)| found.starts_with(start));
        assert!(alike && warnings.len() == expected.len(), "{variables:?}: {warnings:?}");
    }
}

#[test]
fn services_elsewhere() {
    let base = [TOKEN, SERVICE, ISSUER];
    let path = |path: &str| Realm::Path(path.to_owned());
    let keys = |certificates: Option<&str>, jwks: Option<&str>| External {
        certificates: certificates.map(str::to_owned),
        jwks: jwks.map(str::to_owned),
        ..external()
    };
    for (more, expected) in [
        (&[REALM, BUNDLE][..], external()),
        (&[REALM, JWKS], keys(None, Some(JWKS.1))),
        (&[REALM, JWKS, BUNDLE], keys(Some(BUNDLE.1), Some(JWKS.1))),
        (
            &[REALM, BUNDLE, ("AUTH_TOKEN_SIGNINGALGORITHMS", "ES256, RS256")],
            External { algorithms: vec!["ES256".to_owned(), "RS256".to_owned()], ..external() },
        ),
        (
            &[REALM, BUNDLE, ("AUTH_TOKEN_SIGNINGALGORITHMS_0", "EdDSA")],
            External { algorithms: vec!["EdDSA".to_owned()], ..external() },
        ),
        (
            &[BUNDLE, ("AUTH_TOKEN_AUTOREDIRECT", "true")],
            External { realm: path("/auth/token/"), ..external() },
        ),
        (
            &[
                REALM,
                BUNDLE,
                ("AUTH_TOKEN_AUTOREDIRECT", "true"),
                ("AUTH_TOKEN_AUTOREDIRECTPATH", "/t"),
            ],
            External { realm: path("/t"), ..external() },
        ),
        (&[REALM, BUNDLE, ("AUTH_TOKEN_AUTOREDIRECT", "false")], external()),
    ] {
        let scheme = auth(&[&base, more].concat()).scheme;
        assert_eq!(scheme, Scheme::External(Box::new(expected)), "{more:?}");
    }
}

#[test]
fn mistakes() {
    const ALL_THREE: &str =
        "REGISTRY_AUTH_TOKEN_REALM, REGISTRY_AUTH_TOKEN_SERVICE and REGISTRY_AUTH_TOKEN_ISSUER";
    for (variables, expected) in [
        (&[("AUTH", "ldap")][..], "REGISTRY_AUTH=\"ldap\": must be htpasswd, token or none"),
        (&[("AUTH", "Htpasswd"), PATH], "must be htpasswd, token or none"),
        (&[("AUTH", "htpasswd")], "needs REGISTRY_AUTH_HTPASSWD_PATH, the file of users"),
        (&[("AUTH", "htpasswd"), ("AUTH_HTPASSWD_PATH", " ")], "roadstead htpasswd -Bbn"),
        (&[("AUTH_HTPASSWD_REALM", "a")], "needs REGISTRY_AUTH_HTPASSWD_PATH"),
        (&[PATH, ENTRIES], "are both set; keep one of them"),
        (&[TOKEN], "needs either REGISTRY_AUTH_HTPASSWD_PATH"),
        (
            &[TOKEN, REALM, SERVICE, ISSUER],
            "ROOTCERTBUNDLE or REGISTRY_AUTH_TOKEN_JWKS, the keys of",
        ),
        (&[TOKEN, SERVICE, ISSUER, BUNDLE], ALL_THREE),
        (&[TOKEN, REALM, ISSUER, JWKS], ALL_THREE),
        (&[TOKEN, REALM, SERVICE, JWKS], ALL_THREE),
        (&[PATH, ("AUTH_HTPASSWD_REALM", "a \"b\"")], "REGISTRY_AUTH_HTPASSWD_REALM must be"),
        (&[PATH, ("AUTH_HTPASSWD_REALM", "a\r\nx: y")], "REGISTRY_AUTH_HTPASSWD_REALM must be"),
        (&[PATH, ("AUTH_HTPASSWD_REALM", "Straße")], "REGISTRY_AUTH_HTPASSWD_REALM must be"),
        (&[TOKEN, PATH, ("AUTH_TOKEN_SERVICE", "a\"")], "REGISTRY_AUTH_TOKEN_SERVICE must be"),
        (&[TOKEN, PATH, ("AUTH_TOKEN_SERVICE", "a\nb")], "REGISTRY_AUTH_TOKEN_SERVICE must be"),
        (&[TOKEN, PATH, ("AUTH_TOKEN_EXPIRATION", "59s")], "must be from 1m to 1h"),
        (&[TOKEN, PATH, ("AUTH_TOKEN_EXPIRATION", "61m")], "must be from 1m to 1h"),
        (&[TOKEN, PATH, ("AUTH_TOKEN_EXPIRATION", "5")], "must be a duration"),
        (&[PATH, ("AUTH_PLAINHTTP", "maybe")], "must be true or false"),
        (&[OIDC[0], RULES], "_ISSUER and REGISTRY_AUTH_OIDC_AUDIENCE must both be set"),
        (&[OIDC[1], RULES], "_ISSUER and REGISTRY_AUTH_OIDC_AUDIENCE must both be set"),
        (&[("AUTH_OIDC_JWKS", "x"), RULES], "must both be set"),
        (&OIDC, "REGISTRY_AUTH_OIDC_ISSUER needs REGISTRY_AUTH_RULES"),
        (&[("AUTH_RULES", "alice")], "REGISTRY_AUTH_RULES: \"alice\": a rule says who"),
        (
            &[("AUTH_SILLY_REALM", "x")],
            "it accepts any credentials; use REGISTRY_AUTH_HTPASSWD_PATH",
        ),
        (&[("AUTH_HTPASSWD_FILE", "x")], "did you mean REGISTRY_AUTH_HTPASSWD_PATH?"),
        (&[("AUTH_TOKEN_ALGORITHMS", "x")], "is not a setting; did you mean REGISTRY_AUTH_"),
    ] {
        let problem = problem(variables);
        assert!(problem.contains(expected), "{variables:?}: {problem}");
    }
}
