//! The `roadstead` binary.

fn main() -> anyhow::Result<()> {
    roadstead::cli::main()
}
