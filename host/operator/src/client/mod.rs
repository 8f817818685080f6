//! Requests to a registry, with a login where it asks for one.

mod login;
mod pool;

use crate::cert::DOCKER_DIRECTORY;
use crate::credentials::{self, Credentials};
use crate::doctor::target::{Scheme, Target};
use crate::doctor::trust::{Docker, Roots};
use crate::registry::{Content, Incoming, Registry, Storage, Unanswered};
use anyhow::bail;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use login::Login;
use pool::Pool;
use std::collections::BTreeSet;
use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::OnceCell;

/// All media types of manifests that clients know: without them, some registries
/// convert a manifest, or hide it.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*";

/// How this program names itself.
const AGENT: &str = concat!("roadstead/", env!("CARGO_PKG_VERSION"));

/// How many redirects in a row are followed.
///
/// Limit: redirects of a registry that are followed; test: `redirects_are_followed`.
const REDIRECTS: usize = 5;

/// How often a request that only reads is sent again at once, as the connection that was kept
/// for it may have been closed.
///
/// Limit: requests that are sent again at once after a connection was closed; test: none, a
/// registry closes one at a time.
const STALE: usize = 2;

/// How a registry is reached, and who logs in.
#[derive(clap::Args, Debug)]
pub struct Connection {
    /// Log in as this user instead of docker login's; prompts for the password
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// Trust the CAs in this file too
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Where Docker on this machine looks for CA certificates
    #[arg(long, value_name = "DIRECTORY", default_value = DOCKER_DIRECTORY)]
    docker_directory: PathBuf,
    /// Where docker login keeps its passwords [default: `$DOCKER_CONFIG`, or `~/.docker`]
    #[arg(long, value_name = "DIRECTORY")]
    docker_config: Option<PathBuf>,
}

impl Connection {
    /// Who logs in, if somebody is named.
    pub fn credentials(&self, input: &mut dyn Read) -> Result<Option<Credentials>, String> {
        Credentials::of_user(self.user.as_deref(), self.password_stdin, input)
    }

    /// One whose user is given otherwise.
    pub(crate) fn new(ca: Vec<PathBuf>, docker_directory: PathBuf) -> Self {
        Self { user: None, password_stdin: false, ca, docker_directory, docker_config: None }
    }

    /// Refuses to show the one password of `--user` to several registries.
    ///
    /// # Errors
    /// When a user is named, and these are not all the same registry.
    pub(crate) fn check_one<'a>(
        &self,
        registries: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), String> {
        if self.user.is_none() {
            return Ok(());
        }
        let all = registries.into_iter().map(credentials::authority);
        let all: BTreeSet<String> = all.collect::<Result<_, _>>()?;
        if all.len() > 1 {
            let all: Vec<_> = all.into_iter().collect();
            return Err(format!(
                "--user is for one registry, and these are several: {}; use roadstead login",
                all.join(", ")
            ));
        }
        Ok(())
    }

    /// Who logs in, for a command that may look at a storage, where a user means nothing.
    ///
    /// # Errors
    /// When flags for registries are given with a storage.
    pub(crate) fn credentials_for(
        &self,
        storage: Option<&Storage>,
        input: &mut dyn Read,
    ) -> Result<Option<Credentials>, String> {
        if storage.is_some() && self.is_given() {
            return Err("--user and --ca are for registries, not for storages".to_owned());
        }
        self.credentials(input)
    }

    /// The flags with which another command reaches the same registry.
    pub(crate) fn words(&self) -> Vec<String> {
        let user = self.user.iter().map(|user| format!("--user {user}"));
        user.chain(self.ca.iter().map(|file| format!("--ca {}", file.display()))).collect()
    }

    /// Whether a user is named.
    pub(crate) fn names_user(&self) -> bool {
        self.user.is_some()
    }

    /// Whether something is given that only a registry's URL needs.
    pub(crate) fn is_given(&self) -> bool {
        self.user.is_some() || !self.ca.is_empty()
    }

    /// Refuses what means nothing without a URL.
    pub(crate) fn check_storage(&self) -> anyhow::Result<()> {
        if self.is_given() {
            bail!("--user and --ca are for a registry's URL, as in https://registry.example:5000");
        }
        Ok(())
    }
}

/// A client of one registry. Connections are kept and used again; several requests may be in
/// flight.
pub struct Client {
    target: Target,
    pool: Pool,
    /// Where passwords are looked up, unless one was given.
    docker_config: Option<PathBuf>,
    user: Option<Credentials>,
    /// What the registry has accepted.
    login: Login,
    /// The scheme that it speaks, once that is known.
    scheme: OnceCell<Scheme>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that logs in as `user`, or by what `docker login` keeps. A request fails when
    /// nothing of it, or of the response, was transferred for as long as `limit`.
    ///
    /// # Errors
    /// When `registry` is no host or URL, and when a file of CAs cannot be read.
    pub fn new(
        registry: &str,
        connection: &Connection,
        user: Option<Credentials>,
        limit: Duration,
    ) -> Result<Self, String> {
        let target: Target = registry.parse()?;
        let system = Roots::of_system();
        let docker = Docker::read(&connection.docker_directory, &target.authority(), &system);
        let mut roots = docker.roots.unwrap_or(system);
        for file in &connection.ca {
            roots = roots.with_file(file).map_err(|error| format!("{error:#}"))?;
        }
        Ok(Self {
            pool: Pool::new(roots.store, limit),
            docker_config: connection.docker_config.clone().or_else(credentials::directory),
            user,
            login: Login::default(),
            scheme: OnceCell::new_with(target.scheme),
            target,
        })
    }

