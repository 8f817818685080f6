//! What a scrub has found so far, and where it goes on: in memory, and in the file of
//! `--state`.

use crate::files::{self, Existing, PUBLIC};
use anyhow::{Context as _, bail};
use roadstead_bridge::scrub::{Counts, Finding, Progress};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// How many findings are kept for the result. Further ones are shown, and counted.
///
/// Limit: findings that `roadstead scrub` keeps; test: `findings_are_kept_up_to_a_limit`.
const KEPT: usize = 10_000;

/// The largest file of `--state`, in bytes.
///
/// Limit: bytes of the file of `roadstead scrub --state`; test: none, ours are shorter.
const FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// A scrub.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// What is scrubbed.
    target: String,
    /// Where it goes on; none before its beginning and after its end.
    #[serde(default)]
    pub(super) cursor: Option<String>,
    /// What was looked at.
    #[serde(default)]
    pub(super) counts: Counts,
    /// Bytes that were hashed.
    #[serde(default)]
    pub(super) hashed: u64,
    /// What was found.
    #[serde(default)]
    pub(super) findings: Vec<Finding>,
    /// Findings of damage that are not kept.
    #[serde(default)]
    pub(super) dropped: u64,
    #[serde(skip)]
    file: Option<PathBuf>,
}

impl Saved {
    /// A scrub that begins, or goes on where a file says. One that has ended begins
    /// again.
    ///
    /// # Errors
    /// When the file cannot be read, or is of another target.
    pub fn open(file: Option<&Path>, target: Option<&str>) -> anyhow::Result<Self> {
        let new = Self {
            target: target.unwrap_or_default().to_owned(),
            file: file.map(Path::to_owned),
            ..Self::default()
        };
        let Some(path) = file else { return Ok(new) };
        let text = match files::read(path, FILE_LIMIT) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(new),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let saved: Self = serde_json::from_slice(&text).with_context(|| {
            format!("{} is no state of a scrub; remove it to begin another", path.display())
        })?;
        if saved.target != new.target {
            bail!(
                "{} is of a scrub of {:?}; give that target, or another file",
                path.display(),
                saved.target
            );
        }
        Ok(if saved.goes_on() { Self { file: new.file, ..saved } } else { new })
    }

    /// Whether it has begun and not ended.
    pub(super) fn goes_on(&self) -> bool {
        self.cursor.is_some()
    }

    /// Whether something is damaged, as far as the scrub has come.
    pub(super) fn is_damaged(&self) -> bool {
        let unknown = self.dropped > 0 || self.counts.unlisted > 0;
        unknown || self.findings.iter().any(|finding| finding.kind.is_damage())
    }

    /// Adds what a slice has found.
    pub(super) fn add(&mut self, progress: Progress) {
        self.counts.add(&progress.counts);
        self.hashed = self.hashed.saturating_add(progress.hashed);
        for finding in progress.findings {
            if self.findings.len() < KEPT {
                self.findings.push(finding);
            } else {
                self.dropped += u64::from(finding.kind.is_damage());
            }
        }
        self.cursor = progress.cursor;
    }

    /// Writes the file, if there is one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self) -> anyhow::Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        let text = serde_json::to_vec(self)?;
        files::write(path, &text, PUBLIC, Existing::Replace)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
