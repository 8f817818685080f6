//! Logging in: by a password with each request, or for a token.

use super::Client;
use crate::credentials::{self, Credentials};
use crate::doctor::challenge::Challenge;
use crate::doctor::http;
use crate::doctor::target::Target;
use crate::push;
use crate::registry::{Content, Registry as _, Unanswered, refusal};
use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, Method, Request, StatusCode, Uri};
use bytes::Bytes;
use form_urlencoded::Serializer;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The most tokens that are kept, each for a repository and what is done there; when there
/// are more, all are forgotten, and asked for again.
///
/// Limit: tokens that a client keeps; test: none, a command uses few repositories.
const TOKENS: usize = 10_000;

/// The client's name towards token services.
const CLIENT_ID: &str = "roadstead";

/// The values of `Authorization` that the registry has accepted. A token is for a repository,
/// and for reading or writing.
#[derive(Default)]
pub(super) struct Login(Mutex<HashMap<Scope, String>>);

/// What a token is for: a repository, whether it is written to, and the repository that a blob
/// is mounted from. A password is for everything.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
struct Scope(Option<(String, bool, Option<String>)>);

impl Scope {
    fn of<T>(request: &Request<T>) -> Self {
        let path = request.uri().path().strip_prefix("/v2/").unwrap_or_default();
        let ends = ["/blobs/", "/manifests/", "/tags/", "/referrers/"];
        let end = ends.iter().filter_map(|end| path.rfind(end)).max();
        let name = end.and_then(|end| path.get(..end)).unwrap_or_default().to_owned();
        let reads = [Method::GET, Method::HEAD].contains(request.method());
        // Whoever asks for the status of an upload has to be able to write.
        let writes = !reads || path.contains("/blobs/uploads/");
        Self(Some((name, writes, mounted_from(request))))
    }
}

/// The repository that a request mounts a blob from.
fn mounted_from<T>(request: &Request<T>) -> Option<String> {
    let query = request.uri().query().filter(|_| *request.method() == Method::POST)?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "from").map(|(_, value)| value.into_owned())
}

impl Login {
    /// With what a request is sent first.
    pub(super) fn of<T>(&self, request: &Request<T>) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&Scope::of(request)).or_else(|| known.get(&Scope::default())).cloned()
    }

    /// Whether something was accepted.
    fn is_known(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Remembers what was accepted.
    pub(super) fn keep<T>(&self, request: &Request<T>, authorization: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TOKENS {
            known.clear();
        }
        if !authorization.starts_with("Bearer") {
            known.insert(Scope::default(), authorization);
            return;
        }
        let scope = Scope::of(request);
        // What may be mounted from elsewhere may be uploaded too.
        if let Scope(Some((name, writes, Some(_)))) = &scope {
            known.insert(Scope(Some((name.clone(), *writes, None))), authorization.clone());
        }
        known.insert(scope, authorization);
    }
}

impl Client {
    /// The header with which the registry should accept the request.
    pub(super) async fn log_in<T>(
        &self,
        request: &Request<T>,
        headers: &HeaderMap,
    ) -> Result<String, Unanswered> {
        let authority = self.target.authority();
        let user = match (&self.user, &self.docker_config) {
            (Some(user), _) => Some(user.clone()),
            (None, Some(directory)) => credentials::find(directory, &authority)?,
            (None, None) => None,
        };
        let challenges = Challenge::all(headers);
        let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if let Some(bearer) = find("bearer") {
            // The registry asks for what it protects: the repository that is written to.
            let also = mounted_from(request).map(|from| format!("repository:{from}:pull"));
            return self.token(bearer, also, user.as_ref()).await;
        }
        if find("basic").is_none() {
            return Err("the registry asks for a login of an unknown kind".to_owned().into());
        }
        let user = user.ok_or_else(|| {
            format!("the registry asks for a login: docker login {authority}, or --user NAME")
        })?;
        Ok(user.basic())
    }

    /// Tries the login of this client's user, also at a registry that answers without one.
    ///
    /// # Errors
    /// When the registry refuses it, or is none.
    pub(crate) async fn try_login(&self) -> Result<(), String> {
        let ask = || Request::get("/v2/").body(Bytes::new()).map_err(|error| error.to_string());
        let mut answer = self.request(ask()?, http::MAX_BODY).await?;
        if let Some(user) = self.user.as_ref().filter(|_| !self.login.is_known()) {
            // It did not ask for a login, but may look at one.
            self.login.keep(&ask()?, user.basic());
            answer = self.request(ask()?, http::MAX_BODY).await?;
        }
        match answer.status {
            StatusCode::OK => Ok(()),
            _ => Err(format!("there is no registry: GET /v2/ is answered {}", refusal(&answer))),
        }
    }

