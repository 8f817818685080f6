//! The built-in token service: `/v2/token`, as Docker's "Token Authentication
//! Specification" (GET) and "Using `OAuth2`" (POST) have it.

use super::{Answer, Call, Registry, json};
use crate::challenge::Reason;
use crate::{Error, TokenRequest};
use chrono::{DateTime, Utc};
use http::header::{self, HeaderValue};
use roadstead_access::{Answer as Said, Caller, Issued, Question};
use roadstead_storage::{BodyError, RequestBody as _, Storage};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Maximum size of a request's form, in bytes: enough for a refresh token and
/// many scopes.
///
/// Limit: bytes of a form that asks for a token; test:
/// `refresh_tokens`.
const FORM_LIMIT: usize = 64 * 1024;

impl<S: Storage> Registry<S> {
    pub(super) async fn token(
        &self,
        request: TokenRequest,
        caller: Caller,
        call: &mut Call<S::Upload>,
    ) -> Answer<S> {
        let Some(issuer) = self.gate.issuer() else { return Err(Error::NoTokens) };
        let (request, caller) = match request {
            TokenRequest { form: false, .. } => (request, caller),
            TokenRequest { form: true, .. } => self.read_form(call).await?,
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
            BodyError::TooLarge => Error::TokenRequest("the form is too long"),
            BodyError::Aborted => Error::BodyAborted,
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
        match self.gate.ask(question).await {
            Said::Caller(caller) => Ok((request, caller)),
            Said::Refused(refusal) => Err(self.gate.refused(refusal, &call.headers)),
            Said::Issued(_) => Err(Error::Internal("a token came unasked".to_owned())),
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
