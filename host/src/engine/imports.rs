//! What the host offers to the component: the imports of its world, `wit/world.wit`.
//!
//! Nothing else of WASI is offered: a component that is replaced or attacked finds no
//! sockets here. Each interface is also code of this crate, which takes time to build.

use crate::engine::State;
use wasmtime::component::Linker;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, filesystem, random};
use wasmtime_wasi::p3::bindings::clocks::{monotonic_clock, types};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView as _};

/// A linker that has them.
pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    wasmtime_wasi_http::p3::add_to_linker(l)?;
    types::add_to_linker::<_, WasiClocks>(l, State::clocks)?;
    monotonic_clock::add_to_linker::<_, WasiClocks>(l, State::clocks)?;
    // Input and output, clocks, random bytes, standard streams.
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(l)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(l, State::random)?;
    // The component's standard library needs them to be linked. No directory is preopened,
    // so there is nothing to open.
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(l, State::filesystem)?;
    filesystem::types::add_to_linker::<_, WasiFilesystem>(l, State::filesystem)?;
    cli::environment::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, State::cli)?;
    Ok(linker)
}
