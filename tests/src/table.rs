//! Request tables: steps as data, run against every form of the registry.

use crate::client::{Answer, send};
use crate::process::{self, Wasmtime, skip};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use roadstead_access::Authority;
use roadstead_component::native::{MemoryBody, MemoryBucket, NativeBodies, NativeDirectory};
use roadstead_component::store::cloud::{CloudStorage, Options};
use roadstead_component::store::contract::Readable as _;
use roadstead_component::store::{LocalStorage, Storage};
use roadstead_component::{Ask, Body, Gate, Registry, Switches};
use roadstead_config::Config;
use roadstead_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};

/// A form of the registry to run a table against.
#[derive(Debug)]
pub enum Target {
    /// The protocol in this process, without WASI.
    Native(Box<Registry<LocalStorage<NativeDirectory>>>),
    /// The same over a bucket in memory.
    Bucket(Box<Registry<CloudStorage<NativeBodies>>>),
    /// A server at `host:port`.
    Server(String),
    /// A server that is stopped when this is dropped.
    Process(process::Registry),
}

impl Target {
    /// The protocol over a directory, with settings.
    pub fn native(root: &std::path::Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let directory = roadstead_directory::Directory::open(root)?;
        let storage = LocalStorage::new(NativeDirectory(directory));
        Ok(Self::Native(Box::new(registry(storage, settings)?)))
    }

    /// The protocol over an empty bucket, with settings.
    pub fn bucket(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let options = Options { secret: Some(b"secret".to_vec()), ..Options::default() };
        let storage = CloudStorage::new(MemoryBucket::default().backend("root"), options);
        Ok(Self::Bucket(Box::new(registry(storage, settings)?)))
    }

    /// Sends one request.
    pub async fn send(&self, request: Request<Bytes>) -> anyhow::Result<Answer> {
        match self {
            Self::Server(address) => send(address, request).await,
            Self::Process(process) => send(&process.address, request).await,
            Self::Native(registry) => {
                let answer = registry.handle(native(request)?).await;
                Ok(answer.map(|body| match body {
                    Body::Empty => Bytes::new(),
                    Body::Bytes(bytes) => bytes,
                    Body::Stream(never) => match never {},
                }))
            }
            Self::Bucket(registry) => {
                let (parts, body) = registry.handle(native(request)?).await.into_parts();
                let bytes = match body {
                    Body::Empty => Bytes::new(),
                    Body::Bytes(bytes) => bytes,
                    Body::Stream(stream) => stream.read().await,
                };
                Ok(Answer::from_parts(parts, bytes))
            }
        }
    }
}

/// A registry with settings.
fn registry<S: Storage>(storage: S, settings: &[(&str, &str)]) -> anyhow::Result<Registry<S>> {
    let owned = settings.iter().map(|&(n, v)| (n.to_owned(), v.to_owned()));
    let config = Config::from_variables(owned)?;
    let mut authority = None;
    if config.auth.enabled() {
        let opened = Authority::open(config.auth.clone(), true).map_err(anyhow::Error::msg)?;
        authority = Some(Box::new(opened) as Box<dyn Ask>);
    }
    let gate = Gate::new(&config, authority);
    Ok(Registry::new(storage, Switches::from(&config), gate))
}

/// A request in the form in which servers pass it on.
fn native(request: Request<Bytes>) -> anyhow::Result<Request<Option<MemoryBody>>> {
    let (mut parts, bytes) = request.into_parts();
    // As servers do it for a request with a body.
    if !bytes.is_empty() {
        let length = bytes.len().to_string().parse()?;
        parts.headers.insert(http::header::CONTENT_LENGTH, length);
    }
    let body = (!bytes.is_empty()).then_some(MemoryBody { bytes, aborted: false });
    Ok(Request::from_parts(parts, body))
}

/// A request and the expected response.
#[derive(Debug)]
pub struct Step {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    status: StatusCode,
    expected: Vec<(HeaderName, Option<String>)>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Any,
    Exactly(Bytes),
    Code(&'static str),
}

/// `GET path`; `{location}` is replaced by the last `Location` received.
pub fn get(path: impl Into<String>) -> Step {
    Step::new(Method::GET, path)
}

/// `HEAD path`.
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

/// `sha512:…` of bytes.
pub fn digest_sha512(bytes: &[u8]) -> String {
    let digest = Digest::from_bytes(Algorithm::Sha512, &Sha512::digest(bytes));
    digest.map(|digest| digest.to_string()).unwrap_or_default()
}

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes));
    digest.map(|digest| digest.to_string()).unwrap_or_default()
}

