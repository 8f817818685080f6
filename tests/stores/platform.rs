//! Credentials of the platform, from stand-ins for all that gives some: the host, as
//! a process, pushes and pulls with them, renews them, and says what to do when there
//! are none. The stand-ins for stores take only what was issued last.

use crate::registry::{MANIFEST, manifest};
use http::{HeaderMap, Request, StatusCode};
use roadstead_tests::platform::{
    Agent, AppService, AzureBlobs, AzureMetadata, Entra, GoogleMetadata, GoogleStorage,
    InstanceMetadata, Issuer, S3, SecurityTokens, TaskRole,
};
use roadstead_tests::program;
use roadstead_tests::{
    Registry, Step, Target, Wasmtime, command, digest, get, head, post, put, run, send, skip,
};
use std::any::Any;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where the metadata services of machines are.
const METADATA: &str = "169.254.169.254:80";

/// How long credentials may take to be renewed, or a line to appear in the log.
const LIMIT: Duration = Duration::from_mins(1);

/// What no log and no response may have in it.
const SECRET: &str = "tell-nobody";

/// What is about the environment of the host's process.
#[derive(Default)]
struct Platform {
    /// Its settings and variables.
    variables: Vec<(String, String)>,
    /// The file that holds what callers of a service show, which changes with the
    /// keys.
    pass: Option<PassFile>,
    /// What the log says of the source at the start.
    source: Vec<String>,
    /// What the log says to do when a service issues no more; `None` if no service
    /// issues them.
    failure: Option<&'static str>,
    /// Servers, which are stopped when they are dropped.
    servers: Vec<Box<dyn Any>>,
}

enum PassFile {
    Token(String),
    Profile(String),
}

impl Platform {
    /// The variable has this value and no earlier one: of two with a name, some runtimes
    /// show the first.
    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    fn source(mut self, part: impl Into<String>) -> Self {
        self.source.push(part.into());
        self
    }

    fn fails(mut self, remedy: &'static str) -> Self {
        self.failure = Some(remedy);
        self
    }

    fn holding(mut self, server: impl Any) -> Self {
        self.servers.push(Box::new(server));
        self
    }

    /// Writes what callers show now.
    fn write_pass(&self, issuer: &Issuer) {
        match &self.pass {
            None => {}
            Some(PassFile::Token(file)) => std::fs::write(file, issuer.pass()).unwrap(),
            Some(PassFile::Profile(file)) => {
                let key = issuer.key();
                let text = format!(
                    "[default]\naws_access_key_id = of-somebody-else\naws_secret_access_key = x\n\n\
                     # Of the registry\n[registry]\naws_access_key_id = {}\n\
                     aws_secret_access_key={}\naws_session_token = {}\n",
                    key.id, key.secret, key.token
                );
                std::fs::write(file, text).unwrap();
            }
        }
    }
}

