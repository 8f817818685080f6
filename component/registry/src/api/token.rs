//! The built-in token service: `/v2/token`, as Docker's "Token Authentication
//! Specification" (GET) and "Using `OAuth2`" (POST) have it.

use super::{Answer, Call, Registry, json};
use crate::challenge::Reason;
use crate::{Error, TokenParameters};
use chrono::{DateTime, Utc};
use http::header::{self, HeaderValue};
use roadstead_access::{Access, Answer as Said, Caller, Issued, Question, SCOPES_LIMIT};
use roadstead_storage::{BodyError, RequestBody as _, Storage};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Maximum size of a request's form, in bytes: enough for a refresh token and
/// many scopes.
///
/// Limit: the bytes of a token request's form; test: `token_requests_are_limited`.
const FORM_LIMIT: usize = 64 * 1024;

/// Maximum length of a request's query, in bytes: enough for the most scopes with
/// the longest names.
///
/// Limit: the bytes of a token request's query; test: `token_requests_are_limited`.
const QUERY_LIMIT: usize = 32 * 1024;

/// The parameters of a token request.
#[derive(Default)]
struct TokenRequest {
    /// `service`: the token's audience.
    service: Option<String>,
    /// `scope`: the requested access; at most [`SCOPES_LIMIT`].
    scopes: Vec<Access>,
    /// Whether a refresh token is requested too.
    refresh: bool,
}

impl<S: Storage> Registry<S> {
    pub(super) async fn token(
        &self,
        parameters: TokenParameters,
        caller: Caller,
        call: &mut Call<S::Upload>,
    ) -> Answer<S> {
        let Some(issuer) = self.gate.issuer() else { return Err(Error::NoTokens) };
        let (request, caller) = match parameters {
            TokenParameters::Query(query) => (TokenRequest::parse(&query)?, caller),
            TokenParameters::Form => self.read_form(call).await?,
        };
        if request.service.as_ref().is_some_and(|service| *service != issuer.service) {
            return Err(Error::TokenRequest("service is not this registry's"));
        }
        if caller.access.is_some() {
            return Err(Error::TokenRequest("an access token is not accepted here"));
        }
        if caller.subject.is_anonymous() && !self.gate.gives_tokens_to_anyone() {
            return Err(Error::Unauthorized {
                challenge: self.gate.basic_challenge(),
                reason: Reason::Missing,
                scope: None,
            });
        }
        let access = self.gate.grant(&caller.subject, request.scopes);
        let mut subject = caller.subject;
        // Not part of the token: the client presents its certificate with each
        // request.
        subject.certificate = None;
        let question = Question::Issue { subject, access, refresh: request.refresh };
        match self.gate.ask(question).await {
            Said::Issued(token) => {
                let mut response = json(said(&token).to_string().into_bytes());
                let no_store = HeaderValue::from_static("no-store");
                response.headers_mut().insert(header::CACHE_CONTROL, no_store);
                Ok(response)
            }
            Said::Refused(refusal) => Err(self.gate.refused(refusal, &call.headers)),
            Said::Caller(_) => Err(Error::Internal("no token was issued".to_owned())),
        }
    }

    /// Reads a `POST` request, whose form contains the credentials.
    async fn read_form(&self, call: &mut Call<S::Upload>) -> Result<(TokenRequest, Caller), Error> {
        let bytes = match call.body.take() {
            Some(body) => body.collect(FORM_LIMIT).await,
            None => Ok(bytes::Bytes::new()),
        };
        let bytes = bytes.map_err(|error| match error {
            BodyError::TooLarge => Error::TokenRequest("the form is longer than 64 KiB"),
            BodyError::Aborted => Error::BodyAborted,
            BodyError::TooSlow => Error::BodyTooSlow,
        })?;
        let mut request = TokenRequest::default();
        let (mut grant, mut user, mut password, mut refresh) = (None, None, None, None);
        for (key, value) in form_urlencoded::parse(&bytes) {
            match &*key {
                "grant_type" => grant = Some(value),
                "username" => user = Some(value),
                "password" => password = Some(value),
                "refresh_token" => refresh = Some(value),
                "access_type" => request.refresh = value == "offline",
                key => request.take(key, &value),
            }
        }
        let question = match (grant.as_deref(), refresh, user, password) {
            (Some("refresh_token"), Some(token), ..) => {
                Question::Refresh { token: Cow::into_owned(token) }
            }
            (Some("password"), _, Some(user), Some(password)) => Question::Password {
                user: user.into_owned(),
                password: password.into_owned(),
                client: self.gate.client(&call.headers),
            },
            _ => {
                return Err(Error::TokenRequest(
                    "grant_type is refresh_token with refresh_token, or password with username \
                     and password",
                ));
            }
        };
        if question.refusal().is_some() {
            return Err(Error::TokenRequest(
                "the credentials are longer than any, or have characters that none have",
            ));
        }
        match self.gate.ask(question).await {
            Said::Caller(caller) => Ok((request, caller)),
            Said::Refused(refusal) => Err(self.gate.refused(refusal, &call.headers)),
            Said::Issued(_) => Err(Error::Internal("a token came unasked".to_owned())),
        }
    }
}

impl TokenRequest {
    fn parse(query: &str) -> Result<Self, Error> {
        if query.len() > QUERY_LIMIT {
            return Err(Error::TokenRequest("the query is longer than 32 KiB"));
        }
        let mut request = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            request.take(&key, &value);
        }
        Ok(request)
    }

    /// Applies a parameter that `GET` and `POST` have in common; others are
    /// ignored.
    fn take(&mut self, key: &str, value: &str) {
        match key {
            "service" if !value.is_empty() => self.service = Some(value.to_owned()),
            "scope" => {
                self.scopes.extend(Access::parse_all(value));
                self.scopes.truncate(SCOPES_LIMIT);
            }
            "offline_token" => self.refresh = value == "true",
            _ => {}
        }
    }
}

fn said(issued: &Issued) -> Value {
    let at = i64::try_from(issued.issued_at).unwrap_or_default();
    let at = DateTime::<Utc>::from_timestamp(at, 0).unwrap_or_default();
    let mut said = json!({
        "token": issued.token,
        "access_token": issued.token,
        "expires_in": issued.expires_in,
        "issued_at": at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    if let Some(token) = &issued.refresh_token {
        said["refresh_token"] = json!(token);
    }
    said
}
