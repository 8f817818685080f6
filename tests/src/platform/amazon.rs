//! Amazon's services that give credentials.

use super::{Issuer, Key, VALID};
use crate::stand_in::{Answer, Asked, Refusal, Server, plain, xml};
use http::{Method, StatusCode};
use std::time::{Duration, SystemTime};

const UNAUTHORIZED: Refusal = Refusal(StatusCode::UNAUTHORIZED, "Unauthorized");
const NOT_FOUND: Refusal = Refusal(StatusCode::NOT_FOUND, "NotFound");
const INVALID: Refusal = Refusal(StatusCode::BAD_REQUEST, "BadRequest");

/// When what is issued now expires.
fn expiration() -> String {
    let time = SystemTime::now() + Duration::from_secs(VALID);
    chrono::DateTime::<chrono::Utc>::from(time).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The document of the services of instances and containers.
fn document(issuer: &Issuer) -> Answer {
    let Key { id, secret, token } = issuer.issue().ok_or(NOT_FOUND)?;
    let document = serde_json::json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": id,
        "SecretAccessKey": secret,
        "Token": token,
        "Expiration": expiration(),
    });
    Ok(plain(&document.to_string()))
}

/// The metadata service of an instance, which takes version 2 only.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>
#[derive(Debug)]
pub struct InstanceMetadata(Server);

impl InstanceMetadata {
    /// Starts it at an address, where `127.0.0.1:0` is any port.
    pub fn start(address: &str, issuer: &Issuer) -> anyhow::Result<Self> {
        const ROLE: &str = "registry";
        const PATH: &str = "latest/meta-data/iam/security-credentials/";
        let issuer = issuer.clone();
        let server = Server::start(address, move |asked| {
            let (method, place) = (&asked.head.method, asked.place.as_str());
            if *method == Method::PUT && place == "latest/api/token" {
                let seconds = asked.header("x-aws-ec2-metadata-token-ttl-seconds");
                let seconds = seconds.and_then(|seconds| seconds.parse::<u32>().ok());
                let valid = seconds.is_some_and(|seconds| (1..=21_600).contains(&seconds));
                return if valid { Ok(plain(&issuer.pass())) } else { Err(INVALID) };
            }
            if asked.header("x-aws-ec2-metadata-token") != Some(&issuer.pass()) {
                return Err(UNAUTHORIZED);
            }
            match place.strip_prefix(PATH) {
                Some("") => Ok(plain(ROLE)),
                Some(ROLE) => document(&issuer),
                _ => Err(NOT_FOUND),
            }
        })?;
        Ok(Self(server))
    }

    /// Its URL.
    pub fn origin(&self) -> String {
        format!("http://{}", self.0.address)
    }
}

/// The agent of ECS, which gives the role of a task.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>
#[derive(Debug)]
pub struct TaskRole(#[expect(dead_code, reason = "it is stopped when it is dropped")] Server);

impl TaskRole {
    /// The path of the task's credentials.
    pub const PATH: &str = "/v2/credentials/0f6a";

    /// Starts it at an address.
    pub fn start(address: &str, issuer: &Issuer) -> anyhow::Result<Self> {
        let issuer = issuer.clone();
        let server = Server::start(address, move |asked| match asked.head.uri.path() {
            Self::PATH => document(&issuer),
            _ => Err(NOT_FOUND),
        })?;
        Ok(Self(server))
    }
}

/// The agent of EKS Pod Identity, whose callers show a token in a file.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
#[derive(Debug)]
pub struct Agent(Server);

impl Agent {
    /// Starts it at an address, where `127.0.0.1:0` is any port.
    pub fn start(address: &str, issuer: &Issuer) -> anyhow::Result<Self> {
        let issuer = issuer.clone();
        let server = Server::start(address, move |asked| {
            let shown = asked.header("authorization");
            match asked.head.uri.path() {
                "/v1/credentials" if shown == Some(&issuer.pass()) => document(&issuer),
                "/v1/credentials" => Err(UNAUTHORIZED),
                _ => Err(NOT_FOUND),
            }
        })?;
        Ok(Self(server))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/v1/credentials", self.0.address)
    }
}

/// The security token service, for web identities.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
#[derive(Debug)]
pub struct SecurityTokens(Server);

impl SecurityTokens {
    /// The role that may be assumed.
    pub const ROLE: &str = "arn:aws:iam::123456789012:role/registry";

    /// Starts it.
    pub fn start(issuer: &Issuer) -> anyhow::Result<Self> {
        let issuer = issuer.clone();
        let server = Server::start("127.0.0.1:0", move |asked| Self::assume(&issuer, asked))?;
        Ok(Self(server))
    }

    fn assume(issuer: &Issuer, asked: &Asked) -> Answer {
        // Parameters come in the query or as a form.
        let form: std::collections::BTreeMap<_, _> =
            form_urlencoded::parse(&asked.body).into_owned().collect();
        let parameter = |name: &str| {
            let found = asked.query.get(name).or_else(|| form.get(name));
            found.map(String::as_str).unwrap_or_default()
        };
        let valid = asked.head.method == Method::POST
            && parameter("Action") == "AssumeRoleWithWebIdentity"
            && parameter("Version") == "2011-06-15"
            && parameter("RoleArn") == Self::ROLE
            && !parameter("RoleSessionName").is_empty();
        if !valid {
            return Err(INVALID);
        }
        if parameter("WebIdentityToken") != issuer.pass() {
            return Err(Refusal(StatusCode::BAD_REQUEST, "InvalidIdentityToken"));
        }
        let denied = Refusal(StatusCode::FORBIDDEN, "AccessDenied");
        let Key { id, secret, token } = issuer.issue().ok_or(denied)?;
        Ok(xml(&format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult><Credentials><SessionToken>{token}</SessionToken>\
             <SecretAccessKey>{secret}</SecretAccessKey><Expiration>{}</Expiration>\
             <AccessKeyId>{id}</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>\
             </AssumeRoleWithWebIdentityResponse>",
            expiration()
        )))
    }

    /// Its URL.
    pub fn origin(&self) -> String {
        format!("http://{}", self.0.address)
    }
}