    /// Asks the token service of a challenge for a token. The password goes nowhere
    /// that is less safe than the registry itself.
    async fn token(
        &self,
        challenge: &Challenge,
        also: Option<String>,
        user: Option<&Credentials>,
    ) -> Result<String, Unanswered> {
        let realm = challenge.parameter("realm").unwrap_or_default();
        let wrong = || format!("the registry's token service is not a URL: {realm:?}");
        let uri: Uri = realm.parse().map_err(|_| wrong())?;
        let target: Target = realm.parse().map_err(|_| wrong())?;
        let scheme = target.scheme.ok_or_else(wrong)?;
        self.check_scheme(scheme, || {
            format!("the token service {realm} uses plain HTTP, where passwords can be intercepted")
        })
        .await?;
        let mut asked = Serializer::new(String::new());
        if let Some(service) = challenge.parameter("service") {
            asked.append_pair("service", service);
        }
        for scope in challenge.parameter("scope").into_iter().chain(also.as_deref()) {
            asked.append_pair("scope", scope);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = if let Some(token) = user.and_then(Credentials::refresh_token) {
            asked.append_pair("grant_type", "refresh_token");
            asked.append_pair("client_id", CLIENT_ID).append_pair("refresh_token", token);
            Request::post(path)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Content::from(Bytes::from(asked.finish())))
        } else {
            let joint = if uri.query().is_none() { '?' } else { '&' };
            let path = format!("{path}{joint}{}", asked.finish());
            Request::get(path).body(Content::from(Bytes::new()))
        };
        let request = request.map_err(|error| error.to_string())?;
        let basic = user.filter(|user| user.refresh_token().is_none()).map(Credentials::basic);
        let response = self.send(&target, scheme, &request, basic.as_deref()).await?;
        let answer = http::read(response, http::MAX_BODY).await;
        if push::busy(answer.status, &answer.headers).is_some() {
            let problem = format!("the token service {realm} answers {}", answer.status);
            return Err(Unanswered { problem, passes: true });
        }
        if answer.status != StatusCode::OK {
            let refused =
                [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status);
            let problem = match user {
                Some(user) => {
                    format!("the token service answers {} to {}", answer.status, user.user)
                }
                None if refused => format!(
                    "the registry asks for a login: docker login {}, or --user NAME",
                    self.target.authority()
                ),
                None => format!("the token service {realm} answers {}", answer.status),
            };
            return Err(problem.into());
        }
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = json["token"].as_str().or(json["access_token"].as_str());
        let token = token.ok_or_else(|| "the token service answers without a token".to_owned())?;
        Ok(format!("Bearer {token}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Login, Scope};
    use http::Request;

    fn request(method: &str, path: &str) -> Request<()> {
        Request::builder().method(method).uri(path).body(()).unwrap()
    }

    #[test]
    fn tokens_are_for_what_they_were_asked_for() {
        for (method, path, name, writes, from) in [
            ("GET", "/v2/", "", false, None),
            ("GET", "/v2/a/blobs/b/manifests/latest", "a/blobs/b", false, None),
            ("PUT", "/v2/a/manifests/latest", "a", true, None),
            ("POST", "/v2/a/b/blobs/uploads/?mount=sha256:1&from=c%2Fd", "a/b", true, Some("c/d")),
            ("GET", "/v2/a/b/blobs/uploads/1", "a/b", true, None),
            ("GET", "/v2/a/tags/list?from=b", "a", false, None),
        ] {
            let from = from.map(str::to_owned);
            let expected = Scope(Some((name.to_owned(), writes, from)));
            assert!(Scope::of(&request(method, path)) == expected, "{method} {path}");
        }
        let login = Login::default();
        login.keep(&request("GET", "/v2/a/tags/list"), "Bearer a".to_owned());
        let known = |path| login.of(&request("GET", path));
        assert_eq!(known("/v2/a/manifests/x").as_deref(), Some("Bearer a"));
        assert_eq!(known("/v2/b/manifests/x"), None);
        login.keep(&request("GET", "/v2/b/tags/list"), "Basic b".to_owned());
        assert_eq!(known("/v2/c/manifests/x").as_deref(), Some("Basic b"));
    }
}
