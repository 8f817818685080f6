//! The host's binary, built by this package so that its tests can run it.

fn main() -> std::process::ExitCode {
    roadstead::main()
}
