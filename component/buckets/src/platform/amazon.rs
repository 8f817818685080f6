//! Amazon's sources, in the order of its SDKs.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>

use super::fetch::Fetching;
use super::profile::{self, Profile};
use super::{Credential, Kind, Source, Variables, is_loopback, origin_in};
use crate::{Clock, RustCrypto, no_retries};
use object_store::aws::{AmazonS3Builder, AwsCredentialProvider};
use object_store::client::HttpService;
use std::sync::Arc;

/// Where a task's role is asked for; object_store has it too.
const TASK_ORIGIN: &str = "http://169.254.170.2";

/// Hosts of [`FULL_URI`] besides this machine that are reached by plain HTTP: the
/// agents of ECS and of EKS, as in Amazon's SDKs.
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// Where an instance's role is asked for, by the mode of the endpoint.
const METADATA: [(&str, &str); 2] =
    [("ipv4", "http://169.254.169.254"), ("ipv6", "http://[fd00:ec2::254]")];

/// The name of sessions, without `AWS_ROLE_SESSION_NAME`.
const SESSION: &str = "roadstead";

const ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const WEB_TOKEN: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const ROLE: &str = "AWS_ROLE_ARN";
const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const POD_TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
const METADATA_ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const METADATA_MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
const METADATA_DISABLED: &str = "AWS_EC2_METADATA_DISABLED";

/// The first source that there is. `region` is that of the settings.
pub(super) fn choose(region: &str, variables: Variables<'_>) -> Result<Source, String> {
    if let Some(found) = in_environment(variables).transpose() {
        return found;
    }
    if let Some(found) = web_identity(region, variables).transpose() {
        return found;
    }
    let (profile, looked_for) = match profile::find(variables)? {
        profile::Search::Found(found) => (Some(found), String::new()),
        profile::Search::Nothing(looked_for) => (None, looked_for),
    };
    if let Some(profile) = profile {
        return Ok(of_profile(profile));
    }
    if let Some(found) = task(variables).or_else(|| pod(variables).transpose()) {
        return found;
    }
    instance(variables, &looked_for)
}

fn in_environment(variables: Variables<'_>) -> Result<Option<Source>, String> {
    let (id, secret) = match (variables(ID), variables(SECRET)) {
        (None, None) => return Ok(None),
        (Some(id), Some(secret)) => (id, secret),
        _ => return Err(format!("{ID} and {SECRET} belong together: set both, or neither")),
    };
    let credential = Credential::Key { id, secret, token: variables("AWS_SESSION_TOKEN") };
    let what = format!("{ID} and {SECRET}");
    Ok(Some(Source::local(what, Kind::Fixed(credential), "correct them, and restart")))
}

fn of_profile(profile: Profile) -> Source {
    let what = profile.to_string();
    Source::local(what, Kind::Profile(profile), "correct the file")
}

