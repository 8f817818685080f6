//! Guides that people follow, command by command, with a Docker Engine and this
//! project's image under the names that the guides use. What is run are [`DOCUMENTS`], each
//! section on a new machine.
//!
//! Skipped with a message where no engine can run. `ROADSTEAD_GUIDE=<words of a heading>`
//! runs one section, and prints what its commands print.
#![cfg(unix)]

mod document;
mod machine;

use document::{Section, fits, sections};
use machine::{Machine, tools};
use roadstead_image::{Description, Program, build};
use roadstead_tests::program::available;
use roadstead_tests::target_directory;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The documents whose commands are typed.
const DOCUMENTS: [&str; 4] =
    ["docs/first-registry.md", "docs/from-registry-2.md", "docs/guides.md", "docs/air-gap.md"];

/// Programs that sections need which have these words in their headings.
const PROGRAMS: [(&str, &str); 4] = [
    ("Signatures", "cosign"),
    ("Signatures", "notation"),
    ("Kubernetes", "ctr"),
    ("old registry", "docker-registry"),
];

#[tokio::test]
async fn guides_word_for_word() {
    let test = "guides_word_for_word";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let only = std::env::var("ROADSTEAD_GUIDE").ok();
    if !Machine::is_possible(test).await {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let archive = files.path().join("image.tar");
    write_image(&program(&root), &archive);
    let (mut found, mut wrong) = (0, Vec::new());
    for name in DOCUMENTS {
        let document = std::fs::read_to_string(root.join(name)).unwrap();
        for section in sections(&document) {
            if only.as_ref().is_some_and(|only| !section.title.contains(only)) {
                continue;
            }
            found += 1;
            if !has_programs(test, &section).await {
                continue;
            }
            let Some(machine) = Machine::start(test, &archive).await else { break };
            wrong.extend(
                walk(&machine, &section, only.is_some()).await.map(|it| name.to_owned() + &it),
            );
        }
    }
    assert!(found > 0, "no section's heading has {only:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

async fn has_programs(test: &str, section: &Section) -> bool {
    let needed = PROGRAMS.iter().filter(|(words, _)| section.title.contains(words));
    for (_, program) in needed {
        let own = tools().join(program);
        let program = if own.exists() { own.to_str().unwrap() } else { program };
        if !available(test, program).await {
            return false;
        }
    }
    true
}

/// Types the commands of a section, up to one that does not print what it should.
async fn walk(machine: &Machine, section: &Section, show: bool) -> Option<String> {
    for command in &section.commands {
        let printed = machine.shell(&command.typed).await;
        if show {
            println!("$ {}\n{}", command.typed, printed.text);
        }
        let lines: Vec<_> = printed.text.lines().collect();
        if printed.succeeded == command.fails || !fits(&command.printed, &lines) {
            // What follows depends on it.
            return Some(format!(
                ":{}: {}\nexpected{}:\n{}\nprinted:\n{}",
                command.line,
                command.typed,
                if command.fails { " to fail" } else { "" },
                command.printed.join("\n"),
                printed.text
            ));
        }
    }
    None
}

/// The program as images have it, without shared libraries. All that it consists of is
/// compiled already; cargo only links it again.
fn program(root: &Path) -> PathBuf {
    if let Some(program) = std::env::var_os("ROADSTEAD_PROGRAM") {
        return program.into();
    }
    let target = target_directory().unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .args([
            "rustc",
            "--release",
            "--package",
            "roadstead",
            "--bin",
            "roadstead",
            "--target-dir",
        ])
        .arg(&target)
        .args(["--", "-C", "target-feature=+crt-static"]);
    // Cargo has set these for this test. Build scripts that look at them, and all that is
    // built with what they make, would be run again.
    for (name, _) in std::env::vars_os() {
        let of_package = |name: &str| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.starts_with(start))
        };
        if name.to_str().is_some_and(of_package) {
            cargo.env_remove(name);
        }
    }
    assert!(cargo.status().unwrap().success(), "{cargo:?}");
    target.join("release/roadstead")
}

fn write_image(program: &Path, archive: &Path) {
    let description = Description {
        name: "roadstead:test".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: None,
        created: 0,
    };
    let layout = build(&[Program::read(program).unwrap()], &description).unwrap();
    layout.write_archive(File::create(archive).unwrap(), 0).unwrap();
}
