//! Azure's services that give tokens.

use super::{Issuer, VALID};
use crate::stand_in::{Answer, Asked, Refusal, Server, plain};
use http::{Method, StatusCode};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// What tokens are for.
const RESOURCE: &str = "https://storage.azure.com";

const INVALID: Refusal = Refusal(StatusCode::BAD_REQUEST, "invalid_request");
const UNAUTHORIZED: Refusal = Refusal(StatusCode::UNAUTHORIZED, "unauthorized_client");

/// The token of a managed identity.
fn managed(issuer: &Issuer, asked: &Asked) -> Answer {
    let resource = asked.get("resource").trim_end_matches('/');
    if asked.get("api-version").is_empty() || resource != RESOURCE {
        return Err(INVALID);
    }
    let token = issuer.issue().ok_or(INVALID)?.token;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let document = serde_json::json!({
        "access_token": token,
        "expires_on": (now + VALID).to_string(),
        "resource": RESOURCE,
        "token_type": "Bearer",
    });
    Ok(plain(&document.to_string()))
}

/// The metadata service of a machine.
/// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
#[derive(Debug)]
pub struct AzureMetadata(Server);

impl AzureMetadata {
    /// Starts it at an address, where `127.0.0.1:0` is any port.
    pub fn start(address: &str, issuer: &Issuer) -> anyhow::Result<Self> {
        let issuer = issuer.clone();
        let server = Server::start(address, move |asked| {
            let flag = asked.header("metadata");
            match asked.head.uri.path() {
                "/metadata/identity/oauth2/token" if flag == Some("true") => {
                    managed(&issuer, asked)
                }
                _ => Err(INVALID),
            }
        })?;
        Ok(Self(server))
    }

    /// Its URL.
    pub fn origin(&self) -> String {
        format!("http://{}", self.0.address)
    }
}

/// The endpoint of App Service, whose callers show a secret of the environment.
/// <https://learn.microsoft.com/azure/app-service/overview-managed-identity>
#[derive(Debug)]
pub struct AppService(Server);

impl AppService {
    /// The secret.
    pub const SECRET: &str = "tell-nobody.app";

    /// Starts it.
    pub fn start(issuer: &Issuer) -> anyhow::Result<Self> {
        let issuer = issuer.clone();
        let server =
            Server::start("127.0.0.1:0", move |asked| match asked.header("x-identity-header") {
                Some(Self::SECRET) if asked.head.uri.path() == "/msi/token" => {
                    managed(&issuer, asked)
                }
                _ => Err(UNAUTHORIZED),
            })?;
        Ok(Self(server))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/msi/token", self.0.address)
    }
}

/// Microsoft Entra, for clients with a secret or with a federated token; either is
/// the pass.
/// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
#[derive(Debug)]
pub struct Entra(Server);

impl Entra {
    /// The tenant and the client.
    pub const TENANT: &str = "tenant";
    /// See [`Self::TENANT`].
    pub const CLIENT: &str = "client";

    /// Starts it.
    pub fn start(issuer: &Issuer) -> anyhow::Result<Self> {
        let issuer = issuer.clone();
        let server = Server::start("127.0.0.1:0", move |asked| Self::token(&issuer, asked))?;
        Ok(Self(server))
    }

    fn token(issuer: &Issuer, asked: &Asked) -> Answer {
        const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let form: BTreeMap<_, _> = form_urlencoded::parse(&asked.body).into_owned().collect();
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let path = format!("/{}/oauth2/v2.0/token", Self::TENANT);
        let valid = asked.head.method == Method::POST
            && asked.head.uri.path() == path
            && field("grant_type") == "client_credentials"
            && field("client_id") == Self::CLIENT
            && field("scope") == format!("{RESOURCE}/.default");
        if !valid {
            return Err(INVALID);
        }
        let pass = issuer.pass();
        let federated =
            field("client_assertion_type") == ASSERTION && field("client_assertion") == pass;
        if !federated && field("client_secret") != pass {
            return Err(UNAUTHORIZED);
        }
        let token = issuer.issue().ok_or(UNAUTHORIZED)?.token;
        let document = serde_json::json!({ "access_token": token, "expires_in": VALID, "token_type": "Bearer" });
        Ok(plain(&document.to_string()))
    }

    /// Its URL, with a slash at its end as AKS sets it.
    pub fn origin(&self) -> String {
        format!("http://{}/", self.0.address)
    }
}
