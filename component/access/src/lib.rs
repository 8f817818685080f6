//! Who is who in a registry.
//!
//! The component decides who may do what; this crate tells it whom a request
//! comes from: by passwords of an [`htpasswd`] file, by tokens of the built-in
//! service or of another one, and by the tokens of CI jobs. It runs in the
//! native host, so that the component holds neither passwords nor keys and
//! bcrypt does not stall it, and within the component under hosts that offer
//! nothing of the kind: all calls block, and nothing here does I/O but read
//! files.
//!
//! What may be wrong about a client's word is decided here once:
//!
//! - Passwords: bcrypt, as slow for users that there are not ([`Htpasswd`]);
//!   after failures a pause that grows; what was verified is remembered under a
//!   keyed hash, until the file changes.
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

/// The header in which a question travels to a native host, as JSON.
pub const QUESTION_HEADER: &str = "roadstead-question";

/// The header in which its answer comes back, as JSON.
pub const ANSWER_HEADER: &str = "roadstead-answer";
