//! Which source is chosen, what it may reach, and how its failures are shared. The
//! protocols of the sources are tried in `tests/stores/platform.rs`.

use super::fetch::{Fetching, Origin};
use super::{
    Credential, Credentials, FETCH_TIME, Given, GivenKey, RESPONSE_LIMIT, RETRY_TIME, Source,
    choose, profile,
};
use crate::{Clock, Refusal, is_unavailable};
use async_trait::async_trait;
use futures::future::{BoxFuture, join_all, pending};
use object_store::CredentialProvider as _;
use object_store::client::{HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use roadstead_config::{Cloud, Config};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const S3: &[(&str, &str)] = &[("S3_BUCKET", "images"), ("S3_REGION", "eu-central-1")];
const GCS: &[(&str, &str)] = &[("GCS_BUCKET", "images")];
const AZURE: &[(&str, &str)] = &[("AZURE_ACCOUNTNAME", "acme"), ("AZURE_CONTAINER", "images")];

fn cloud(settings: &[(&str, &str)]) -> Cloud {
    let settings = settings
        .iter()
        .map(|(name, value)| (format!("REGISTRY_STORAGE_{name}"), (*value).to_owned()));
    Config::from_variables(settings).unwrap().cloud.unwrap()
}

fn chosen(settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Option<Source>, String> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(found, _)| *found == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    choose(&cloud(settings), variable)
}

const ID: (&str, &str) = ("AWS_ACCESS_KEY_ID", "AKIA");
const SECRET: (&str, &str) = ("AWS_SECRET_ACCESS_KEY", "tell-nobody");
const ROLE: (&str, &str) = ("AWS_ROLE_ARN", "arn:role");
const WEB: (&str, &str) = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token");
const TASK: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1");
const POD_TOKEN: (&str, &str) = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token");
const POD: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/c");
const TENANT: (&str, &str) = ("AZURE_TENANT_ID", "t");
const CLIENT: (&str, &str) = ("AZURE_CLIENT_ID", "c");

/// Checks which source is chosen, and that it has these addresses and no others.
fn check_choice(
    settings: &[(&str, &str)],
    variables: &[(&str, &str)],
    what: &str,
    origins: &[&str],
) {
    let source = chosen(settings, variables).unwrap().unwrap();
    let shown = source.to_string();
    assert!(shown.starts_with(what), "{variables:?}: {shown}");
    assert_eq!(source.origins().collect::<Vec<_>>(), origins, "{variables:?}");
    assert!(origins.iter().all(|origin| shown.contains(origin)), "{shown}");
    let all = format!("{shown} {source:?}");
    assert!(!all.contains("tell-nobody"), "{all}");
}

#[test]
fn the_first_source_of_amazon_is_chosen() {
    for (settings, variables, what, origins) in [
        (S3, &[ID, SECRET, WEB, ROLE, TASK, POD][..], "AWS_ACCESS_KEY_ID and", &[][..]),
        (
            S3,
            &[WEB, ROLE, TASK, POD, POD_TOKEN],
            "the role arn:role, by the web identity token /token",
            &["https://sts.eu-central-1.amazonaws.com"],
        ),
        (
            S3,
            &[WEB, ROLE, ("AWS_REGION", "us-west-2")],
            "the role",
            &["https://sts.us-west-2.amazonaws.com"],
        ),
        (
            S3,
            &[WEB, ROLE, ("AWS_REGION", "cn-north-1")],
            "the role",
            &["https://sts.cn-north-1.amazonaws.com.cn"],
        ),
        (
            S3,
            &[WEB, ROLE, ("AWS_STS_REGIONAL_ENDPOINTS", "legacy")],
            "the role",
            &["https://sts.amazonaws.com"],
        ),
        // A role alone is for other tools.
        (S3, &[ROLE, TASK, POD, POD_TOKEN], "the role of the ECS", &["http://169.254.170.2"]),
        (S3, &[POD, POD_TOKEN], "EKS Pod Identity", &["http://169.254.170.23"]),
        (S3, &[], "the role of the instance (IMDSv2)", &["http://169.254.169.254"]),
        (
            S3,
            &[("AWS_ACCESS_KEY_ID", ""), ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6")],
            "the role of the instance",
            &["http://[fd00:ec2::254]"],
        ),
        (
            S3,
            &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:80/")],
            "the role of the instance",
            &["http://127.0.0.1"],
        ),
    ] {
        check_choice(settings, variables, what, origins);
    }
}

#[test]
fn the_first_source_of_google_and_of_azure_is_chosen() {
    for (settings, variables, what, origins) in [
        (
            GCS,
            &[][..],
            "the service account of the machine or the pod",
            &["http://metadata.google.internal", "http://169.254.169.254"][..],
        ),
        (GCS, &[("GCE_METADATA_HOST", "127.0.0.1:9")], "the service", &["http://127.0.0.1:9"]),
        (
            GCS,
            &[("GCE_METADATA_IP", "127.0.0.1:9")],
            "the service",
            &["http://metadata.google.internal", "http://127.0.0.1:9"],
        ),
        (
            AZURE,
            &[TENANT, CLIENT, ("AZURE_CLIENT_SECRET", "tell-nobody")],
            "the client c of the tenant t, with its secret",
            &["https://login.microsoftonline.com"],
        ),
        (
            AZURE,
            &[
                TENANT,
                CLIENT,
                ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
                ("AZURE_AUTHORITY_HOST", "https://login.chinacloudapi.cn/"),
            ],
            "the client c of the tenant t, by the token /token (workload identity)",
            &["https://login.chinacloudapi.cn"],
        ),
        (
            AZURE,
            &[("IDENTITY_ENDPOINT", "http://127.0.0.1:41/msi"), ("IDENTITY_HEADER", "x"), CLIENT],
            "the managed identity of the app",
            &["http://127.0.0.1:41"],
        ),
        (AZURE, &[CLIENT], "the managed identity of the machine", &["http://169.254.169.254"]),
    ] {
        check_choice(settings, variables, what, origins);
    }
}

#[test]
fn keys_of_the_settings_need_no_source() {
    let keys = [("S3_ACCESSKEY", "a"), ("S3_SECRETKEY", "b")];
    let settings = [S3, &keys].concat();
    assert!(chosen(&settings, &[ID, SECRET]).unwrap().is_none());
}

#[test]
fn variables_that_are_not_valid() {
    let full = |url| [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url), POD_TOKEN];
    for (settings, variables, expected) in [
        (S3, &[ID][..], "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together"),
        (S3, &[SECRET], "belong together"),
        (S3, &[WEB], "AWS_WEB_IDENTITY_TOKEN_FILE needs AWS_ROLE_ARN"),
        (S3, &[POD], "needs AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        // It would be put behind an address.
        (S3, &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@evil.test/")], "must begin with /"),
        (S3, &full("http://10.0.0.1/"), "plain HTTP to 10.0.0.1"),
        (S3, &full("http://169.254.169.254/"), "plain HTTP to 169.254.169.254"),
        (S3, &full("http://localhost.evil.test/"), "plain HTTP to localhost.evil.test"),
        (S3, &full("http://a:tell-nobody@127.0.0.1/"), "must be a URL such as"),
        (S3, &full("ftp://127.0.0.1/"), "must be a URL such as"),
        (S3, &[WEB, ROLE, ("AWS_ENDPOINT_URL_STS", "http://sts.test")], "must be https://"),
        (S3, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "x")], "must be IPv4 or IPv6"),
        (S3, &[("AWS_EC2_METADATA_DISABLED", "True")], "AWS_EC2_METADATA_DISABLED is true"),
        (S3, &[("AWS_PROFILE", "a"), ("HOME", "/nowhere")], "/nowhere/.aws/credentials"),
        (S3, &[("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")], "/nowhere"),
        (GCS, &[("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")], "/nowhere"),
        (AZURE, &[("AZURE_FEDERATED_TOKEN_FILE", "/token")], "need AZURE_TENANT_ID and"),
        (
            AZURE,
            &[
                TENANT,
                CLIENT,
                ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
                ("AZURE_AUTHORITY_HOST", "http://login.test"),
            ],
            "AZURE_AUTHORITY_HOST: plain HTTP to login.test",
        ),
    ] {
        let problem = chosen(settings, variables).unwrap_err();
        assert!(problem.contains(expected), "{variables:?}: {problem}");
        assert!(problem.starts_with("credentials for "), "{problem}");
        assert!(!problem.contains("tell-nobody"), "{problem}");
    }
}

#[test]
fn profiles() {
    let key = |id: &str, secret: &str, token: Option<&str>| {
        let token = token.map(str::to_owned);
        Ok(Some(Credential::Key { id: id.to_owned(), secret: secret.to_owned(), token }))
    };
    let file = "; comment\n[default]\naws_access_key_id=a\naws_secret_access_key = b=c\n\
                [ registry ]\r\nAWS_ACCESS_KEY_ID = d\r\naws_secret_access_key=e\r\n\
                aws_session_token = f\r\nregion = x\ns3 =\n  aws_access_key_id = nested\n\
                # aws_access_key_id = g\n[half]\naws_access_key_id = tell-nobody\n\
                [assumed]\nrole_arn = arn\nsource_profile = default\n";
    for (name, expected) in [
        ("default", key("a", "b=c", None)),
        ("registry", key("d", "e", Some("f"))),
        ("other", Ok(None)),
        ("half", Err("it needs aws_access_key_id and aws_secret_access_key")),
        ("assumed", Err("role_arn is not supported here")),
    ] {
        match (profile::parse(file, name), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{name}"),
            (Err(found), Err(expected)) => {
                assert!(found.contains(expected) && !found.contains("tell-nobody"), "{found}");
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
}

/// A clock whose pauses end at once, but for the time of a fetch unless it may pass.
#[derive(Clone, Debug)]
struct Impatient(bool);

impl Clock for Impatient {
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        if time == FETCH_TIME && !self.0 { Box::pin(pending()) } else { Box::pin(async {}) }
    }
}

/// Google's metadata server: a token that needs to be renewed, or a failure, or no
/// answer, or too much of it.
#[derive(Clone, Debug, Default)]
struct Metadata {
    asked: Arc<Mutex<Vec<String>>>,
    fails: Arc<AtomicBool>,
    /// How often it responds with 500 before anything else.
    breaks: usize,
    hangs: bool,
    large: bool,
    /// The token is valid for long.
    lasts: bool,
}

#[async_trait]
impl HttpService for Metadata {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let serial = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(request.uri().to_string());
            asked.len()
        };
        tokio::task::yield_now().await;
        if self.hangs {
            pending::<()>().await;
        }
        let padding = "x".repeat(if self.large { RESPONSE_LIMIT } else { 0 });
        let seconds = if self.lasts { 3600 } else { 60 };
        let token = format!("{{\"access_token\":\"{serial}{padding}\",\"expires_in\":{seconds}}}");
        let mut response = HttpResponse::new(HttpResponseBody::from(token.into_bytes()));
        if self.fails.load(Ordering::Relaxed) {
            *response.status_mut() = http::StatusCode::NOT_FOUND;
        } else if serial <= self.breaks {
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        }
        Ok(response)
    }
}

static REPORTS: AtomicUsize = AtomicUsize::new(0);

fn connect(service: &Metadata, clock: Impatient) -> Arc<dyn Credentials> {
    let source = chosen(GCS, &[]).unwrap().unwrap();
    let report = |problem: &str| {
        assert!(problem.ends_with("; the previous ones are used meanwhile"), "{problem}");
        REPORTS.fetch_add(1, Ordering::Relaxed);
    };
    source.connect(service.clone(), clock, report).unwrap()
}

#[tokio::test]
async fn concurrent_callers_share_a_fetch() {
    let service = Metadata { lasts: true, ..Metadata::default() };
    let credentials = connect(&service, Impatient(false));
    let all = join_all((0..50).map(|_| credentials.current())).await;
    let first = Ok(Credential::Bearer("1".to_owned()));
    assert!(all.iter().all(|found| *found == first), "{all:?}");
    assert_eq!(service.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failure_is_shared() {
    let service = Metadata::default();
    service.fails.store(true, Ordering::Relaxed);
    let credentials = connect(&service, Impatient(false));
    let all = join_all((0..50).map(|_| credentials.current())).await;
    for found in all {
        let problem = found.unwrap_err();
        for part in ["no credentials from the service account", "404", "REGISTRY_STORAGE_GCS_KEY"] {
            assert!(problem.contains(part), "{problem}");
        }
    }
    // Both addresses, once.
    assert_eq!(service.asked.lock().unwrap().len(), 2, "within {RETRY_TIME:?}");
}

/// The credentials that there are serve on, and the failure is for the log.
#[tokio::test]
async fn failures_are_bridged() {
    let service = Metadata::default();
    let credentials = connect(&service, Impatient(false));
    let first = credentials.current().await.unwrap();
    service.fails.store(true, Ordering::Relaxed);
    // object_store asks again after a tenth of a second.
    while service.asked.lock().unwrap().len() == 1 {
        assert_eq!(credentials.current().await.unwrap(), first);
        tokio::task::yield_now().await;
    }
    assert_eq!(credentials.current().await.unwrap(), first);
    assert_eq!(REPORTS.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_source_that_hangs() {
    let service = Metadata { hangs: true, ..Metadata::default() };
    let problem = connect(&service, Impatient(true)).current().await.unwrap_err();
    assert!(problem.contains("no response in 10s; give the machine"), "{problem}");
}

#[tokio::test]
async fn responses_are_bounded() {
    let service = Metadata { large: true, ..Metadata::default() };
    let problem = connect(&service, Impatient(false)).current().await.unwrap_err();
    assert!(problem.contains("limit"), "{problem}");
}

/// A provider reaches its source, and nothing else.
#[tokio::test]
async fn other_addresses_are_denied() {
    let service = Metadata::default();
    let origin = Origin::of(&"http://169.254.170.2".parse().unwrap()).unwrap();
    let fetching = Fetching::new(service.clone(), Impatient(false), vec![origin]);
    for (uri, allowed) in [
        ("http://169.254.170.2/v2", true),
        ("http://169.254.170.2:80/v2", true),
        ("https://169.254.170.2/v2", false),
        ("http://169.254.170.2:8080/v2", false),
        ("http://169.254.169.254/latest", false),
        ("http://169.254.170.2@evil.test/", false),
        ("http://169.254.170.2.evil.test/", false),
    ] {
        let mut request = HttpRequest::new(object_store::client::HttpRequestBody::empty());
        *request.uri_mut() = uri.parse().unwrap();
        let answer = fetching.call(request).await;
        assert_eq!(answer.is_ok(), allowed, "{uri}: {answer:?}");
    }
    assert_eq!(service.asked.lock().unwrap().len(), 2);
}

/// What asks for a token is sent again, whatever its method.
#[tokio::test]
async fn a_source_that_breaks_is_asked_again() {
    for method in [http::Method::GET, http::Method::POST] {
        let service = Metadata { breaks: 2, ..Metadata::default() };
        let origin = Origin::of(&"http://169.254.170.2".parse().unwrap()).unwrap();
        let fetching = Fetching::new(service.clone(), Impatient(false), vec![origin]);
        let mut request = HttpRequest::new(object_store::client::HttpRequestBody::empty());
        *request.uri_mut() = "http://169.254.170.2/token".parse().unwrap();
        *request.method_mut() = method;
        assert_eq!(fetching.call(request).await.unwrap().status(), http::StatusCode::OK);
        assert_eq!(service.asked.lock().unwrap().len(), 3);
    }
}

/// Clients are asked to retry, and the log has the reason.
#[tokio::test]
async fn a_store_without_credentials_is_unavailable() {
    let service = Metadata::default();
    service.fails.store(true, Ordering::Relaxed);
    let given = Given(connect(&service, Impatient(false)));
    let error = GivenKey(given).get_credential().await.unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    assert!(matches!(Refusal::cause_of(&error), Some(Refusal::NoCredentials(_))));
    assert!(error.to_string().contains("no credentials from the service account"), "{error}");
}

#[test]
fn causes_are_brief_and_without_urls() {
    for (cause, expected) in [
        (
            "GET http://169.254.170.2/v2/credentials/tell-nobody failed: 500",
            "GET http://169.254.170.2 failed: 500",
        ),
        ("url (https://h:1?token=tell-nobody) is wrong", "url (https://h:1 is wrong"),
        ("refused\n<html>long</html>", "refused"),
    ] {
        assert_eq!(super::shared::brief(cause), expected);
    }
    assert_eq!(super::shared::brief(&"ü".repeat(5000)).chars().count(), 1024);
}

#[test]
fn credentials_fit_headers() {
    let key = |id: &str, secret: &str, token: Option<&str>| Credential::Key {
        id: id.to_owned(),
        secret: secret.to_owned(),
        token: token.map(str::to_owned),
    };
    for (credential, fits) in [
        (Credential::Bearer("abc.def".to_owned()), true),
        (Credential::Bearer(String::new()), false),
        (Credential::Bearer("abc\n".to_owned()), false),
        (key("ID", "secret", None), true),
        (key("ID", "secret", Some("token")), true),
        (key("ID", "secret", Some("tok\u{7f}en")), false),
        (key("I D", "secret", None), false),
        (key("ID", "", None), false),
    ] {
        assert_eq!(credential.checked().is_ok(), fits);
    }
}

/// Nobody's token goes over a network in plain text, nor is a variable's line break part of
/// it.
#[test]
fn tokens_need_tls() {
    for (settings, refused) in [
        (&[("GCS_BUCKET", "images"), ("GCS_ENDPOINT", "http://store.example")][..], true),
        (&[("GCS_BUCKET", "images"), ("GCS_ENDPOINT", "http://127.0.0.1:9")], false),
        (&[("GCS_BUCKET", "images"), ("GCS_ENDPOINT", "https://store.example")], false),
    ] {
        let source = chosen(settings, &[]);
        assert_eq!(source.is_err(), refused, "{settings:?}");
    }
    let lines = [("AWS_ACCESS_KEY_ID", "ID\n"), ("AWS_SECRET_ACCESS_KEY", "secret\n")];
    assert!(chosen(S3, &lines).unwrap().unwrap().to_string().starts_with("AWS_ACCESS_KEY_ID"));
}

#[test]
fn lifetimes_are_bounded() {
    for (body, good) in [
        (&b"{\"expires_in\": 3600}"[..], true),
        (b"{\"expires_on\": \"1900000000\"}", true),
        (b"{\"expires_in\": 18446744073709551615}", false),
        (b"{\"expires_on\": \"18446744073709551615\"}", false),
        (b"not JSON", true),
    ] {
        assert_eq!(super::fetch::lives_reasonably(body), good, "{body:?}");
    }
}
