//! Requests to a registry, with a login where it asks for one.

use crate::cert::DOCKER_DIRECTORY;
use crate::credentials::{self, Credentials};
use crate::doctor::challenge::Challenge;
use crate::doctor::http::{self, Answer, Stream};
use crate::doctor::target::{Scheme, Target};
use crate::doctor::trust::{Docker, Roots};
use crate::doctor::{connect, tls};
use crate::registry::{self, Registry};
use ::http::header::{ACCEPT, HeaderValue, LOCATION, USER_AGENT};
use ::http::{HeaderMap, Method, Request, StatusCode, Uri};
use anyhow::bail;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::RootCertStore;
use std::cell::RefCell;
use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::timeout;

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

/// How a registry is reached, and who logs in.
#[derive(clap::Args, Debug)]
pub(crate) struct Connection {
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
    pub(crate) fn credentials(&self, input: &mut dyn Read) -> Result<Option<Credentials>, String> {
        Credentials::of_user(self.user.as_deref(), self.password_stdin, input)
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

/// A client of one registry.
pub(crate) struct Client {
    target: Target,
    roots: RootCertStore,
    /// Where passwords are looked up, unless one was given.
    docker_config: Option<PathBuf>,
    user: Option<Credentials>,
    limit: Duration,
    /// What the registry has accepted or asked for.
    authorization: RefCell<Option<String>>,
    /// The scheme that it speaks, once that is known.
    scheme: RefCell<Option<Scheme>>,
}

impl Client {
    /// A client that logs in as `user`, or by what `docker login` keeps. Each request may
    /// take as long as `limit`.
    pub(crate) fn new(
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
            roots: roots.store,
            docker_config: connection.docker_config.clone().or_else(credentials::directory),
            user,
            limit,
            authorization: RefCell::default(),
            scheme: RefCell::new(target.scheme),
            target,
        })
    }

    async fn once(
        &self,
        request: Request<Bytes>,
        authorization: Option<&str>,
        most: usize,
    ) -> Result<Answer, String> {
        let known = *self.scheme.borrow();
        let scheme = known.unwrap_or(Scheme::Https);
        let stream = match self.connect(&self.target, scheme).await {
            Ok(stream) => stream,
            // As Docker, on this machine alone.
            Err(_) if known.is_none() && self.is_local() => {
                *self.scheme.borrow_mut() = Some(Scheme::Http);
                self.connect(&self.target, Scheme::Http).await?
            }
            Err(problem) if known.is_none() => {
                return Err(format!(
                    "{problem}; for a CA of its own: --ca FILE; for plain HTTP: http://{}; \
                     roadstead doctor {0} says more",
                    self.target.authority()
                ));
            }
            Err(problem) => return Err(problem),
        };
        self.exchange(stream, &self.target, request, authorization, most).await
    }

