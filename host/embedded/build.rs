//! Builds the component, which the host embeds.
//!
//! Cargo cannot yet depend on the artifact of another target, so this calls
//! cargo again, with a profile of its own: the two builds share the target
//! directory but not a lock.

mod nested;

use nested::TARGET;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const PACKAGE: &str = "roadstead-component";

fn main() {
    let out = PathBuf::from(var("OUT_DIR"));
    let root = PathBuf::from(var("CARGO_MANIFEST_DIR")).join("../..");
    for input in ["Cargo.lock", "Cargo.toml", "rust-toolchain.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    // The sources of its crates, and not their tests.
    let crates = fs::read_dir(root.join("component"));
    for entry in crates.unwrap_or_else(|error| panic!("component: {error}")).flatten() {
        for input in ["Cargo.toml", "build.rs", "src"] {
            let path = entry.path().join(input);
            if path.exists() {
                println!("cargo::rerun-if-changed={}", path.display());
            }
        }
    }
    if !target_installed() {
        // Lines of a build script's panic are indented by cargo; an error
        // line is shown as it is.
        println!(
            "cargo::error=the Rust target {TARGET} is not installed; run: .ci/install-wasm-target"
        );
        std::process::exit(1);
    }
    let target_directory = target_directory(&out);
    match nested::build(&root, PACKAGE, &target_directory).status() {
        Ok(status) if status.success() => {}
        outcome => {
            println!("cargo::error=the component could not be built: {outcome:?}");
            std::process::exit(1);
        }
    }
    let component = nested::component(PACKAGE, &target_directory);
    if let Err(error) = fs::copy(&component, out.join("component.wasm")) {
        println!("cargo::error=cannot read {}: {error}", component.display());
        std::process::exit(1);
    }
}

/// Whether the compiler has the target's standard library.
fn target_installed() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output =
        Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let Ok(output) = output else { return false };
    let path = String::from_utf8_lossy(&output.stdout);
    fs::read_dir(Path::new(path.trim())).is_ok_and(|mut files| {
        files.any(|file| {
            file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
        })
    })
}

/// The target directory that this build uses, whoever chose it.
fn target_directory(out: &Path) -> PathBuf {
    let tagged = out.ancestors().find(|directory| directory.join("CACHEDIR.TAG").exists());
    // Cargo tags only directories that it makes itself; in others, this is
    // <target>/<profile>/build/<package>/out.
    tagged.or(out.ancestors().nth(4)).unwrap_or(out).to_owned()
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