/// The `Authorization` header of a user.
pub fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let credentials =
        base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {credentials}")
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
        }
    }

    /// Sends a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    /// Sends a user name and a password.
    #[must_use]
    pub fn login(self, user: &str, password: &str) -> Self {
        self.header("authorization", &basic(user, password))
    }

    /// Sends a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Expects this status; without a call, 200.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap();
        self
    }

    /// Expects a header with this value.
    #[must_use]
    pub fn expect(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.expected.push((HeaderName::from_static(name), Some(value.into())));
        self
    }

    /// Expects no such header.
    #[must_use]
    pub fn expect_no(mut self, name: &'static str) -> Self {
        self.expected.push((HeaderName::from_static(name), None));
        self
    }

    /// Expects this body.
    #[must_use]
    pub fn content(mut self, body: impl Into<Bytes>) -> Self {
        self.content = Content::Exactly(body.into());
        self
    }

    /// Expects an OCI error with this status and code, and with a message.
    #[must_use]
    pub fn error(mut self, status: u16, code: &'static str) -> Self {
        self.content = Content::Code(code);
        self.status(status)
    }

    async fn run(&self, target: &Target, location: &mut String) -> anyhow::Result<()> {
        // `?` or `&`: other registries' locations may have a query.
        let joint = if location.contains('?') { "&" } else { "?" };
        let path = self.path.replace("{location}", location).replace("{&}", joint);
        let mut request = Request::builder().method(&self.method).uri(path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = target.send(request.body(self.body.clone())?).await?;
        anyhow::ensure!(
            answer.status() == self.status,
            "status {} and not {}: {:?}",
            answer.status(),
            self.status,
            answer.body()
        );
        for (name, value) in &self.expected {
            let found = answer.headers().get(name).and_then(|value| value.to_str().ok());
            anyhow::ensure!(found == value.as_deref(), "{name}: {found:?} and not {value:?}");
        }
        match &self.content {
            Content::Any => {}
            Content::Exactly(body) => {
                anyhow::ensure!(answer.body() == body, "body {:?} and not {body:?}", answer.body());
            }
            Content::Code(code) => {
                let error: serde_json::Value = serde_json::from_slice(answer.body())?;
                let first = &error["errors"][0];
                anyhow::ensure!(first["code"] == *code, "{error} and not {code}");
                let message = first["message"].as_str().unwrap_or_default();
                anyhow::ensure!(message.len() > 10, "no message: {error}");
            }
        }
        if let Some(found) = answer.headers().get(http::header::LOCATION) {
            // Other registries send absolute URLs.
            let uri: http::Uri = found.to_str()?.parse()?;
            *location = uri.path_and_query().map_or_else(String::new, ToString::to_string);
        }
        Ok(())
    }
}

/// Runs a table against a fresh registry of each form, with settings: natively,
/// over a bucket in memory and over a directory; as the component in the host;
/// and as the same component under `wasmtime serve`.
pub async fn everywhere(test: &str, settings: &[(&str, &str)], steps: impl Fn() -> Vec<Step>) {
    run(&Target::bucket(settings).unwrap(), &steps()).await;
    let root = tempfile::tempdir().unwrap();
    run(&Target::native(&root.path().join("native"), settings).unwrap(), &steps()).await;
    let host = process::Registry::start(&root.path().join("host"), settings, &[]).unwrap();
    run(&Target::Server(host.address.clone()), &steps()).await;
    let mounted = root.path().join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    match Wasmtime::start_with(&mounted, settings).unwrap() {
        Some(wasmtime) => run(&Target::Server(wasmtime.address.clone()), &steps()).await,
        None => drop(skip(test, "wasmtime is neither $WASMTIME nor on the PATH")),
    }
}

/// Runs the steps one after the other.
pub async fn run(target: &Target, steps: &[Step]) {
    let mut location = String::new();
    for (index, step) in steps.iter().enumerate() {
        if let Err(error) = step.run(target, &mut location).await {
            panic!("step {index}, {} {}: {error:#}", step.method, step.path);
        }
    }
}
