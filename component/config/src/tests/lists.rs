//! Lists, in all the forms that they come in, and rules as one.

use super::{problem, read};
use roadstead_access::{Action, Rules, Subject};

#[test]
fn forms() {
    for (variables, expected) in [
        (&[][..], &[][..]),
        (&[("HTTP_TRUSTEDPROXIES", "")], &[]),
        (&[("HTTP_TRUSTEDPROXIES", "[]")], &[]),
        (&[("HTTP_TRUSTEDPROXIES", "10.0.0.1")], &["10.0.0.1/32"]),
        (&[("HTTP_TRUSTEDPROXIES", "10.0.0.0/8,fd00::/8")], &["10.0.0.0/8", "fd00::/8"]),
        (&[("HTTP_TRUSTEDPROXIES", " 10.0.0.0/8 , ,fd00::/8, ")], &["10.0.0.0/8", "fd00::/8"]),
        (&[("HTTP_TRUSTEDPROXIES", "[10.0.0.0/8, fd00::/8]")], &["10.0.0.0/8", "fd00::/8"]),
        (&[("HTTP_TRUSTEDPROXIES", "[\"10.0.0.0/8\",'::1']")], &["10.0.0.0/8", "::1/128"]),
        (
            // As a file's lists come, and not in the order of text.
            &[
                ("HTTP_TRUSTEDPROXIES_10", "10.0.0.10"),
                ("HTTP_TRUSTEDPROXIES_2", "10.0.0.2"),
                ("HTTP_TRUSTEDPROXIES_0", "10.0.0.0"),
            ],
            &["10.0.0.0/32", "10.0.0.2/32", "10.0.0.10/32"],
        ),
        (
            &[("HTTP_TRUSTEDPROXIES", "10.0.0.1"), ("HTTP_TRUSTEDPROXIES_0", "10.0.0.2")],
            &["10.0.0.1/32", "10.0.0.2/32"],
        ),
    ] {
        let proxies = read(variables).unwrap().trusted_proxies;
        let proxies: Vec<_> = proxies.iter().map(ToString::to_string).collect();
        assert_eq!(proxies, expected, "{variables:?}");
    }
    for value in ["localhost", "10.0.0.0/33", "10.0.0.0/8 fd00::/8", "*"] {
        let problem = problem(&[("HTTP_TRUSTEDPROXIES", value)]);
        assert!(problem.contains(&format!("{value:?} is not an address or network")), "{problem}");
    }
}

/// An item under a name that nobody reads would be left out silently: a rule,
/// or the authority that clients' certificates must come from.
#[test]
fn items_are_numbered() {
    for (name, expected) in [
        ("AUTH_RULES_TEAM", "REGISTRY_AUTH_RULES_0"),
        ("AUTH_RULES_", "REGISTRY_AUTH_RULES_0"),
        ("AUTH_RULES_0_WHO", "REGISTRY_AUTH_RULES_0"),
        ("AUTH_RULES_-1", "REGISTRY_AUTH_RULES_0"),
        ("AUTH_RULES_+1", "REGISTRY_AUTH_RULES_0"),
        ("AUTH_RULES_01", "REGISTRY_AUTH_RULES_0"),
        ("AUTH_RULES_99999999999", "REGISTRY_AUTH_RULES_0"),
        ("POLICY_IMMUTABLE_RELEASES", "REGISTRY_POLICY_IMMUTABLE_0"),
        ("HTTP_TLS_CLIENTCAS_FILE", "REGISTRY_HTTP_TLS_CLIENTCAS_0"),
        ("HTTP_TLS_LETSENCRYPT_HOSTS_A", "REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS_0"),
        ("HTTP_TRUSTEDPROXIES_X", "REGISTRY_HTTP_TRUSTEDPROXIES_0"),
        ("AUTH_TOKEN_SIGNINGALGORITHMS_X", "REGISTRY_AUTH_TOKEN_SIGNINGALGORITHMS_0"),
    ] {
        let problem = problem(&[(name, "x")]);
        assert_eq!(problem, format!("REGISTRY_{name} is not a setting; did you mean {expected}?"));
    }
}

