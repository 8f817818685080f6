//! Compiles the component, so that no start has to.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    // Cargo runs this again if the component changes, which the crate contains.
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("TARGET").unwrap_or_default();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let written = roadstead_host::precompile(roadstead_host::COMPONENT, &target)
        .and_then(|code| Ok(fs::write(out.join("component.cwasm"), code)?));
    if let Err(error) = written {
        println!("cargo::error=the component cannot be compiled for {target}: {error:#}");
        std::process::exit(1);
    }
}
