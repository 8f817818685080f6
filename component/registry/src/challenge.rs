//! Why a request is challenged, and the access that would be needed.

use std::fmt;

/// Why a request is answered with a challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It has no credentials.
    Missing,
    /// Its `Authorization` header cannot be understood.
    Malformed,
    /// Its user or password is wrong.
    Credentials,
    /// Its token is not accepted, for this reason.
    Token(String),
    /// Its token does not allow what is asked for.
    Scope,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => {
                f.write_str("authentication is required; log in to this registry first")
            }
            Self::Malformed => f.write_str(
                "the Authorization header is neither Basic with a user and a password nor Bearer \
                 with a token",
            ),
            Self::Credentials => f.write_str("the user name or the password is wrong"),
            Self::Token(why) => write!(f, "the token is not accepted: {why}; log in again"),
            Self::Scope => {
                f.write_str("the token does not allow this; get one that does, if its user may")
            }
        }
    }
}

/// What access would be needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scope {
    /// The type of resource.
    pub kind: &'static str,
    /// The resource's name.
    pub name: String,
    /// What is to be done with it, with commas.
    pub actions: &'static str,
    /// Another repository that is read for it, if one is.
    pub from: Option<String>,
}