    /// The scheme of the registry. Without one in its name, TLS is tried; as Docker does, plain
    /// HTTP is on this machine alone.
    async fn scheme(&self) -> Result<Scheme, String> {
        let find = async || {
            let problem = match self.pool.try_to_connect(&self.target, Scheme::Https).await {
                Ok(()) => return Ok(Scheme::Https),
                Err(problem) => problem,
            };
            if self.is_local() {
                return Ok(Scheme::Http);
            }
            Err(format!(
                "{problem}; for a CA of its own: --ca FILE; for plain HTTP: http://{}; \
                 roadstead doctor {0} says more",
                self.target.authority()
            ))
        };
        self.scheme.get_or_try_init(find).await.copied()
    }

    async fn once(
        &self,
        request: &Request<Content>,
        authorization: Option<&str>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let scheme = self.scheme().await?;
        self.send(&self.target, scheme, request, authorization).await
    }

    async fn send(
        &self,
        target: &Target,
        scheme: Scheme,
        request: &Request<Content>,
        authorization: Option<&str>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri = format!("{scheme}://{}{path}", target.authority());
        let content = request.body();
        let mut sent = Request::builder().method(request.method()).uri(uri);
        if let Some(headers) = sent.headers_mut() {
            headers.clone_from(request.headers());
            headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
            headers.entry(ACCEPT).or_insert(HeaderValue::from_static(MANIFESTS));
            if content.length > 0 || ![Method::GET, Method::HEAD].contains(request.method()) {
                headers.insert(CONTENT_LENGTH, content.length.into());
            }
            if let Some(authorization) = authorization {
                let value = HeaderValue::from_str(authorization);
                let mut value = value.map_err(|error| error.to_string())?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
        }
        let (parts, ()) = sent.body(()).map_err(|error| error.to_string())?.into_parts();
        let reads = [Method::GET, Method::HEAD].contains(request.method());
        for _ in 0..STALE {
            let sent = Request::from_parts(parts.clone(), content.body());
            match self.pool.send(sent).await {
                // The server may have closed the connection just then.
                Err(unanswered) if reads && unanswered.passes => {}
                answered => return answered,
            }
        }
        self.pool.send(Request::from_parts(parts, content.body())).await
    }

    /// Follows the redirects of a GET, as to a blob that is in an object store. The login goes
    /// to the registry alone.
    async fn follow(
        &self,
        mut response: Response<Incoming>,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>, Unanswered> {
        let mut at = (self.target.clone(), self.scheme().await?);
        for _ in 0..REDIRECTS {
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let location = location.ok_or_else(|| "the registry redirects to nowhere".to_owned());
            let location = location?.to_owned();
            let wrong =
                || format!("the registry redirects to something that is no URL: {location:?}");
            let uri: Uri = location.parse().map_err(|_| wrong())?;
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            // Relative to where the response came from.
            if !location.starts_with('/') || location.starts_with("//") {
                let absolute = match location.strip_prefix("//") {
                    Some(rest) => format!("{}://{rest}", at.1),
                    None => location.clone(),
                };
                let target: Target = absolute.parse().map_err(|_| wrong())?;
                let scheme = target.scheme.ok_or_else(wrong)?;
                at = (target, scheme);
            }
            let (target, scheme) = &at;
            let plain = || format!("the registry redirects to plain HTTP: {location}");
            self.check_scheme(*scheme, plain).await?;
            let request = Request::get(path).body(Content::from(Bytes::new()));
            let mut request = request.map_err(|error| error.to_string())?;
            *request.headers_mut() = headers.clone();
            let own = target.authority() == self.target.authority();
            response = if own && *scheme == self.scheme().await? {
                self.authorized(&request).await?
            } else {
                self.send(target, *scheme, &request, None).await?
            };
        }
        Err(format!("the registry redirects more than {REDIRECTS} times").into())
    }

    /// Refuses plain HTTP where the registry itself does not use it.
    async fn check_scheme(
        &self,
        scheme: Scheme,
        problem: impl FnOnce() -> String,
    ) -> Result<(), String> {
        if scheme == Scheme::Http && self.scheme().await? != Scheme::Http {
            return Err(problem());
        }
        Ok(())
    }

    fn is_local(&self) -> bool {
        let address: Option<IpAddr> = self.target.host.parse().ok();
        self.target.host == "localhost" || address.is_some_and(|address| address.is_loopback())
    }

    /// Sends a request, and logs in if the registry asks for it.
    async fn authorized(
        &self,
        request: &Request<Content>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let known = self.login.of(request);
        let response = self.once(request, known.as_deref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let authorization = self.log_in(request, response.headers()).await?;
        let response = self.once(request, Some(&authorization)).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let problem = format!(
                "the registry refuses the login{}; check the password, and what the user may \
                 do",
                self.user.as_ref().map(|user| format!(" of {}", user.user)).unwrap_or_default()
            );
            return Err(problem.into());
        }
        self.login.keep(request, authorization);
        Ok(response)
    }
}

impl Registry for Client {
    /// Logs in where the registry asks for it, and follows where it redirects a GET.
    async fn exchange(&self, request: Request<Content>) -> Result<Response<Incoming>, Unanswered> {
        let response = self.authorized(&request).await?;
        if *request.method() != Method::GET {
            return Ok(response);
        }
        self.follow(response, request.headers()).await
    }
}