    async fn exchange(
        &self,
        stream: Box<dyn Stream>,
        target: &Target,
        mut request: Request<Bytes>,
        authorization: Option<&str>,
        most: usize,
    ) -> Result<Answer, String> {
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static(MANIFESTS));
        http::send(stream, &target.authority(), request, authorization, self.limit, most).await
    }

    /// Fetches what an answer redirects to, such as a blob that is in an object store. The
    /// login goes to the registry alone.
    pub(crate) async fn follow(
        &self,
        mut answer: Answer,
        headers: &HeaderMap,
        most: usize,
    ) -> Result<Answer, String> {
        for _ in 0..REDIRECTS {
            let Some(location) = answer.status.is_redirection().then(|| answer.header(LOCATION))
            else {
                return Ok(answer);
            };
            let location = location.ok_or("the registry redirects to nowhere")?.to_owned();
            let wrong =
                || format!("the registry redirects to something that is no URL: {location:?}");
            let uri: Uri = location.parse().map_err(|_| wrong())?;
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            let mut request =
                Request::get(path).body(Bytes::new()).map_err(|error| error.to_string())?;
            *request.headers_mut() = headers.clone();
            if location.starts_with('/') {
                answer = self.authorized(request, most).await?;
                continue;
            }
            let target: Target = location.parse().map_err(|_| wrong())?;
            let scheme = target.scheme.ok_or_else(wrong)?;
            if scheme == Scheme::Http && *self.scheme.borrow() != Some(Scheme::Http) {
                return Err(format!(
                    "the registry redirects to plain HTTP: {}",
                    target.authority()
                ));
            }
            let stream = self.connect(&target, scheme).await?;
            answer = self.exchange(stream, &target, request, None, most).await?;
        }
        Err(format!("the registry redirects more than {REDIRECTS} times"))
    }

    /// Sends a request, and logs in if the registry asks for it.
    async fn authorized(&self, request: Request<Bytes>, most: usize) -> Result<Answer, String> {
        let known = self.authorization.borrow().clone();
        let answer = self.once(request.clone(), known.as_deref(), most).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let authorization = self.log_in(&answer).await?;
        let answer = self.once(request, Some(&authorization), most).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(format!(
                "the registry refuses the login{}; check the password, and what the user may \
                 do",
                self.user.as_ref().map(|user| format!(" of {}", user.user)).unwrap_or_default()
            ));
        }
        *self.authorization.borrow_mut() = Some(authorization);
        Ok(answer)
    }

    async fn connect(&self, target: &Target, scheme: Scheme) -> Result<Box<dyn Stream>, String> {
        let (host, port) = (target.host.as_str(), target.port.unwrap_or(scheme.port()));
        let found = timeout(self.limit, tokio::net::lookup_host((host, port))).await;
        let addresses: Vec<_> = match found {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => return Err(format!("cannot resolve {host}: {error}")),
            Err(_) => return Err(format!("no name server answered for {host}")),
        };
        let mut problem = format!("{host} has no address");
        for address in addresses {
            match connect::open(address, self.limit).await {
                Ok(stream) if scheme == Scheme::Http => return Ok(Box::new(stream)),
                Ok(stream) => {
                    let roots = self.roots.clone();
                    return tls::verified_handshake(stream, host, roots, self.limit).await;
                }
                Err(error) => problem = format!("cannot connect to {address}: {error}"),
            }
        }
        Err(problem)
    }

    fn is_local(&self) -> bool {
        let address: Option<IpAddr> = self.target.host.parse().ok();
        self.target.host == "localhost" || address.is_some_and(|address| address.is_loopback())
    }

    /// The header with which the registry should accept the request.
    async fn log_in(&self, answer: &Answer) -> Result<String, String> {
        let authority = self.target.authority();
        let user = match (&self.user, &self.docker_config) {
            (Some(user), _) => Some(user.clone()),
            (None, Some(directory)) => credentials::find(directory, &authority)?,
            (None, None) => None,
        };
        let challenges = Challenge::all(&answer.headers);
        let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if let Some(bearer) = find("bearer") {
            return self.token(bearer, user.as_ref()).await;
        }
        if find("basic").is_none() {
            return Err("the registry asks for a login of an unknown kind".to_owned());
        }
        let user = user.ok_or_else(|| {
            format!("the registry asks for a login: docker login {authority}, or --user NAME")
        })?;
        Ok(user.basic())
    }

    /// Asks the token service of a challenge for a token. The password goes nowhere
    /// that is less safe than the registry itself.
    async fn token(
        &self,
        challenge: &Challenge,
        user: Option<&Credentials>,
    ) -> Result<String, String> {
        let realm = challenge.parameter("realm").unwrap_or_default();
        let wrong = || format!("the registry's token service is not a URL: {realm:?}");
        let uri: Uri = realm.parse().map_err(|_| wrong())?;
        let target: Target = realm.parse().map_err(|_| wrong())?;
        let scheme = target.scheme.ok_or_else(wrong)?;
        if scheme == Scheme::Http && *self.scheme.borrow() != Some(Scheme::Http) {
            return Err(format!(
                "the token service {realm} uses plain HTTP, where passwords can be intercepted"
            ));
        }
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        for (number, name) in ["service", "scope"].into_iter().enumerate() {
            if let Some(value) = challenge.parameter(name) {
                let joint = if number == 0 && uri.query().is_none() { '?' } else { '&' };
                path = format!("{path}{joint}{name}={}", encode(value));
            }
        }
        let stream = self.connect(&target, scheme).await?;
        let basic = user.map(Credentials::basic);
        let request = registry::json(Method::GET, &path, Bytes::new())?;
        let basic = basic.as_deref();
        let answer = self.exchange(stream, &target, request, basic, http::MAX_BODY).await?;
        if answer.status != StatusCode::OK {
            return Err(match user {
                Some(user) => {
                    format!("the token service answers {} to {}", answer.status, user.user)
                }
                None => format!(
                    "the registry asks for a login: docker login {}, or --user NAME",
                    self.target.authority()
                ),
            });
        }
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = json["token"].as_str().or(json["access_token"].as_str());
        let token = token.ok_or("the token service answers without a token")?;
        Ok(format!("Bearer {token}"))
    }
}

impl Registry for Client {
    async fn request(&self, request: Request<Bytes>, most: usize) -> Result<Answer, String> {
        self.authorized(request, most).await
    }
}
