//! Azurite, Microsoft's emulator of Azure Blob Storage.

use crate::client::send;
use crate::process::{binary_named, target_directory};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Request;
use sha2::Sha256;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

/// The emulator's account, as its documentation has it.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The version of the protocol that containers are made by.
const VERSION: &str = "2021-08-06";

/// The emulator, ended when it is dropped.
#[derive(Debug)]
pub struct Azurite {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Azurite {
    /// Starts it; `None` if it or Node.js is not here. `.ci/install-azurite`
    /// fetches it.
    pub fn start() -> anyhow::Result<Option<Self>> {
        let program =
            target_directory()?.join("tools/azurite/node_modules/azurite/dist/src/blob/main.js");
        let Some(node) = binary_named(&["node", "nodejs"]).filter(|_| program.is_file()) else {
            return Ok(None);
        };
        let directory = tempfile::tempdir()?;
        let mut process = Command::new(node)
            .arg(program)
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--disableTelemetry"])
            // object_store speaks a newer version of the protocol.
            .arg("--skipApiVersionCheck")
            .arg("--location")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = process.stdout.take();
        let mut emulator = Self { process, address: String::new(), _directory: directory };
        let output = output.ok_or_else(|| anyhow::anyhow!("no stdout"))?;
        let mut lines = BufReader::new(output).lines();
        while emulator.address.is_empty() {
            let Some(line) = lines.next().transpose()? else {
                anyhow::bail!("Azurite ended: {:?}", emulator.process.wait()?);
            };
            if let Some((_, address)) = line.split_once("listens on http://") {
                address.trim().clone_into(&mut emulator.address);
            }
        }
        // It logs each request, and waits if nobody reads that.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Some(emulator))
    }

    /// Makes a container.
    pub async fn container(&self, name: &str) -> anyhow::Result<()> {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let path = format!("/{ACCOUNT}/{name}");
        // The emulator's paths have the account once more.
        let signed = format!(
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{VERSION}\n\
             /{ACCOUNT}{path}\nrestype:container"
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(KEY)?)?;
        mac.update(signed.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let request = Request::put(format!("{path}?restype=container"))
            .header("x-ms-date", date)
            .header("x-ms-version", VERSION)
            .header("content-length", 0)
            .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
            .body(Bytes::new())?;
        let answer = send(&self.address, request).await?;
        anyhow::ensure!(answer.status() == http::StatusCode::CREATED, "{answer:?}");
        Ok(())
    }

    /// The settings of a registry that keeps its data in a container.
    pub fn settings(&self, container: &str) -> Vec<(String, String)> {
        let setting =
            |name: &str, value: &str| (format!("REGISTRY_STORAGE_AZURE_{name}"), value.to_owned());
        vec![
            setting("CONTAINER", container),
            setting("ACCOUNTNAME", ACCOUNT),
            setting("ACCOUNTKEY", KEY),
            setting("SERVICEURL", &format!("http://{}/{ACCOUNT}", self.address)),
        ]
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
