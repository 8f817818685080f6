//! `auth`.

use super::kinds::{Choice, Flag, List, Path, Span, Statements, Text, Tree};
use super::{Scope, Section, Setting, table};
use crate::{MAX_TOKEN_EXPIRATION, MIN_TOKEN_EXPIRATION};
use roadstead_access::DEFAULT_TOKEN_EXPIRATION;

// Which of the sections below has settings decides how users authenticate, so
// the component is told of each of them, by presence at least.

/// What `auth` chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AuthKind {
    None,
    Htpasswd,
    Token,
}

pub(crate) static AUTH_HTPASSWD: Section = Section::not_empty(
    "auth.htpasswd",
    "name the file of users with {auth.htpasswd.path}, or remove it",
)
.unless(&AUTH.row);

pub(crate) static AUTH_TOKEN: Section = Section::not_empty(
    "auth.token",
    "set {auth.token.expiration} to issue tokens here, or the keys and the issuer of another \
     token service, or remove it",
)
.unless(&AUTH.row);

pub(crate) static AUTH_OIDC: Section = Section::not_empty(
    "auth.oidc",
    "set {auth.oidc.issuer} and {auth.oidc.audience}, or remove it",
);

pub(crate) static RULES: Section = Section::not_empty(
    "auth.rules",
    "write rules, or remove it if every authenticated user may do everything",
);

