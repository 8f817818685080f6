//! The commands, as somebody types them.

use crate::content::Content;
use crate::local::Local;
use clap::Parser;
use roadstead_operator::Streams;
use roadstead_transfer::{cp, export, import, inventory, key, mirror};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[derive(Parser)]
enum Cli {
    Cp(Box<cp::Args>),
    Import(Box<import::Args>),
    Export(Box<export::Args>),
    Inventory(inventory::Args),
    Key(key::Args),
    Mirror(Box<mirror::Args>),
}

/// The status, what was printed, and what went wrong.
pub(crate) fn run(arguments: &[&str]) -> (u8, String, String) {
    let nowhere: &[&str] = match arguments[0] {
        "key" => &[],
        _ if arguments.contains(&"--docker-config") => &["--docker-directory", "/nonexistent"],
        _ => &["--docker-directory", "/nonexistent", "--docker-config", "/nonexistent"],
    };
    let words = [&["roadstead"], &arguments[..1], nowhere, &arguments[1..]].concat();
    let command = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        input: &mut &b""[..],
        output: &mut output,
        errors: &mut errors,
        screen: roadstead_operator::terminal::Screen::None,
    };
    let status = match command {
        Cli::Cp(args) => cp::run(&args, &Local, &mut streams),
        Cli::Import(args) => import::run(&args, &Local, &mut streams),
        Cli::Export(args) => export::run(&args, &Local, &mut streams),
        Cli::Inventory(args) => inventory::run(&args, &Local, &mut streams),
        Cli::Key(args) => key::run(&args, &mut streams),
        Cli::Mirror(args) => mirror::run(&args, &Local, &mut streams),
    };
    (status, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
}

/// Runs a command that succeeds, and gives what it prints.
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let (status, output, errors) = run(arguments);
    assert_eq!((status, errors.as_str()), (0, ""), "{arguments:?}: {output}");
    output
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

/// A directory, and in it a data directory that has all of a content.
pub(crate) fn filled(content: &Content) -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    std::fs::create_dir(&data).unwrap();
    block_on(content.push(&data));
    (root, data)
}

/// Asserts that a data directory has all of a content, under its tag.
pub(crate) fn assert_whole(content: &Content, data: &Path) {
    assert_eq!(block_on(content.missing(data)), [""; 0]);
    let tag = data.join("docker/registry/v2/repositories/team/app/_manifests/tags/v1/current/link");
    assert_eq!(std::fs::read_to_string(tag).unwrap(), content.digest(3));
}
