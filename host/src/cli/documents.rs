//! What packages of this program contain beside it, derived from its command line.

use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;
use roadstead_operator::Output;
use std::path::Path;

/// Prints a shell's completions.
pub(super) fn completions(shell: Shell, command: &mut Command) {
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, command, name, &mut Output::standard());
}

/// Writes `roadstead.1`, and a page for each command, as `roadstead-serve.1`.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn manual_pages(directory: &Path, command: Command) -> anyhow::Result<()> {
    clap_mangen::generate_to(command, directory)
        .with_context(|| format!("cannot write manual pages to {}", directory.display()))
}