table! {
    AUTH_TABLE:

    AUTH: Choice<Option<AuthKind>> = Setting::new(
        "auth",
        Scope::Both,
        Choice {
            default: None,
            words: &[
                ("htpasswd", Some(AuthKind::Htpasswd)),
                ("token", Some(AuthKind::Token)),
                ("none", Some(AuthKind::None)),
            ],
            also: &[],
            refused: &[],
            boolean: None,
            blank: true,
        },
        "How users authenticate: with passwords, with tokens (of the registry's own token service \
         or of another one), or not at all.",
    )
    .by_default("by the settings below, if any; else `none`")
    .help("htpasswd or token; see docs/access.md");

    AUTH_HTPASSWD_PATH: Path = Setting::new(
        "auth.htpasswd.path",
        Scope::HostAndPresence,
        Path("file"),
        "The users and their bcrypt hashes, as `roadstead htpasswd -B` writes them. Changes are \
         seen while the registry runs.",
    )
    .help("the file of users; roadstead htpasswd makes it")
    .differs(
        "a missing file, or a directory as in Debian's own file, stops the start, and no user is \
         made up",
    );

    AUTH_HTPASSWD_ENTRIES: Text = Setting::new(
        "auth.htpasswd.entries",
        Scope::HostAndPresence,
        Text("entries with white space between them"),
        "The entries of such a file, in place of a file.",
    )
    .ours()
    .secret();

    AUTH_HTPASSWD_REALM: Text = Setting::new(
        "auth.htpasswd.realm",
        Scope::Component,
        Text("ASCII text without quotes and backslashes"),
        "The realm of password challenges, which some clients show.",
    )
    .by_default("`Roadstead`")
    .differs("it has a default");

    AUTH_RULES: Statements = Setting::new(
        "auth.rules",
        Scope::Both,
        Statements("rules; as text, with `;` or line breaks between them"),
        "Who may do what: `alice pull,push team/**; anonymous pull public/**`. With rules, what \
         none of them allows is denied; without, authenticated users may do everything.",
    )
    .ours()
    .help("as in: alice pull,push team/**; anonymous pull public/**");

    AUTH_PLAINHTTP: Flag = Setting::new(
        "auth.plainhttp",
        Scope::Host,
        Flag(false),
        "`true`: passwords are accepted over plain HTTP on a network, as behind a proxy that \
         terminates TLS. Otherwise the start is refused where that could happen.",
    )
    .ours();

    AUTH_TOKEN_REALM: Text = Setting::new(
        "auth.token.realm",
        Scope::Component,
        Text("URL"),
        "Where clients get tokens.",
    )
    .by_default("the registry's own `/v2/token`; required with another token service")
    .differs("without `rootcertbundle` and `jwks`, the registry issues tokens itself");

    AUTH_TOKEN_SERVICE: Text = Setting::new(
        "auth.token.service",
        Scope::Both,
        Text("ASCII text without quotes and backslashes"),
        "The tokens' audience.",
    )
    .by_default("`roadstead`; required with another token service");

    AUTH_TOKEN_EXPIRATION: Span = Setting::new(
        "auth.token.expiration",
        Scope::Both,
        Span {
            default: DEFAULT_TOKEN_EXPIRATION,
            least: MIN_TOKEN_EXPIRATION,
            most: MAX_TOKEN_EXPIRATION,
        },
        "How long a token of the registry is valid. A user's removal ends their tokens; a new password does not.",
    )
    .ours();

    AUTH_TOKEN_ISSUER: Text = Setting::new(
        "auth.token.issuer",
        Scope::Both,
        Text("text"),
        "Another token service: the issuer that tokens must name.",
    )
    .by_default("required with another token service");

    AUTH_TOKEN_ROOTCERTBUNDLE: Text = Setting::new(
        "auth.token.rootcertbundle",
        Scope::HostAndPresence,
        Text("file in PEM, or PEM"),
        "Another token service: certificates whose keys sign tokens.",
    )
    .by_default("required with another token service, or `jwks`");

    AUTH_TOKEN_JWKS: Text = Setting::new(
        "auth.token.jwks",
        Scope::HostAndPresence,
        Text("file in JSON, or JSON"),
        "Another token service: the keys that sign tokens, as a JSON Web Key Set.",
    )
    .by_default("required with another token service, or `rootcertbundle`");

    AUTH_TOKEN_SIGNINGALGORITHMS: List = Setting::new(
        "auth.token.signingalgorithms",
        Scope::Both,
        List(
            "`EdDSA`, `ES256`, `ES384`, `PS256`, `PS384`, `PS512`, `RS256`, `RS384` and `RS512`",
        ),
        "Another token service: the algorithms that are accepted.",
    )
    .by_default("all of them")
    .differs("`ES512` and HMAC (`HS…`) are refused");

    AUTH_TOKEN_AUTOREDIRECT: Flag = Setting::new(
        "auth.token.autoredirect",
        Scope::Component,
        Flag(false),
        "Another token service: `true`: it is at `autoredirectpath` on the host under which \
         clients reach the registry.",
    );

    AUTH_TOKEN_AUTOREDIRECTPATH: Text = Setting::new(
        "auth.token.autoredirectpath",
        Scope::Component,
        Text("path"),
        "See `autoredirect`.",
    )
    .by_default("`/auth/token/`");

    AUTH_OIDC_ISSUER: Text = Setting::new(
        "auth.oidc.issuer",
        Scope::Both,
        Text("URL"),
        "The OIDC issuer whose tokens CI jobs log in with, as in \
         `https://token.actions.githubusercontent.com`. Needs `auth.rules`.",
    )
    .ours();

    AUTH_OIDC_AUDIENCE: Text = Setting::new(
        "auth.oidc.audience",
        Scope::Both,
        Text("text"),
        "The audience that these tokens must have.",
    )
    .by_default("required with an issuer")
    .ours();

    AUTH_OIDC_JWKS: Text = Setting::new(
        "auth.oidc.jwks",
        Scope::HostAndPresence,
        Text("URL, file in JSON, or JSON"),
        "The issuer's keys.",
    )
    .by_default("found by the issuer's discovery document")
    .ours();

    SILLY: Tree = Setting::refused(
        "auth.silly",
        "it accepts any credentials; use {auth.htpasswd.path}, or remove it",
        Tree(&["realm", "service"]),
    )
    .even_empty();
}