/// IAM roles for service accounts (IRSA).
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
fn web_identity(region: &str, variables: Variables<'_>) -> Result<Option<Source>, String> {
    const ENDPOINT: &str = "AWS_ENDPOINT_URL_STS";
    let (token, role) = match (variables(WEB_TOKEN), variables(ROLE)) {
        // Tools that take another role set it.
        (None, _) => return Ok(None),
        (Some(token), Some(role)) => (token, role),
        (Some(_), None) => return Err(format!("{WEB_TOKEN} needs {ROLE}")),
    };
    let given = variables("AWS_REGION").or_else(|| variables("AWS_DEFAULT_REGION"));
    let region = given.unwrap_or_else(|| region.to_owned());
    let endpoint = if let Some(endpoint) = variables(ENDPOINT) {
        endpoint.trim_end_matches('/').to_owned()
    } else if variables("AWS_STS_REGIONAL_ENDPOINTS").as_deref() == Some("legacy") {
        "https://sts.amazonaws.com".to_owned()
    } else {
        let china = if region.starts_with("cn-") { ".cn" } else { "" };
        format!("https://sts.{region}.amazonaws.com{china}")
    };
    // What it is made of, where it is not given.
    let name = if variables(ENDPOINT).is_some() { ENDPOINT } else { "AWS_REGION" };
    let origin = origin_in(name, &endpoint, is_loopback)?;
    let session = variables("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| SESSION.to_owned());
    Ok(Some(Source {
        what: format!("the role {role}, by the web identity token {token}"),
        origins: vec![origin],
        remedy: format!(
            "let the role of {ROLE} trust whoever issued the token, and let this host reach that \
             address"
        ),
        kind: Kind::Amazon(vec![
            ("aws_web_identity_token_file", token),
            ("aws_role_arn", role),
            ("aws_role_session_name", session),
            ("aws_endpoint_url_sts", endpoint),
        ]),
    }))
}

/// The role of a task in ECS.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>
fn task(variables: Variables<'_>) -> Option<Result<Source, String>> {
    let uri = variables(RELATIVE_URI)?;
    // Anything else would become part of the host's name.
    if !uri.starts_with('/') {
        return Some(Err(format!("{RELATIVE_URI} must begin with /")));
    }
    let origin = origin_in(RELATIVE_URI, TASK_ORIGIN, |_| true);
    Some(origin.map(|origin| Source {
        what: "the role of the ECS task".to_owned(),
        origins: vec![origin],
        remedy: "give the task a role (taskRoleArn)".to_owned(),
        kind: Kind::Amazon(vec![("aws_container_credentials_relative_uri", uri)]),
    }))
}

/// EKS Pod Identity.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>
fn pod(variables: Variables<'_>) -> Result<Option<Source>, String> {
    let Some(uri) = variables(FULL_URI) else { return Ok(None) };
    let Some(token) = variables(POD_TOKEN) else {
        return Err(format!("{FULL_URI} needs {POD_TOKEN}"));
    };
    let origin = origin_in(FULL_URI, &uri, |host| AGENTS.contains(&host) || is_loopback(host))?;
    Ok(Some(Source {
        what: "EKS Pod Identity".to_owned(),
        origins: vec![origin],
        remedy: "associate the pod's service account with a role, and see whether the agent runs \
                 on its node"
            .to_owned(),
        kind: Kind::Amazon(vec![
            ("aws_container_credentials_full_uri", uri),
            ("aws_container_authorization_token_file", token),
        ]),
    }))
}

/// The role of an instance, by version 2 of the instance metadata service (IMDS).
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>
fn instance(variables: Variables<'_>, profiles: &str) -> Result<Source, String> {
    let looked_for = format!(
        "REGISTRY_STORAGE_S3_ACCESSKEY and REGISTRY_STORAGE_S3_SECRETKEY; {ID} and {SECRET}; \
         {WEB_TOKEN} and {ROLE}; {profiles}; {RELATIVE_URI}; {FULL_URI} and {POD_TOKEN}"
    );
    if variables(METADATA_DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(format!(
            "there are none. Set one of: {looked_for}. The instance's role is not asked for, \
             because {METADATA_DISABLED} is true"
        ));
    }
    let endpoint = if let Some(endpoint) = variables(METADATA_ENDPOINT) {
        endpoint.trim_end_matches('/').to_owned()
    } else {
        let mode = variables(METADATA_MODE).unwrap_or_else(|| METADATA[0].0.to_owned());
        let known = METADATA.iter().find(|(name, _)| mode.eq_ignore_ascii_case(name));
        let Some((_, endpoint)) = known else {
            return Err(format!("{METADATA_MODE} must be IPv4 or IPv6"));
        };
        (*endpoint).to_owned()
    };
    Ok(Source {
        what: "the role of the instance (IMDSv2)".to_owned(),
        origins: vec![origin_in(METADATA_ENDPOINT, &endpoint, |_| true)?],
        remedy: format!(
            "give the instance a role (and containers a hop limit of 2), or set one of: \
             {looked_for}"
        ),
        kind: Kind::Amazon(vec![("aws_metadata_endpoint", endpoint)]),
    })
}

/// object_store's provider for these settings.
pub(super) fn connect<S, C>(
    settings: &[(&'static str, String)],
    client: Fetching<S, C>,
) -> object_store::Result<AwsCredentialProvider>
where
    S: HttpService + Clone,
    C: Clock + Clone,
{
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name("none")
        .with_crypto_provider(Arc::new(RustCrypto))
        .with_retry(no_retries())
        .with_http_connector(client);
    for (name, value) in settings {
        builder = builder.with_config(name.parse()?, value);
    }
    Ok(Arc::clone(builder.build()?.credentials()))
}
