//! The `roadstead` binary.

fn main() -> anyhow::Result<std::process::ExitCode> {
    roadstead::cli::main()
}
