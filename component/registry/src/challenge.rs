//! Why a request is challenged, and the access that it needs.

use std::fmt;

/// Why a request is answered with a challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It has no credentials.
    Missing,
    /// Its `Authorization` header is malformed.
    Malformed,
    /// Its user name or password is wrong.
    Credentials,
    /// Its token is invalid, for this reason.
    Token(String),
    /// Its token does not grant the needed access.
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
                f.write_str("the token does not grant this access; request one with this scope")
            }
        }
    }
}

/// The access that a request needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scope {
    /// The type of resource.
    pub kind: &'static str,
    /// The resource's name.
    pub name: String,
    /// The actions on it, separated by commas.
    pub actions: &'static str,
    /// The source repository of a mount, if any.
    pub from: Option<String>,
}
