//! `roadstead htpasswd`, and Apache's tool on the same files.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the helpers of tests are tests"
)]

use clap::Parser;
use roadstead_operator::htpasswd::{Args, Streams, run};
use std::path::Path;
use std::process::Command;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

struct Outcome {
    status: u8,
    output: String,
    errors: String,
}

fn htpasswd(input: &str, arguments: &[&str]) -> Outcome {
    let arguments = ["htpasswd"].iter().chain(arguments);
    let args = Cli::try_parse_from(arguments).expect("the flags are known").args;
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut streams =
        Streams { input: &mut input.as_bytes(), output: &mut output, errors: &mut errors };
    let status = run(&args, &mut streams);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { status, output: text(output), errors: text(errors) }
}

fn file() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd").to_str().unwrap().to_owned();
    (directory, path)
}

#[cfg(unix)]
fn mode(path: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Runs Apache's tool; where it is missing, prints that the test is skipped.
fn apache(arguments: &[&str]) -> Option<i32> {
    match Command::new("htpasswd").args(arguments).output() {
        Ok(output) => output.status.code(),
        Err(error) => {
            assert!(
                std::env::var_os("ROADSTEAD_REQUIRE_CLIENTS").is_none(),
                "no htpasswd: {error}; install apache2-utils"
            );
            println!("SKIPPED: no htpasswd ({error}); Debian has it in apache2-utils");
            None
        }
    }
}

#[test]
fn entries_are_printed() {
    for arguments in [
        &["-Bbn", "-C", "4", "alice", "secret"][..],
        &["-nb", "-C4", "alice", "secret"],
        &["-BbnC", "4", "alice", "secret"],
    ] {
        let Outcome { status, output, errors } = htpasswd("", arguments);
        assert_eq!((status, errors.as_str()), (0, ""), "{arguments:?}");
        assert!(output.starts_with("alice:$2y$04$") && output.ends_with('\n'), "{output}");
        assert!(bcrypt::verify("secret", output.trim().split_once(':').unwrap().1).unwrap());
    }
    // The command of distribution's documentation, without a cost.
    assert!(htpasswd("", &["-Bbn", "alice", "secret"]).output.starts_with("alice:$2y$10$"));
    // A password may look like a flag, and may end with a line end.
    let dashes = htpasswd("", &["-BbnC4", "alice", "-n"]);
    assert!(bcrypt::verify("-n", dashes.output.trim().split_once(':').unwrap().1).unwrap());
    for input in ["secret", "secret\n", "secret\r\n"] {
        let entry = htpasswd(input, &["-iBnC", "4", "alice"]).output;
        assert!(bcrypt::verify("secret", entry.trim().split_once(':').unwrap().1).unwrap());
    }
}

#[test]
fn a_file_is_kept() {
    let (_directory, path) = file();
    let step = |arguments: &[&str], status: u8, said: &str| {
        let outcome = htpasswd("", arguments);
        assert_eq!(outcome.status, status, "{arguments:?}: {}", outcome.errors);
        assert!(outcome.errors.contains(said), "{arguments:?}: {}", outcome.errors);
        assert_eq!(outcome.output, "");
    };
    step(&["-bC4", &path, "alice", "one"], 1, "does not exist; create it with -c");
    step(&["-cbC4", &path, "alice", "one"], 0, "Adding password for user alice");
    #[cfg(unix)]
    assert_eq!(mode(&path), 0o600);
    std::fs::write(&path, format!("# ours\n{}", std::fs::read_to_string(&path).unwrap())).unwrap();
    step(&["-bC4", &path, "bob", "two"], 0, "Adding password for user bob");
    step(&["-bC4", &path, "alice", "three"], 0, "Updating password for user alice");
    step(&["-vb", &path, "alice", "three"], 0, "Password for user alice correct.");
    step(&["-vb", &path, "alice", "one"], 3, "password verification failed");
    step(&["-vb", &path, "carol", "one"], 6, "User carol not found");
    step(&["-D", &path, "bob"], 0, "Deleting password for user bob");
    step(&["-D", &path, "bob"], 0, "User bob not found");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# ours\nalice:$2y$04$") && text.lines().count() == 2, "{text}");
    step(&["-cbC4", &path, "dora", "four"], 0, "; 1 other user of ");
}

#[cfg(unix)]
#[test]
fn the_mode_the_owner_and_a_link_stay() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    let (directory, path) = file();
    std::fs::write(&path, "bob:x\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    // Only root can change the owner.
    let given = chown(&path, Some(4321), Some(1234)).is_ok();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(htpasswd("", &["-bC4", link.to_str().unwrap(), "alice", "one"]).status, 0);
    assert!(link.is_symlink());
    assert_eq!(mode(&path), 0o640);
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(given, (metadata.uid(), metadata.gid()) == (4321, 1234));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("bob:x\nalice:$2y$"));
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn what_is_wrong_is_said() {
    let (_directory, path) = file();
    let (long, longer) = ("p".repeat(72), "p".repeat(73));
    let name = "n".repeat(256);
    for (arguments, status, said) in [
        (&["-mbn", "alice", "secret"][..], 2, "registries read bcrypt only"),
        (&["-2bn", "alice", "secret"], 2, "registries read bcrypt only"),
        (&["-n"], 2, "these flags require USER;"),
        (&["-Bbn", "alice"], 2, "require USER PASSWORD"),
        (&["-c", &path, "alice", "secret"], 2, "on the command line, use -b"),
        (&["-bn", "a:b", "secret"], 6, "colon"),
        (&["-bn", "", "secret"], 6, "empty"),
        (&["-bn", "#a", "secret"], 6, "comment"),
        (&["-bn", "a\nb", "secret"], 6, "control"),
        (&["-bn", &name, "secret"], 5, "the limit is 255"),
        (&["-bnC4", "alice", &longer], 5, "73 bytes; bcrypt ignores all after the first 72"),
        (&["-bnC4", "alice", &long], 0, ""),
        (&["-bn", "alice", ""], 2, "empty"),
        (&["-in", "alice"], 2, "standard input is empty"),
    ] {
        let outcome = htpasswd("", arguments);
        assert_eq!(outcome.status, status, "{arguments:?}: {}", outcome.errors);
        assert!(outcome.errors.contains(said), "{arguments:?}: {}", outcome.errors);
    }
    assert!(!Path::new(&path).exists());
    std::fs::write(&path, "nonsense\n").unwrap();
    assert_eq!(htpasswd("", &["-b", &path, "alice", "secret"]).status, 7);
    std::fs::write(&path, "alice:$apr1$x$y\n").unwrap();
    assert_eq!(htpasswd("", &["-vb", &path, "alice", "secret"]).status, 7);
}

#[test]
fn unknown_flags_and_costs_are_refused() {
    for arguments in [
        &["-BbnC", "3", "alice", "secret"][..],
        &["-BbnC18", "alice", "secret"],
        &["-cn", "alice"],
        &["-cv", "file", "alice"],
        &["-bin", "alice"],
    ] {
        assert!(
            Cli::try_parse_from(["htpasswd"].iter().chain(arguments)).is_err(),
            "{arguments:?}"
        );
    }
}

#[test]
fn apache_reads_ours_and_we_read_apaches() {
    let (_directory, path) = file();
    assert_eq!(htpasswd("", &["-cbC4", &path, "alice", "one"]).status, 0);
    let Some(status) = apache(&["-vb", &path, "alice", "one"]) else { return };
    assert_eq!(status, 0);
    assert_eq!(apache(&["-vb", &path, "alice", "two"]), Some(3));
    assert_eq!(apache(&["-bBC", "4", &path, "bob", "two"]), Some(0));
    assert_eq!(htpasswd("", &["-vb", &path, "bob", "two"]).status, 0);
    assert_eq!(htpasswd("", &["-vb", &path, "bob", "one"]).status, 3);
    assert_eq!(htpasswd("", &["-vb", &path, "alice", "one"]).status, 0);
    // A change of one leaves the other's entry good.
    assert_eq!(htpasswd("", &["-bC4", &path, "alice", "three"]).status, 0);
    assert_eq!(apache(&["-vb", &path, "bob", "two"]), Some(0));
    assert_eq!(apache(&["-D", &path, "bob"]), Some(0));
    assert_eq!(htpasswd("", &["-vb", &path, "bob", "two"]).status, 6);
}
