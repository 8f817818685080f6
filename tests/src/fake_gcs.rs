//! fake-gcs-server, an emulator of Google Cloud Storage.
//!
//! It supports reads, lists, deletes and signed URLs of Google's XML API, but
//! not the writes of `object_store`: see `tests/stores/fake_gcs.rs`. So its
//! buckets are filled when it starts.

use crate::garage::free;
use crate::gcs;
use crate::process::{Registry, binary_named};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

/// How many ports are tried: it cannot report a port that the system chose.
const ATTEMPTS: usize = 5;

/// The emulator, killed when dropped.
#[derive(Debug)]
pub struct FakeGcs(Registry);

impl FakeGcs {
    /// Starts it with a bucket for each directory in `data`, with the files in
    /// that directory; `None` if it is not installed. `.ci/install-fake-gcs`
    /// builds it.
    pub fn start(data: &Path) -> anyhow::Result<Option<Self>> {
        let Some(program) = binary_named(&["fake-gcs-server"]) else { return Ok(None) };
        let mut failure = None;
        for _ in 0..ATTEMPTS {
            let address = free(Ipv4Addr::LOCALHOST.into())?;
            let mut command = Command::new(&program);
            command
                .args(["-scheme", "http", "-backend", "memory"])
                // The host name by which it recognises requests for objects.
                .args(["-host", "127.0.0.1", "-public-host", "127.0.0.1"])
                .args(["-port", &address.port().to_string()])
                .arg("-data")
                .arg(data);
            let ready = |line: &str| line.contains("server started").then(|| address.to_string());
            match Registry::spawn(command, ready) {
                Ok(server) => return Ok(Some(Self(server))),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| anyhow::anyhow!("it was not started")))
    }

    /// The settings of a registry that keeps its data in a bucket.
    pub fn settings(&self, bucket: &str) -> Vec<(String, String)> {
        gcs::settings(&self.0.address, bucket)
    }
}
