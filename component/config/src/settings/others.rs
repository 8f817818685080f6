//! Names of distribution's, of its version 2 too, in sections without a
//! setting.

use super::kinds::{Leaf, Tree};
use super::{Setting, State, table};

table! {
    OTHERS_TABLE:

    VERSION: Leaf = Setting::ignored("version", "the format has one version, `0.1`", Leaf);

    CATALOG: Tree = Setting::refused(
        "catalog",
        "a page of the catalog has at most 10,000 entries, and 1,000 without `n`; remove it",
        Tree(&["maxentries"]),
    );
    TAGS: Tree = Setting::refused(
        "tags",
        "a page of tags has at most 10,000 entries, and 1,000 without `n`; remove it",
        Tree(&["maxtags"]),
    );
    COMPATIBILITY: Tree = Setting::refused(
        "compatibility",
        "manifests of schema 1 are not served; remove it",
        Tree(&["schema1.signingkeyfile", "schema1.enabled"]),
    );
    MIDDLEWARE: Tree = Setting::refused(
        "middleware",
        "there are no middlewares; use a proxy, or a CDN in front of the registry",
        Tree(&["registry", "repository", "storage"]),
    );
    POLICY_REPOSITORY: Tree = Setting::refused(
        "policy.repository",
        "there are no such policies; limit who may push with {auth.rules}",
        Tree(&["classes"]),
    );
    PROXY: Tree = Setting::refused(
        "proxy",
        "this registry is not a pull-through cache; remove it",
        Tree(&[
            "remoteurl",
            "username",
            "password",
            "exec.command",
            "exec.lifetime",
            "ttl",
            "cachewritetimeout",
            "remotenamespace",
        ]),
    );
    REDIS: Tree = Setting::unused(
        "redis",
        State::IgnoredWithWarning("Redis is not used: caches need no server", |_| false),
        Tree(&["*"]),
    );
    REPORTING: Tree = Setting::refused(
        "reporting",
        "errors are logged to standard error; send them on from there",
        Tree(&["bugsnag", "newrelic"]),
    );
    VALIDATION: Tree = Setting::refused(
        "validation",
        "manifests are always validated; only {validation.manifests.sparse} can be chosen",
        Tree(&[
            "enabled",
            "disabled",
            "manifests.urls.allow",
            "manifests.urls.deny",
            "manifests.indexes.platforms",
            "manifests.indexes.platformlist",
        ]),
    );
}
