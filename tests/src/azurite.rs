//! Azurite, Microsoft's emulator of Azure Blob Storage.

use crate::client::{Answer, send};
use crate::process::{binary_named, target_directory};
use crate::secure::Pair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Request, StatusCode};
use sha2::Sha256;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

/// The emulator's well-known account, from its documentation.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The protocol version of the requests that create containers.
const VERSION: &str = "2021-08-06";

/// The emulator, killed when dropped.
#[derive(Debug)]
pub struct Azurite {
    process: Child,
    address: String,
    /// Its certificate, if it speaks TLS.
    secure: Option<Arc<Pair>>,
    _directory: tempfile::TempDir,
}

impl Azurite {
    /// Starts it; `None` if it or Node.js is not installed.
    /// `.ci/install-azurite` downloads it.
    pub fn start() -> anyhow::Result<Option<Self>> {
        Self::launch(None)
    }

    /// The same over TLS, with a certificate for 127.0.0.1.
    pub fn start_secure(pair: &Arc<Pair>) -> anyhow::Result<Option<Self>> {
        Self::launch(Some(Arc::clone(pair)))
    }

    fn launch(secure: Option<Arc<Pair>>) -> anyhow::Result<Option<Self>> {
        let program =
            target_directory()?.join("tools/azurite/node_modules/azurite/dist/src/blob/main.js");
        let Some(node) = binary_named(&["node", "nodejs"]).filter(|_| program.is_file()) else {
            return Ok(None);
        };
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(node);
        command
            .arg(program)
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--disableTelemetry"])
            // object_store uses a newer protocol version than Azurite supports.
            .arg("--skipApiVersionCheck")
            .arg("--location")
            .arg(directory.path());
        if let Some(pair) = &secure {
            let [certificate, key] = pair.files();
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        let process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut emulator = Self { process, address: String::new(), secure, _directory: directory };
        emulator.address = emulator.listen()?;
        Ok(Some(emulator))
    }

    /// Waits until it listens.
    fn listen(&mut self) -> anyhow::Result<String> {
        let output = self.process.stdout.take().ok_or_else(|| anyhow::anyhow!("no stdout"))?;
        let mut lines = BufReader::new(output).lines();
        let address = loop {
            let Some(line) = lines.next().transpose()? else {
                anyhow::bail!("Azurite ended: {:?}", self.process.wait()?);
            };
            if let Some((_, origin)) = line.split_once("listens on http") {
                let address = origin.trim_start_matches('s').trim_start_matches("://");
                break address.trim().to_owned();
            }
        };
        // It logs each request, and blocks if the log is not read.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(address)
    }

    /// Creates a container.
    pub async fn container(&self, name: &str) -> anyhow::Result<()> {
        let answer = self.request(Method::PUT, name, &[("restype", "container")]).await?;
        anyhow::ensure!(answer.status() == StatusCode::CREATED, "{answer:?}");
        Ok(())
    }

    /// The list of a container, as the protocol's XML.
    pub async fn list(&self, container: &str) -> anyhow::Result<String> {
        let query = [("comp", "list"), ("restype", "container")];
        let answer = self.request(Method::GET, container, &query).await?;
        anyhow::ensure!(answer.status() == StatusCode::OK, "{answer:?}");
        Ok(String::from_utf8(answer.body().to_vec())?)
    }

    /// A request without a body for a container, with query parameters sorted by
    /// name.
    async fn request(
        &self,
        method: Method,
        container: &str,
        query: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let path = format!("/{ACCOUNT}/{container}");
        // The emulator's paths contain the account a second time.
        let mut signed = format!(
            "{method}\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{VERSION}\n\
             /{ACCOUNT}{path}"
        );
        let mut uri = path;
        for (number, (name, value)) in query.iter().enumerate() {
            let before = if number == 0 { '?' } else { '&' };
            write!(uri, "{before}{name}={value}")?;
            write!(signed, "\n{name}:{value}")?;
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(KEY)?)?;
        mac.update(signed.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("x-ms-date", date)
            .header("x-ms-version", VERSION)
            .header("content-length", 0)
            .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
            .body(Bytes::new())?;
        match &self.secure {
            Some(pair) => pair.send(&self.address, request).await,
            None => send(&self.address, request).await,
        }
    }

    /// The settings of a registry that keeps its data in a container.
    pub fn settings(&self, container: &str) -> Vec<(String, String)> {
        let setting =
            |name: &str, value: &str| (format!("REGISTRY_STORAGE_AZURE_{name}"), value.to_owned());
        let scheme = if self.secure.is_some() { "https" } else { "http" };
        vec![
            setting("CONTAINER", container),
            setting("ACCOUNTNAME", ACCOUNT),
            setting("ACCOUNTKEY", KEY),
            setting("SERVICEURL", &format!("{scheme}://{}/{ACCOUNT}", self.address)),
        ]
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