/// A command of the host that has no environment of the test's own platform.
fn serve(home: &Path, variables: &[(String, String)]) -> Command {
    let mut command = command(["serve"]);
    let foreign = ["AWS_", "AZURE_", "GOOGLE_", "GCE_", "IDENTITY_"];
    for (name, _) in std::env::vars() {
        if foreign.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", home)
        .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
        .env("REGISTRY_STORAGE_REDIRECT_DISABLE", "true")
        .envs(variables.iter().map(|(name, value)| (name, value)));
    command
}

/// A blob that S3 itself verifies, signed by the registry and not by object_store.
fn large() -> Vec<u8> {
    (0..=250).cycle().take(6 << 20).collect()
}

const CONFIG: &[u8] = b"{\"architecture\":\"amd64\"}";

fn push_and_pull() -> Vec<Step> {
    let (large, bytes) = (large(), "application/octet-stream");
    let manifest = manifest(&large, CONFIG);
    vec![
        post(format!("/v2/a/b/blobs/uploads/?digest={}", digest(CONFIG)))
            .header("content-type", bytes)
            .body(CONFIG)
            .status(201),
        post(format!("/v2/a/b/blobs/uploads/?digest={}", digest(&large)))
            .header("content-type", bytes)
            .body(large.clone())
            .status(201),
        put("/v2/a/b/manifests/v1")
            .header("content-type", MANIFEST)
            .body(manifest.clone())
            .status(201),
        get("/v2/a/b/manifests/v1").content(manifest),
        get(format!("/v2/a/b/blobs/{}", digest(CONFIG))).content(CONFIG),
        get(format!("/v2/a/b/blobs/{}", digest(&large))).content(large),
        get("/v2/a/b/tags/list").content(r#"{"name":"a/b","tags":["v1"]}"#),
    ]
}

/// Repeats `step` until it is true.
async fn until(what: &str, registry: &Registry, mut step: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !step().await {
        assert!(started.elapsed() < LIMIT, "{what}\n{}", registry.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The whole life of a registry with credentials of one source.
async fn live(name: &str, issuer: &Issuer, platform: Platform) {
    println!("{name}");
    let home = tempfile::tempdir().unwrap();
    platform.write_pass(issuer);
    if platform.failure.is_none() {
        issuer.accept();
    }
    let registry = Registry::serve(serve(home.path(), &platform.variables)).unwrap();
    let log = registry.log();
    let line = log.lines().find(|line| line.contains("credentials for ")).unwrap_or_default();
    for part in &platform.source {
        assert!(line.contains(part), "{name}: {part}: {log}");
    }
    let target = Target::Server(registry.address.clone());
    run(&target, &push_and_pull()).await;
    assert!(issuer.used() > 0, "{name}");
    renew(issuer, &platform, &registry).await;
    end(issuer, &platform, &registry).await;
    assert!(!registry.log().contains(SECRET), "{name}: {}", registry.log());
}

/// Other credentials take the place of the first ones.
async fn renew(issuer: &Issuer, platform: &Platform, registry: &Registry) {
    let target = Target::Server(registry.address.clone());
    if platform.failure.is_some() {
        // New ones are there before the old ones end, and no request fails.
        issuer.rotate();
        platform.write_pass(issuer);
        until("credentials are renewed", registry, async || {
            run(&target, &[get("/v2/a/b/manifests/v1").status(200)]).await;
            issuer.used() > 0
        })
        .await;
    } else if platform.pass.is_some() {
        // A file is read again after a while.
        issuer.rotate();
        issuer.accept();
        platform.write_pass(issuer);
        until("a changed profile is read", registry, async || {
            tags(registry).await == StatusCode::OK
        })
        .await;
    } else {
        return;
    }
    run(&target, &push_and_pull()).await;
}

/// The identity is taken away.
async fn end(issuer: &Issuer, platform: &Platform, registry: &Registry) {
    issuer.end();
    until("503", registry, async || tags(registry).await == StatusCode::SERVICE_UNAVAILABLE).await;
    let steps = [
        get("/v2/a/b/tags/list").error(503, "UNAVAILABLE").expect("retry-after", "5"),
        head("/v2/a/b/manifests/v1").status(503),
        post(format!("/v2/a/b/blobs/uploads/?digest={}", digest(b"new")))
            .header("content-type", "application/octet-stream")
            .body("new")
            .error(503, "UNAVAILABLE"),
    ];
    let target = Target::Server(registry.address.clone());
    run(&target, &steps).await;
    let Some(remedy) = platform.failure else { return };
    until(remedy, registry, async || {
        run(&target, &steps[..1]).await;
        let log = registry.log();
        let line = log.lines().find(|line| line.contains("no credentials from "));
        line.is_some_and(|line| {
            line.contains(remedy) && line.contains("the previous ones are used meanwhile")
        })
    })
    .await;
}

/// The status of a request that needs the store.
async fn tags(registry: &Registry) -> StatusCode {
    let request = Request::get("/v2/a/b/tags/list").body(Vec::new().into()).unwrap();
    let answer = send(&registry.address, request).await.unwrap();
    assert!(!String::from_utf8_lossy(answer.body()).contains(SECRET));
    answer.status()
}

/// A file in a directory, as text.
fn file(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).display().to_string()
}

/// A source's platform, over S3.
fn amazon(issuer: &Issuer) -> Platform {
    let store = S3::start(issuer).unwrap();
    Platform { variables: store.settings(), ..Platform::default() }
        .holding(store)
        .with("AWS_EC2_METADATA_DISABLED", "true")
        .source("credentials for s3://images: ")
}

#[tokio::test]
async fn keys_of_amazon_in_the_environment() {
    let issuer = Issuer::default();
    let key = issuer.key();
    let platform = amazon(&issuer)
        .with("AWS_ACCESS_KEY_ID", key.id)
        .with("AWS_SECRET_ACCESS_KEY", key.secret)
        .with("AWS_SESSION_TOKEN", key.token)
        // Others come later.
        .with("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere")
        .with("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/nothing")
        .source("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    live("the environment", &issuer, platform).await;
}

#[tokio::test]
async fn a_profile_of_amazon() {
    let (issuer, directory) = (Issuer::default(), tempfile::tempdir().unwrap());
    let credentials = file(&directory, "credentials");
    let mut platform = amazon(&issuer)
        .with("AWS_SHARED_CREDENTIALS_FILE", &credentials)
        .with("AWS_PROFILE", "registry")
        .source(format!("the profile registry in {credentials}"));
    platform.pass = Some(PassFile::Profile(credentials));
    live("a profile", &issuer, platform).await;
}

#[tokio::test]
async fn a_web_identity_of_amazon() {
    let (issuer, directory) = (Issuer::default(), tempfile::tempdir().unwrap());
    let (service, token) = (SecurityTokens::start(&issuer).unwrap(), file(&directory, "token"));
    let mut platform = amazon(&issuer)
        .with("AWS_ROLE_ARN", SecurityTokens::ROLE)
        .with("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
        .with("AWS_ENDPOINT_URL_STS", service.origin())
        .source(format!("the role {}, by the web identity token", SecurityTokens::ROLE))
        .source(format!(", at {}", service.origin()))
        .fails("let the role of AWS_ROLE_ARN trust whoever issued the token")
        .holding(service);
    platform.pass = Some(PassFile::Token(token));
    live("a web identity", &issuer, platform).await;
}

#[tokio::test]
async fn a_pod_identity_of_amazon() {
    let (issuer, directory) = (Issuer::default(), tempfile::tempdir().unwrap());
    let agent = Agent::start("127.0.0.1:0", &issuer).unwrap();
    let token = file(&directory, "token");
    let mut platform = amazon(&issuer)
        .with("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.url())
        .with("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token)
        .source("EKS Pod Identity, at http://127.0.0.1:")
        .fails("associate the pod's service account with a role")
        .holding(agent);
    platform.pass = Some(PassFile::Token(token));
    live("a pod identity", &issuer, platform).await;
}

#[tokio::test]
async fn an_instance_of_amazon() {
    let issuer = Issuer::default();
    let service = InstanceMetadata::start("127.0.0.1:0", &issuer).unwrap();
    let platform = amazon(&issuer)
        .with("AWS_EC2_METADATA_DISABLED", "false")
        .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("{}/", service.origin()))
        .source(format!("the role of the instance (IMDSv2), at {}", service.origin()))
        .fails("give the instance a role")
        .holding(service);
    live("an instance", &issuer, platform).await;
}

/// A source's platform, over Google Cloud Storage.
fn google(issuer: &Issuer) -> Platform {
    let store = GoogleStorage::start(issuer).unwrap();
    Platform { variables: store.settings(), ..Platform::default() }
        .holding(store)
        .source("credentials for gs://images: ")
}

#[tokio::test]
async fn a_metadata_server_of_google() {
    let issuer = Issuer::default();
    let service = GoogleMetadata::start("127.0.0.1:0", &issuer).unwrap();
    let platform = google(&issuer)
        .with("GCE_METADATA_HOST", service.address())
        .source(format!("of the machine or the pod, at http://{}", service.address()))
        .fails("give the machine or the pod a service account")
        .holding(service);
    live("a metadata server", &issuer, platform).await;
}

/// A source's platform, over Azure Blob Storage.
fn azure(issuer: &Issuer) -> Platform {
    let store = AzureBlobs::start(issuer).unwrap();
    Platform { variables: store.settings(), ..Platform::default() }
        .holding(store)
        .source("credentials for azure://images: ")
}

#[tokio::test]
async fn a_machine_of_azure() {
    let issuer = Issuer::default();
    let service = AzureMetadata::start("127.0.0.1:0", &issuer).unwrap();
    let platform = azure(&issuer)
        .with("REGISTRY_STORAGE_AZURE_CREDENTIALS_TYPE", "default_credentials")
        .with("AZURE_POD_IDENTITY_AUTHORITY_HOST", service.origin())
        .source(format!("the managed identity of the machine, at {}", service.origin()))
        .fails("assign an identity")
        .holding(service);
    live("a machine of Azure", &issuer, platform).await;
}

#[tokio::test]
async fn an_app_of_azure() {
    let issuer = Issuer::default();
    let service = AppService::start(&issuer).unwrap();
    let platform = azure(&issuer)
        .with("IDENTITY_ENDPOINT", service.url())
        .with("IDENTITY_HEADER", AppService::SECRET)
        .source("the managed identity of the app, at http://127.0.0.1:")
        .fails("assign an identity")
        .holding(service);
    live("an app of Azure", &issuer, platform).await;
}

#[tokio::test]
async fn a_workload_identity_of_azure() {
    let (issuer, directory) = (Issuer::default(), tempfile::tempdir().unwrap());
    let (service, token) = (Entra::start(&issuer).unwrap(), file(&directory, "token"));
    let mut platform = azure(&issuer)
        .with("AZURE_TENANT_ID", Entra::TENANT)
        .with("AZURE_CLIENT_ID", Entra::CLIENT)
        .with("AZURE_FEDERATED_TOKEN_FILE", &token)
        .with("AZURE_AUTHORITY_HOST", service.origin())
        .source("the client client of the tenant tenant, by the token ")
        .source(format!(", at {}", service.origin().trim_end_matches('/')))
        .fails("correct AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE")
        .holding(service);
    platform.pass = Some(PassFile::Token(token));
    live("a workload identity", &issuer, platform).await;
}

#[tokio::test]
async fn a_client_of_azure_in_the_environment() {
    let issuer = Issuer::default();
    let service = Entra::start(&issuer).unwrap();
    let home = tempfile::tempdir().unwrap();
    let platform = azure(&issuer)
        .with("AZURE_TENANT_ID", Entra::TENANT)
        .with("AZURE_CLIENT_ID", Entra::CLIENT)
        .with("AZURE_CLIENT_SECRET", issuer.pass())
        .with("AZURE_AUTHORITY_HOST", service.origin());
    let registry = Registry::serve(serve(home.path(), &platform.variables)).unwrap();
    run(&Target::Server(registry.address.clone()), &push_and_pull()).await;
    let log = registry.log();
    assert!(log.contains("of the tenant tenant, with its secret, at ") && !log.contains(SECRET));
}

/// Services at the addresses that they have on a platform, in a network of its own.
#[tokio::test]
async fn fixed_addresses() {
    const NETWORK: &str = "ip link set lo up
        for address in 169.254.169.254 169.254.170.2 169.254.170.23; do
          ip address add $address/32 dev lo
        done
        exec \"$0\" platform::at_fixed_addresses --exact --ignored --nocapture";
    let possible =
        Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skip("platform::fixed_addresses", "no network of its own: unshare and ip, as root");
        return;
    }
    let output = Command::new("unshare")
        .args(["--net", "sh", "-ec", NETWORK])
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let all = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{all}");
}

#[tokio::test]
#[ignore = "fixed_addresses runs it, in a network of its own"]
async fn at_fixed_addresses() {
    let issuer = Issuer::default();
    let agent = TaskRole::start("169.254.170.2:80", &issuer).unwrap();
    let platform = amazon(&issuer)
        .with("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", TaskRole::PATH)
        .source("the role of the ECS task, at http://169.254.170.2")
        .fails("give the task a role (taskRoleArn)")
        .holding(agent);
    live("a task", &issuer, platform).await;

    let (issuer, directory) = (Issuer::default(), tempfile::tempdir().unwrap());
    let agent = Agent::start("169.254.170.23:80", &issuer).unwrap();
    let token = file(&directory, "token");
    let mut platform = amazon(&issuer)
        .with("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials")
        .with("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token)
        .source("EKS Pod Identity, at http://169.254.170.23")
        .fails("associate the pod's service account with a role")
        .holding(agent);
    platform.pass = Some(PassFile::Token(token));
    live("a pod", &issuer, platform).await;

    let issuer = Issuer::default();
    let service = InstanceMetadata::start(METADATA, &issuer).unwrap();
    let platform = amazon(&issuer)
        .with("AWS_EC2_METADATA_DISABLED", "")
        .source("the role of the instance (IMDSv2), at http://169.254.169.254")
        .fails("give the instance a role")
        .holding(service);
    live("an instance", &issuer, platform).await;

    // Where the server's name is not known, it has an address.
    let issuer = Issuer::default();
    let service = GoogleMetadata::start(METADATA, &issuer).unwrap();
    let platform = google(&issuer)
        .source("at http://metadata.google.internal or http://169.254.169.254")
        .fails("give the machine or the pod a service account")
        .holding(service);
    live("a machine of Google's", &issuer, platform).await;

    let issuer = Issuer::default();
    let service = AzureMetadata::start(METADATA, &issuer).unwrap();
    let platform = azure(&issuer)
        .source("the managed identity of the machine, at http://169.254.169.254")
        .fails("assign an identity")
        .holding(service);
    live("a machine of Azure's", &issuer, platform).await;
}

/// The headers of a redirected download, if it is one.
async fn redirect(registry: &Registry) -> HeaderMap {
    let path = format!("/v2/a/b/blobs/{}", digest(CONFIG));
    let request = Request::get(path).body(Vec::new().into()).unwrap();
    let answer = send(&registry.address, request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT, "{}", registry.log());
    answer.headers().clone()
}

/// Clients follow URLs that are signed with temporary credentials, which are brief.
#[tokio::test]
async fn urls_of_temporary_credentials_are_brief() {
    let home = tempfile::tempdir().unwrap();
    let issuer = Issuer::default();
    let service = InstanceMetadata::start("127.0.0.1:0", &issuer).unwrap();
    let of_amazon = amazon(&issuer)
        .with("AWS_EC2_METADATA_DISABLED", "false")
        .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.origin())
        .holding(service);
    let issuer = Issuer::default();
    let service = AzureMetadata::start("127.0.0.1:0", &issuer).unwrap();
    let of_azure =
        azure(&issuer).with("AZURE_POD_IDENTITY_AUTHORITY_HOST", service.origin()).holding(service);
    for (platform, of_key) in [(of_amazon, "X-Amz-Security-Token"), (of_azure, "skoid")] {
        let platform = platform.with("REGISTRY_STORAGE_REDIRECT_DISABLE", "false");
        let registry = Registry::serve(serve(home.path(), &platform.variables)).unwrap();
        let target = Target::Server(registry.address.clone());
        run(&target, &push_and_pull()[..3]).await;
        let location = redirect(&registry).await["location"].to_str().unwrap().to_owned();
        let uri: http::Uri = location.parse().unwrap();
        let query = uri.query().unwrap();
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let value = |name: &str| {
            let found = pairs.iter().find(|(found, _)| found == name);
            found.unwrap_or_else(|| panic!("{name}: {location}")).1.clone()
        };
        assert!(!value(of_key).is_empty());
        if of_key == "skoid" {
            let [from, to] = ["st", "se"].map(|name| {
                chrono::DateTime::parse_from_rfc3339(&value(name)).unwrap().timestamp()
            });
            assert_eq!(to - from, 300, "{location}");
        } else {
            assert_eq!(value("X-Amz-Expires"), "300");
        }
        let request = Request::get(uri.path_and_query().unwrap().as_str());
        let request = request.body(Vec::new().into()).unwrap();
        let answer = send(uri.authority().unwrap().as_str(), request).await.unwrap();
        assert_eq!((answer.status(), &**answer.body()), (StatusCode::OK, CONFIG), "{location}");
    }
}

/// Nothing of the platform is looked at if the settings have keys.
#[tokio::test]
async fn keys_of_the_settings_come_first() {
    let home = tempfile::tempdir().unwrap();
    let (issuer, elsewhere) = (Issuer::default(), Issuer::default());
    let service = InstanceMetadata::start("127.0.0.1:0", &elsewhere).unwrap();
    issuer.accept();
    let key = issuer.key();
    let platform = amazon(&issuer)
        .with("REGISTRY_STORAGE_S3_ACCESSKEY", key.id)
        .with("REGISTRY_STORAGE_S3_SECRETKEY", key.secret)
        .with("REGISTRY_STORAGE_S3_SESSIONTOKEN", key.token)
        .with("AWS_ACCESS_KEY_ID", "of-somebody-else")
        .with("AWS_EC2_METADATA_DISABLED", "false")
        .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.origin());
    let registry = Registry::serve(serve(home.path(), &platform.variables)).unwrap();
    run(&Target::Server(registry.address.clone()), &push_and_pull()).await;
    assert!(!registry.log().contains("credentials for"), "{}", registry.log());
    assert_eq!(elsewhere.asked(), 0);
}

/// A platform, more variables, and what is said at the start.
type Row<'a> = (&'a Platform, &'a [(&'a str, &'a str)], &'a [&'a str]);

/// The start fails if there are no credentials, and says what was looked for.
#[tokio::test]
async fn no_credentials() {
    let (issuer, home) = (Issuer::default(), tempfile::tempdir().unwrap());
    issuer.end();
    let amazon = amazon(&issuer);
    let instances = InstanceMetadata::start("127.0.0.1:0", &issuer).unwrap();
    let metadata = GoogleMetadata::start("127.0.0.1:0", &issuer).unwrap();
    let google = google(&issuer);
    let azure = azure(&issuer);
    let instance = instances.origin();
    let federated = file(&home, "external.json");
    std::fs::write(&federated, r#"{"type":"external_account"}"#).unwrap();
    let rows: [Row<'_>; 7] = [
        (
            &amazon,
            &[],
            &[
                "REGISTRY_STORAGE_S3_ACCESSKEY",
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
                "/.aws/credentials (AWS_SHARED_CREDENTIALS_FILE)",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "because AWS_EC2_METADATA_DISABLED is true",
            ],
        ),
        (
            &amazon,
            &[("AWS_EC2_METADATA_DISABLED", ""), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &instance)],
            &["cannot open s3://images", &instance, "404", "or set one of: REGISTRY_STORAGE_S3_A"],
        ),
        (
            &amazon,
            &[
                ("AWS_EC2_METADATA_DISABLED", ""),
                ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1"),
            ],
            &["no credentials from the role of the instance", "http://127.0.0.1:1"],
        ),
        (&amazon, &[("AWS_PROFILE", "registry")], &["AWS_PROFILE", "/.aws/credentials"]),
        (
            &google,
            &[("GCE_METADATA_HOST", metadata.address())],
            &["404", metadata.address(), "REGISTRY_STORAGE_GCS_KEYFILE"],
        ),
        (
            &google,
            &[("GOOGLE_APPLICATION_CREDENTIALS", &federated)],
            &["external_account", "service_account", &federated],
        ),
        (
            &azure,
            &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")],
            &["127.0.0.1:1", "REGISTRY_STORAGE_AZURE_ACCOUNTKEY", "AZURE_FEDERATED_TOKEN_FILE"],
        ),
    ];
    for (platform, variables, expected) in rows {
        let mut command = serve(home.path(), &platform.variables);
        command.envs(variables.iter().copied());
        // One that serves is ended after a time.
        let output = program::output(&mut command.into()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{variables:?}: {said}");
        for part in expected {
            assert!(said.contains(part), "{variables:?}: {part}: {said}");
        }
        assert!(!said.contains(SECRET), "{said}");
    }
}

/// The component itself asks for them where no native host does.
#[tokio::test]
async fn under_wasmtime() {
    let issuer = Issuer::default();
    let service = InstanceMetadata::start("127.0.0.1:0", &issuer).unwrap();
    let platform = amazon(&issuer)
        .with("AWS_EC2_METADATA_DISABLED", "false")
        .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.origin())
        .with("REGISTRY_STORAGE_REDIRECT_DISABLE", "true");
    let variables: Vec<_> =
        platform.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let directory = tempfile::tempdir().unwrap();
    let component = directory.path().join("component.wasm");
    let Some(registry) = Wasmtime::start_bare(&component, &variables).unwrap() else {
        skip("platform::under_wasmtime", "wasmtime is neither $WASMTIME nor on the PATH");
        return;
    };
    let target = Target::Server(registry.address.clone());
    run(&target, &push_and_pull()).await;
    issuer.rotate();
    until("credentials are renewed", &registry, async || {
        run(&target, &[get("/v2/a/b/manifests/v1").status(200)]).await;
        issuer.used() > 0
    })
    .await;
    issuer.end();
    run(&target, &[get("/v2/a/b/tags/list").error(503, "UNAVAILABLE")]).await;
}
