//! Access: how callers authenticate, and what they may do.
//!
//! [`settings`](Auth) are the registry's settings of both, as types, and
//! [`Rules`] say who may do what. The [`Authority`] authenticates: by passwords
//! of an [`htpasswd`] file, by tokens of the built-in service or of another
//! one, and by the tokens of CI jobs. It runs in the native host, so that the
//! component holds neither passwords nor keys and bcrypt does not stall it, and
//! within the component under hosts without that service: all calls block, and
//! nothing here does I/O but read files.
//!
//! What an attacker may try is handled here once:
//!
//! - Passwords: bcrypt, as slow for unknown users as for known ones
//!   ([`Htpasswd`]); after failures a growing delay; verified passwords are
//!   remembered under a keyed hash until the file changes.
//! - Tokens: algorithms and keys are those of the settings, never the token's
//!   ([`Keys`]).
//!
//! [`Immutable`] says which tags never change, whoever pushes, [`Retention`] which expire, and
//! [`Quotas`] how much repositories may hold: they have the patterns of the rules.
//!
//! [`Htpasswd`]: htpasswd::Htpasswd

mod authority;
mod cache;
mod guard;
pub mod htpasswd;
mod immutable;
mod keys;
mod pattern;
mod quotas;
mod retention;
mod rules;
mod scope;
mod settings;
mod tokens;

#[cfg(test)]
mod tests;

pub use authority::{Answer, Authority, Caller, Question, Refusal};
pub use cache::{CredentialCache, Fingerprint};
pub use immutable::{Immutable, ImmutableRule};
pub use keys::{Keys, TOKEN_LIMIT, TokenError};
pub use quotas::{QuotaRule, Quotas};
pub use retention::{
    Finding, Judged, Outcome, Retention, RetentionPolicy, Rule, TagTimes, Times, Verdict, Why,
};
pub use rules::{Action, Rules, Subject};
pub use scope::{
    ACTIONS_LIMIT, ALL, Access, CATALOG, MAINTENANCE, REGISTRY, REPOSITORY, SCOPES_LIMIT,
};
pub use settings::{
    Auth, DEFAULT_REALM, DEFAULT_SERVICE, DEFAULT_TOKEN_EXPIRATION, External, Issuer, Oidc, Realm,
    Scheme, Secret, Users,
};
pub use tokens::Issued;
