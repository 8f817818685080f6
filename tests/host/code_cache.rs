//! Compiled code: the built-in component's is in the binary; that of another one is
//! cached, which saves time and has no other effect.

#![cfg(unix)]

use crate::support::{TEST_LIMIT, assert_well, within};
use roadstead_tests::{Registry, binary, command};
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The host's log line if it had to compile.
const COMPILED: &str = "compiled the component";

/// Starts a host with a component in a file and the cache directory `cache`, and
/// returns its log.
async fn start(cache: &Path) -> String {
    let root = tempfile::tempdir().unwrap();
    let component = root.path().join("component.wasm");
    fs::write(&component, roadstead_embedded::COMPONENT).unwrap();
    let variables = [("REGISTRY_LOG_LEVEL", "debug")];
    let arguments =
        ["--component", component.to_str().unwrap(), "--cache", cache.to_str().unwrap()];
    let host = Registry::start(&root.path().join("data"), &variables, &arguments).unwrap();
    assert_well(&host.address).await;
    host.log()
}

fn files(cache: &Path) -> Vec<PathBuf> {
    fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The only file of the cache.
fn code(cache: &Path) -> PathBuf {
    let mut files = files(cache);
    assert_eq!(files.len(), 1, "{files:?}");
    let file = files.remove(0);
    assert_eq!(file.extension().unwrap(), "cwasm");
    file
}

/// The first start without a cache, and without a place for one, compiles nothing.
#[tokio::test]
async fn the_built_in_component_is_compiled_by_the_build() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("home");
    for home in [None, Some(&home)] {
        let mut command = command(["serve"]);
        command
            .env_remove("XDG_CACHE_HOME")
            .env_remove("HOME")
            .envs(home.map(|home| ("HOME", home)))
            .env("REGISTRY_LOG_LEVEL", "debug")
            .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root.path().join("data"))
            .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0");
        let host = Registry::serve(command).unwrap();
        within(TEST_LIMIT, assert_well(&host.address)).await;
        let log = host.log();
        assert!(!log.contains(COMPILED), "{log}");
        // It runs where it lies: besides the program's own code, a part of its file is
        // executable.
        #[cfg(target_os = "linux")]
        {
            let maps = fs::read_to_string(format!("/proc/{}/maps", host.pid())).unwrap();
            let program = binary().unwrap();
            let of_program =
                |line: &&str| line.contains(" r-xp ") && line.ends_with(program.to_str().unwrap());
            assert_eq!(maps.lines().filter(of_program).count(), 2, "{maps}");
        }
    }
    assert!(!home.exists(), "something was written");
}

#[tokio::test]
async fn the_second_start_compiles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("a/cache");
    within(TEST_LIMIT, async {
        let log = start(&cache).await;
        assert!(log.contains(COMPILED), "{log}");
        assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
        let file = code(&cache);
        let first = fs::metadata(&file).unwrap();

        let log = start(&cache).await;
        assert!(!log.contains(COMPILED), "{log}");
        let second = fs::metadata(code(&cache)).unwrap();
        assert_eq!(second.modified().unwrap(), first.modified().unwrap());
        assert_eq!(second.ino(), first.ino());
    })
    .await;
}

#[tokio::test]
async fn damaged_code_is_compiled_again() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    // It compiles four times.
    within(2 * TEST_LIMIT, async {
        start(&cache).await;
        let file = code(&cache);
        let whole = fs::read(&file).unwrap();
        let half = &whole[..whole.len() / 2];
        for damaged in [b"".as_slice(), b"garbage", half] {
            // A new file in its place: the old one may be mapped.
            fs::remove_file(&file).unwrap();
            fs::write(&file, damaged).unwrap();
            let log = start(&cache).await;
            assert!(log.contains("cached code is not used"), "{log}");
            assert!(log.contains(COMPILED), "{log}");
            let log = start(&cache).await;
            assert!(!log.contains(COMPILED), "it was not replaced: {log}");
        }
    })
    .await;
}

/// Code in a directory that others can write would run with the host's rights.
#[tokio::test]
async fn a_directory_that_others_can_write_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, async {
        for mode in [0o770, 0o707] {
            let cache = directory.path().join(format!("{mode:o}"));
            fs::DirBuilder::new().mode(0o700).create(&cache).unwrap();
            // Independent of the umask.
            fs::set_permissions(&cache, fs::Permissions::from_mode(mode)).unwrap();
            let log = start(&cache).await;
            assert!(log.contains("compiled code is not cached in"), "{log}");
            assert!(log.contains(COMPILED), "{log}");
            assert!(files(&cache).is_empty(), "{:?}", files(&cache));
        }
    })
    .await;
}
