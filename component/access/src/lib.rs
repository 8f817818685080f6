//! Authentication of a registry's clients.
//!
//! The component decides who may do what; this crate tells it who sent a
//! request: by passwords of an [`htpasswd`] file, by tokens of the built-in
//! service or of an external one, and by the tokens of CI jobs. It runs in the
//! native host, so that the component holds neither passwords nor keys and
//! bcrypt does not stall it; on other hosts it runs in the component. All calls
//! block, and the only I/O is reading files.
//!
//! How credentials are verified is decided here, once:
//!
//! - Passwords: bcrypt, which takes as long for unknown users ([`Htpasswd`]);
//!   growing delays after failures; verified credentials are cached under a
//!   keyed hash until the file changes.
//! - Tokens: algorithms and keys are the operator's, never the token's
//!   ([`Keys`]).
//!
//! [`Htpasswd`]: htpasswd::Htpasswd

mod authority;
mod cache;
mod guard;
pub mod htpasswd;
mod keys;
mod scope;
mod tokens;

#[cfg(test)]
mod tests;

pub use authority::{Answer, Authority, Caller, Question, Refusal};
pub use cache::{Cache, Fingerprint};
pub use keys::{Keys, TOKEN_LIMIT, TokenError};
pub use scope::{ALL, Access, CATALOG, REGISTRY, REPOSITORY, SCOPES_LIMIT};
pub use tokens::Issued;

/// The header with a question to the native host, as JSON.
pub const QUESTION_HEADER: &str = "roadstead-question";

/// The header with its answer, as JSON.
pub const ANSWER_HEADER: &str = "roadstead-answer";