#[test]
fn rules_in_all_forms() {
    let text = "@team = alice, bob\n@team pull,push team/**\nanonymous pull public/**";
    let expected = Rules::parse(text).unwrap();
    for variables in [
        &[("AUTH_RULES", text)][..],
        &[("AUTH_RULES", "@team=alice,bob;@team pull,push team/**;anonymous pull public/**")],
        &[(
            "AUTH_RULES",
            "\n\n@team = alice, bob # us\r\n\t@team pull, push team/** ;; \n\
                          # all\nanonymous  pull  public/**\n",
        )],
        &[
            ("AUTH_RULES_0", "@team = alice, bob"),
            ("AUTH_RULES_1", "@team pull,push team/**"),
            ("AUTH_RULES_2", "anonymous pull public/**"),
        ],
        &[
            ("AUTH_RULES_9", "@team = alice, bob; @team pull,push team/**"),
            ("AUTH_RULES_10", "anonymous pull public/**"),
        ],
        &[
            ("AUTH_RULES_0", "@team = alice, bob"),
            ("AUTH_RULES", "@team pull,push team/**; anonymous pull public/**"),
        ],
    ] {
        assert_eq!(read(variables).unwrap().auth.rules.as_ref(), Some(&expected), "{variables:?}");
    }
    assert!(!expected.permit(&Subject::default(), Action::Push, "public/a"));
}

/// As text, as items, and both.
#[test]
fn rules_of_immutable_tags() {
    let rule = |config: &crate::Config, repository, tag| {
        config.immutable.rule(repository, tag).map(|rule| rule.name().to_owned())
    };
    for variables in [
        &[("POLICY_IMMUTABLE", "one a,b v.*; two c [0-9]{1,2}")][..],
        &[("POLICY_IMMUTABLE", "one a,b v.*\ntwo c [0-9]{1,2} # days")],
        &[("POLICY_IMMUTABLE_10", "two c [0-9]{1,2}"), ("POLICY_IMMUTABLE_2", "one a, b v.*")],
        &[("POLICY_IMMUTABLE", "two c [0-9]{1,2}"), ("POLICY_IMMUTABLE_0", "one a,b v.*")],
    ] {
        let config = read(variables).unwrap();
        assert_eq!(rule(&config, "b", "v1").as_deref(), Some("one"), "{variables:?}");
        assert_eq!(rule(&config, "c", "12").as_deref(), Some("two"), "{variables:?}");
        assert_eq!(rule(&config, "c", "v1"), None, "{variables:?}");
    }
    for (variables, expected) in [
        (&[("POLICY_IMMUTABLE", "one a")][..], "\"one a\": a rule has a name"),
        (&[("POLICY_IMMUTABLE_0", "one a (")], "not a regular expression"),
        (&[("POLICY_IMMUTABLE_0", "one a b"), ("POLICY_IMMUTABLE_1", "one c d")], "two rules one"),
    ] {
        let problem = problem(variables);
        assert!(problem.starts_with("REGISTRY_POLICY_IMMUTABLE: "), "{problem}");
        assert!(problem.contains(expected), "{problem}");
    }
}

