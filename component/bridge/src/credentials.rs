//! Credentials of the platform for an object store, which a native host gets for
//! the component. A request to [`AUTHORITY`] has nothing but the empty header
//! [`REQUEST`]; the response has a `Result` as JSON in the header [`ANSWER`]: a
//! `Credential` of the crate `roadstead-buckets`, or why there is none.

use http::HeaderName;

/// The authority at which a native host answers.
pub const AUTHORITY: &str = "credentials.internal";

/// The header of a request.
pub const REQUEST: HeaderName = HeaderName::from_static("credentials-request");

/// The header of a response that holds the answer.
pub const ANSWER: HeaderName = HeaderName::from_static("credentials-answer");
