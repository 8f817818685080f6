//! Cargo within cargo: a build of a component while another build goes on. Tests build a
//! component of their own with it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What components are built for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

const PROFILE: &str = "component";

/// Builds a package of the workspace at `root`.
pub(crate) fn build(root: &Path, package: &str, target_directory: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .current_dir(root)
        .args(["build", "--package", package, "--target", TARGET, "--profile", PROFILE])
        .arg("--target-dir")
        .arg(target_directory);
    // What an outer cargo sets for the host's build, or clippy for itself,
    // is not meant for the component.
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "__CARGO_DEFAULT_LIB_METADATA",
    ] {
        build.env_remove(name);
    }
    // The same source gives the same bytes, wherever it is.
    let cargo_home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    );
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let remapped = [(&root, "/roadstead"), (&cargo_home, "/cargo")];
    let flags = remapped.map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    build
}

/// Where the build of a package leaves its component.
pub(crate) fn component(package: &str, target_directory: &Path) -> PathBuf {
    let file = format!("{}.wasm", package.replace('-', "_"));
    target_directory.join(TARGET).join(PROFILE).join(file)
}
