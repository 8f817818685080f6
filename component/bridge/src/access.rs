//! Questions about credentials. A request to [`AUTHORITY`] has a `Question` of
//! the crate `roadstead-access` as JSON in the header [`QUESTION`]; the
//! response has an `Answer` in the header [`ANSWER`]. Neither has a body.

use http::HeaderName;

/// The authority at which a native host answers.
pub const AUTHORITY: &str = "auth.internal";

/// The header of a request that holds the question.
pub const QUESTION: HeaderName = HeaderName::from_static("auth-question");

/// The header of a response that holds the answer.
pub const ANSWER: HeaderName = HeaderName::from_static("auth-answer");
