//! The registry as one program: the host, and the component's compiled code.

use std::process::ExitCode;

/// Begins at a page, of the largest size that pages have, so that code in it can be
/// executed where it lies.
#[cfg_attr(target_os = "linux", repr(align(65536)))]
#[cfg_attr(not(target_os = "linux"), repr(align(16384)))]
struct Paged<T: ?Sized>(T);

/// What the build made of the component for this target.
static COMPILED: &Paged<[u8]> =
    &Paged(*include_bytes!(concat!(env!("OUT_DIR"), "/component.cwasm")));

/// The commit of the source, which the scripts that make releases tell the build.
const COMMIT: Option<&str> = option_env!("ROADSTEAD_COMMIT");

/// Runs the command line, and returns the exit status.
pub fn main() -> ExitCode {
    roadstead_host::cli::main(&COMPILED.0, COMMIT)
}