/// As JSON: one text, items, and both.
#[test]
fn policies_of_retention() {
    const A: &str = r#"{"repositories": "a", "keepTags": [{"pushedWithin": "30d"}]}"#;
    const B: &str = r#"{"repositories": ["b"]}"#;
    let policy = |config: &crate::Config, repository| {
        config.retention.policy(repository).map(roadstead_access::RetentionPolicy::name)
    };
    let [both, lines] = [format!("[{A}, {B}]"), format!("[{A},\n\n {B}]")];
    for variables in [
        &[("POLICY_RETENTION_POLICIES", &*both)][..],
        &[("POLICY_RETENTION_POLICIES", &lines)],
        &[("POLICY_RETENTION_POLICIES_10", B), ("POLICY_RETENTION_POLICIES_2", A)],
        &[("POLICY_RETENTION_POLICIES", B), ("POLICY_RETENTION_POLICIES_0", A)],
    ] {
        let config = read(variables).unwrap();
        assert_eq!(policy(&config, "a").as_deref(), Some("1 (a)"), "{variables:?}");
        assert_eq!(policy(&config, "b").as_deref(), Some("2 (b)"), "{variables:?}");
        assert!(config.retention.is_dry_run());
        let real = [variables, &[("POLICY_RETENTION_DRYRUN", "false")]].concat();
        let config = read(&real).unwrap();
        assert!(!config.retention.is_dry_run());
        let expected = "REGISTRY_POLICY_RETENTION_POLICIES has no effect without garbage \
                        collection, which needs REGISTRY_STORAGE_DELETE_ENABLED=true";
        assert_eq!(config.warnings, [expected]);
        let deletes = [&real[..], &[("STORAGE_DELETE_ENABLED", "true")]].concat();
        assert_eq!(read(&deletes).unwrap().warnings, [""; 0]);
    }
    for (variables, expected) in [
        (
            &[("POLICY_RETENTION_POLICIES_0", r#"{"repositories": "a", "keep": 1}"#)][..],
            "REGISTRY_POLICY_RETENTION_POLICIES[0].keep is not a setting; there are repositories,",
        ),
        (
            &[("POLICY_RETENTION_POLICIES", "keep all")],
            "REGISTRY_POLICY_RETENTION_POLICIES: not a list of policies as JSON",
        ),
        (&[("POLICY_RETENTION_KEEP", "1")], "REGISTRY_POLICY_RETENTION_KEEP is not a setting"),
    ] {
        let problem = problem(variables);
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn rules_of_quotas() {
    for variables in [
        &[("POLICY_QUOTAS", "one a,b 5GiB; two c 7 tags")][..],
        &[("POLICY_QUOTAS", "one a,b 5GiB\ntwo c 7 tags # few")],
        &[("POLICY_QUOTAS_10", "two c 7 tags"), ("POLICY_QUOTAS_2", "one a, b 5GiB")],
    ] {
        let config = read(variables).unwrap();
        let rules: Vec<_> = config
            .quotas
            .all()
            .iter()
            .map(|rule| (rule.name(), rule.bytes(), rule.tags()))
            .collect();
        assert_eq!(rules, [("one", Some(5 << 30), None), ("two", None, Some(7))], "{variables:?}");
    }
    for (variables, expected) in [
        (&[("POLICY_QUOTAS", "one a")][..], "\"one a\": a rule has a name"),
        (&[("POLICY_QUOTAS_0", "one a 5 GB 1")], "\"1\" is not a limit"),
    ] {
        let problem = problem(variables);
        assert!(problem.starts_with("REGISTRY_POLICY_QUOTAS: "), "{problem}");
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn no_rules_and_rules_that_allow_nothing() {
    for (variables, some) in [
        (&[][..], false),
        (&[("AUTH_RULES", "")], false),
        (&[("AUTH_RULES", " \n ")], false),
        (&[("AUTH_RULES", "# to be written")], true),
        (&[("AUTH_RULES_0", "")], true),
        (&[("AUTH_RULES", "@team = alice")], true),
    ] {
        let auth = read(variables).unwrap().auth;
        assert_eq!(auth.rules.is_some(), some, "{variables:?}");
        assert_eq!(auth.enabled(), some, "{variables:?}");
        let alice = Subject { user: Some("alice".to_owned()), ..Subject::default() };
        for action in Action::ALL {
            assert!(!auth.rules.as_ref().is_some_and(|rules| rules.permit(&alice, action, "a")));
        }
    }
}

#[test]
fn mistakes_in_rules_are_named() {
    for (variables, expected) in [
        (&[("AUTH_RULES", "alice pull,push")][..], "\"alice pull,push\": "),
        (
            &[("AUTH_RULES_0", "alice pull a"), ("AUTH_RULES_1", "bob write a")],
            "\"write\" is not an action",
        ),
        (&[("AUTH_RULES", "@team pull a")], "@team is not defined above"),
        (&[("AUTH_RULES_1", "@a = b"), ("AUTH_RULES_0", "@a pull a")], "@a is not defined above"),
        (&[("AUTH_RULES", "alice pull a:1")], "not a repository pattern"),
        (&[("AUTH_RULES", "alice pull a//b")], "not a repository pattern"),
        (&[("AUTH_RULES", "= alice")], "REGISTRY_AUTH_RULES: "),
        (&[("AUTH_RULES", "@ = alice")], "a group has a name"),
        (&[("AUTH_RULES", "claim:a=b&c pull a")], "claims have values"),
        (&[("AUTH_RULES", "claim:=b pull a")], "claims have values"),
        (&[("AUTH_RULES", "claim:a=** pull a")], "claims have values"),
        (&[("AUTH_RULES", "claim: pull a")], "claims have values"),
    ] {
        let problem = problem(variables);
        assert!(problem.contains(expected), "{variables:?}: {problem}");
        assert!(problem.starts_with("REGISTRY_AUTH_RULES: "), "{problem}");
    }
    let long = "a".repeat(256 * 1024 + 1);
    assert!(problem(&[("AUTH_RULES", &long)]).len() < 100);
}
