//! What a table is made of: a request, and what the response must be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Uri};
use roadstead_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt;

/// A request, and what the response must be: status 200 with any headers and
/// any body, unless the step says more.
#[derive(Clone, Debug)]
pub struct Step {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    status: StatusCode,
    expected: Vec<(HeaderName, Option<String>)>,
    content: Content,
    /// What is in the body besides.
    said: Vec<String>,
}

/// What the body of a response must be.
#[derive(Clone, Debug)]
enum Content {
    Any,
    Exactly(Bytes),
    Code(&'static str),
    /// An index of these manifests, in any order.
    Manifests(Vec<String>),
}

/// `GET path`. In every path, `{location}` stands for the path and query of
/// the last `Location` that a response had, and `{&}` for what joins another
/// parameter to it.
pub fn get(path: impl Into<String>) -> Step {
    Step::new(Method::GET, path)
}

/// `HEAD path`: the response must have no body.
pub fn head(path: impl Into<String>) -> Step {
    Step::new(Method::HEAD, path).content("")
}

/// `POST path`.
pub fn post(path: impl Into<String>) -> Step {
    Step::new(Method::POST, path)
}

/// `PATCH path`.
pub fn patch(path: impl Into<String>) -> Step {
    Step::new(Method::PATCH, path)
}

/// `PUT path`.
pub fn put(path: impl Into<String>) -> Step {
    Step::new(Method::PUT, path)
}

/// `DELETE path`.
pub fn delete(path: impl Into<String>) -> Step {
    Step::new(Method::DELETE, path)
}

/// Where the data of the blob with a SHA-256 digest is, by distribution's documentation.
///
/// # Panics
/// If it is no such digest.
pub fn data_key(digest: &str) -> String {
    let Some(hex) = digest.strip_prefix("sha256:") else { panic!("{digest}") };
    format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2])
}

/// The SHA-256 digest of bytes, as text.
pub fn digest(bytes: &[u8]) -> String {
    let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes));
    digest.map(|digest| digest.to_string()).unwrap_or_default()
}

/// The SHA-512 digest of bytes, as text.
pub fn digest_sha512(bytes: &[u8]) -> String {
    let digest = Digest::from_bytes(Algorithm::Sha512, &Sha512::digest(bytes));
    digest.map(|digest| digest.to_string()).unwrap_or_default()
}

/// The `Authorization` header of a user.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The path and query of a response's `Location`, which other registries give
/// as a whole URL.
///
/// # Errors
/// When it is not a URL.
pub(super) fn location(response: &Response<Bytes>) -> Result<Option<String>, String> {
    let Some(value) = response.headers().get(LOCATION) else { return Ok(None) };
    let text = value.to_str().map_err(|error| format!("location: {error}"))?;
    // Relative to the path of the request, as those of the page are: no place of an upload.
    if !text.starts_with('/') && !text.contains("://") {
        return Ok(None);
    }
    let uri: Uri = text.parse().map_err(|error| format!("location {text}: {error}"))?;
    Ok(Some(uri.path_and_query().map_or_else(String::new, ToString::to_string)))
}

impl Step {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            status: StatusCode::OK,
            expected: Vec::new(),
            content: Content::Any,
            said: Vec::new(),
        }
    }

    /// Adds a header to the request.
    ///
    /// # Panics
    /// When a header cannot have this value.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    /// Sends a user's name and password.
    #[must_use]
    pub fn login(self, user: &str, password: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), &basic(user, password))
    }

    /// Sends a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The response must have this status.
    ///
    /// # Panics
    /// When this is no status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap();
        self
    }

    /// The header must have this value.
    #[must_use]
    pub fn expect(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.expected.push((HeaderName::from_static(name), Some(value.into())));
        self
    }

    /// The response must not have the header.
    #[must_use]
    pub fn expect_no(mut self, name: &'static str) -> Self {
        self.expected.push((HeaderName::from_static(name), None));
        self
    }

    /// The body must be this one.
    #[must_use]
    pub fn content(mut self, body: impl Into<Bytes>) -> Self {
        self.content = Content::Exactly(body.into());
        self
    }

    /// The body must be an OCI error with this code, and a message.
    #[must_use]
    pub fn error(mut self, status: u16, code: &'static str) -> Self {
        self.content = Content::Code(code);
        self.status(status)
    }

    /// The body must be an index of manifests with these digests, in any order.
    #[must_use]
    pub fn manifests(mut self, digests: &[&str]) -> Self {
        let mut digests: Vec<String> = digests.iter().map(ToString::to_string).collect();
        digests.sort_unstable();
        self.content = Content::Manifests(digests);
        self
    }

    /// The body must have this text in it.
    #[must_use]
    pub fn says(mut self, text: impl Into<String>) -> Self {
        self.said.push(text.into());
        self
    }

    /// The request, after a response with this `Location`.
    ///
    /// # Errors
    /// When the path is not one.
    pub(super) fn request(&self, location: &str) -> http::Result<Request<Bytes>> {
        // Other registries have a query in their locations.
        let joint = if location.contains('?') { "&" } else { "?" };
        let path = self.path.replace("{location}", location).replace("{&}", joint);
        let mut request = Request::builder().method(&self.method).uri(path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(self.body.clone())
    }

    /// Compares a response with what it must be.
    ///
    /// # Errors
    /// The first difference.
    pub(super) fn check(&self, response: &Response<Bytes>) -> Result<(), String> {
        let (status, body) = (response.status(), response.body());
        if status != self.status {
            return Err(format!("status {status} and not {}: {body:?}", self.status));
        }
        for (name, value) in &self.expected {
            let found = response.headers().get(name).and_then(|value| value.to_str().ok());
            if found != value.as_deref() {
                return Err(format!("{name}: {found:?} and not {value:?}"));
            }
        }
        let text = String::from_utf8_lossy(body);
        if let Some(said) = self.said.iter().find(|said| !text.contains(said.as_str())) {
            return Err(format!("body {body:?} without {said:?}"));
        }
        match &self.content {
            Content::Any => Ok(()),
            Content::Exactly(expected) if body == expected => Ok(()),
            Content::Exactly(expected) => Err(format!("body {body:?} and not {expected:?}")),
            Content::Code(code) => check_code(body, code),
            Content::Manifests(expected) => check_manifests(body, expected),
        }
    }
}

/// The body is an index of these manifests.
fn check_manifests(body: &[u8], expected: &[String]) -> Result<(), String> {
    let index: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| format!("not an index: {error}"))?;
    let manifests = index["manifests"].as_array().ok_or("no index")?;
    let digests = manifests.iter().map(|found| found["digest"].as_str().unwrap_or_default());
    let mut digests: Vec<&str> = digests.collect();
    digests.sort_unstable();
    if digests == expected { Ok(()) } else { Err(format!("{digests:?} and not {expected:?}")) }
}

/// The body of an error response has this code, and a message for people.
fn check_code(body: &[u8], code: &str) -> Result<(), String> {
    /// What is shorter is no message, in bytes.
    const SHORTEST: usize = 11;
    let error: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| format!("not an OCI error: {error}"))?;
    let first = &error["errors"][0];
    if first["code"] != code {
        return Err(format!("{error} and not {code}"));
    }
    match first["message"].as_str() {
        Some(message) if message.len() >= SHORTEST => Ok(()),
        _ => Err(format!("no message: {error}")),
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}
