//! Commands that chart jobs and operators call, on a registry that runs and on its
//! directory: distribution's flags, what a run took away and is given back, and deletions.

use crate::collect::{DELETE, HOUR, WAITS, image, printed, printed_by, push, text};
use crate::disk::Disk;
use crate::images::{Image, pull, put_manifest};
use crate::start::{assert_says, refusal};
use crate::support::{TEST_LIMIT, ask, code, push_blob, request, within};
use bytes::Bytes;
use roadstead_tests::{Registry, command, digest, make_older};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

/// Pushes two images with one tag, and returns the digest of the first, to which nothing
/// leads then.
async fn push_over(address: &str, repository: &str, [former, later]: [Image; 2]) -> String {
    push(address, repository, former).await;
    push(address, repository, later).await;
    digest(&former.manifest())
}

/// A data directory, and a configuration file that names it.
fn configured(directory: &Path) -> (PathBuf, PathBuf) {
    let (root, config) = (directory.join("data"), directory.join("config.yml"));
    let rooted =
        format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", root.display());
    std::fs::write(&config, rooted).unwrap();
    (root, config)
}

/// The command line of the `CronJob` of twuni's chart, which gives the flag one of both
/// values.
#[tokio::test]
async fn the_cron_job_of_twunis_chart() {
    let directory = tempfile::tempdir().unwrap();
    let (root, config) = configured(directory.path());
    within(TEST_LIMIT, async {
        let host = Registry::start(&root, &[], &[]).unwrap();
        let former = push_over(&host.address, "a", [image(1, 1000), image(2, 1000)]).await;
        drop(host);
        let link = Disk(&root).revision_link("a", &former);
        let collected = |flags: &[&str]| {
            let mut job = command([&["garbage-collect"], flags, &[text(&config)]].concat());
            printed_by(job.arg0("/bin/registry"))
        };
        let said = collected(&["--delete-untagged=false"]);
        assert_says(&said, &["6 blobs marked, 0 blobs and 0 manifests eligible for deletion"]);
        assert!(link.exists());
        let eligible = format!("3 blobs marked, 3 blobs and 1 manifests eligible for deletion\nmanifest eligible for deletion: {former}");
        let said = collected(&["--dry-run=true", "--delete-untagged=true"]);
        assert_says(&said, &[&eligible]);
        assert!(link.exists());
        assert_eq!(collected(&["--dry-run=true", "-q=true", "--delete-untagged=true"]), "");
        let said = collected(&["--delete-untagged=true"]);
        assert_says(&said, &["3 blobs marked, 3 blobs and 1 manifests", "deleted 3 blobs"]);
        assert!(!link.exists());
        let host = Registry::start(&root, &[], &[]).unwrap();
        let left = pull(&host.address, "a", "latest").await;
        assert_eq!(left, digest(&image(2, 1000).manifest()));
    })
    .await;
}

/// Whatever its flags, as `gc` does.
#[tokio::test]
async fn garbage_collect_leaves_a_directory_that_is_served_to_its_registry() {
    let directory = tempfile::tempdir().unwrap();
    let (root, config) = configured(directory.path());
    within(TEST_LIMIT, async {
        let host = Registry::start(&root, &[], &[]).unwrap();
        let garbage = push_blob(&host.address, "a", &Bytes::from(vec![7; 2048])).await;
        let data = Disk(&root).blob(&garbage);
        for flags in [&[][..], &["-m"], &["-d"], &["-q"], &["--alone"]] {
            let said = refusal(command([&["garbage-collect"], flags, &[text(&config)]].concat()));
            let expected = ["another process serves", text(&root), "by its URL: roadstead gc http"];
            assert_says(&said, &expected);
            assert_eq!((said.lines().count(), data.is_file()), (1, true), "{said}");
        }
        drop(host);
        printed(&["garbage-collect", "--keep", text(&config)]);
        assert!(data.is_file());
        printed(&["garbage-collect", text(&config)]);
        assert!(!data.exists());
    })
    .await;
}

/// The manifests that keep a blob, with their tags: of a registry that runs, and of its
/// directory, which need not be stopped for that.
#[tokio::test]
async fn what_keeps_a_blob_as_json() {
    let root = tempfile::tempdir().unwrap();
    let former = image(1, 1000);
    let later = Image { layer: image(2, 1000).layer, ..former };
    let config = former.config;
    within(TEST_LIMIT, async {
        let host = Registry::start(root.path(), &[DELETE], &[]).unwrap();
        let untagged = push_over(&host.address, "a/b", [former, later]).await;
        let tagged = digest(&later.manifest());
        let expected = BTreeMap::from([(untagged, json!([])), (tagged, json!(["latest"]))]);
        let url = format!("http://{}", host.address);
        for target in [url.as_str(), text(root.path())] {
            let said = printed(&["gc", target, "--why", &config.digest(), "--json"]);
            let why: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(why["blob"]["size"], config.size, "{why}");
            let [repository] = &why["repositories"].as_array().unwrap()[..] else {
                panic!("not one repository: {why}")
            };
            assert_eq!((&repository["name"], &repository["count"]), (&"a/b".into(), &2.into()));
            let holders = repository["holders"].as_array().unwrap().iter().map(|holder| {
                (holder["manifest"].as_str().unwrap().to_owned(), holder["tags"].clone())
            });
            assert_eq!(holders.collect::<BTreeMap<_, _>>(), expected, "{why}");
        }
    })
    .await;
}

/// A directory whose garbage is collected, and the registry on it, if one serves it.
struct Collected {
    root: PathBuf,
    host: Option<Registry>,
}

impl Collected {
    fn serve(&self) -> Registry {
        let often = ("REGISTRY_STORAGE_MAINTENANCE_GC_INTERVAL", "1m");
        Registry::start(&self.root, &[&[DELETE, often], &WAITS[..]].concat(), &[]).unwrap()
    }

    /// Has hours pass.
    fn pass(&mut self, hours: u32) {
        let served = self.host.take().is_some();
        make_older(&self.root, HOUR * hours);
        self.host = served.then(|| self.serve());
    }

    /// What the command prints that is given a registry by its URL, or else the directory.
    fn gc(&self, flags: &[&str]) -> String {
        let url = self.host.as_ref().map(|host| format!("http://{}", host.address));
        let target = url.as_deref().unwrap_or(text(&self.root));
        printed_by(command([&["gc", target], flags].concat()).envs(WAITS))
    }

    /// The report of a run that keeps what it condemns.
    fn report(&self, flags: &[&str]) -> Value {
        let keep = self.host.is_none().then_some("--keep");
        let flags: Vec<_> = flags.iter().copied().chain(keep).chain(["--json"]).collect();
        let mut said: Value = serde_json::from_str(&self.gc(&flags)).unwrap();
        assert_eq!(said["status"], "done", "{said}");
        said["report"].take()
    }
}

#[tokio::test]
async fn a_run_is_undone_in_a_directory() {
    Box::pin(a_run_is_undone(false)).await;
}

#[tokio::test]
async fn a_run_is_undone_in_a_registry_that_runs() {
    Box::pin(a_run_is_undone(true)).await;
}

/// A run has condemned a blob and deleted an untagged manifest, and both come back.
async fn a_run_is_undone(served: bool) {
    let directory = tempfile::tempdir().unwrap();
    let mut place = Collected { root: directory.path().join("data"), host: None };
    let images = [image(1, 1000), image(2, 1000)];
    within(TEST_LIMIT, async {
        let host = place.serve();
        let garbage = push_blob(&host.address, "a", &Bytes::from(vec![7; 2048])).await;
        let former = push_over(&host.address, "a", images).await;
        place.host = served.then_some(host);
        place.pass(2);
        assert_eq!(place.report(&[])["sighted"], 1);
        place.pass(2);
        let report = place.report(&["--delete-untagged", "--untagged-age", "1h"]);
        assert_eq!((&report["condemned"], &report["untagged"]), (&1.into(), &1.into()));
        let run = report["run"].as_str().unwrap();
        let links = {
            let disk = Disk(&place.root);
            [disk.layer_link("a", &garbage), disk.revision_link("a", &former)]
        };
        let there = || links.each_ref().map(|link| link.exists());
        assert_eq!(there(), [false; 2]);
        assert_says(&place.gc(&["--why", &garbage]), &["condemned"]);

        let said = place.gc(&["--undo", run, "--dry-run"]);
        assert_says(&said, &[&format!("run {run} undone"), "to give back:1 blob needed again"]);
        assert_eq!(there(), [false; 2]);
        let said = place.gc(&["--undo", run]);
        let undone = format!("run {run} undone");
        assert_says(
            &said,
            &[&undone, "given back: 1 blob needed", "restored:   1 manifest needed"],
        );
        // Before a request can have restored them.
        assert_eq!(there(), [true; 2]);
        assert_says(&place.gc(&["--reports"]), &[&format!("undid {run}"), "gave back 1"]);
        let report = place.report(&["--undo", run]);
        assert_eq!((&report["given_back"], &report["restored"]), (&0.into(), &0.into()));
        assert_eq!(report["undone"], run);

        // What was given back outlasts the next run.
        place.pass(2);
        assert_eq!(place.report(&[])["condemned"], 0);
        assert_eq!(there(), [true; 2]);
        let host = place.host.take().unwrap_or_else(|| place.serve());
        ask(&host.address, request(&format!("HEAD /v2/a/blobs/{garbage}"), ""), 200).await;
        assert_eq!(pull(&host.address, "a", &former).await, former);
        assert_eq!(pull(&host.address, "a", "latest").await, digest(&images[1].manifest()));
    })
    .await;
}

/// The status of `roadstead rm`, what it prints, and what went wrong.
fn rm(arguments: &[&str]) -> (i32, String, String) {
    let output = command([&["rm"], arguments].concat()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The content of a list.
async fn listed(address: &str, path: &str) -> Value {
    let answer = ask(address, request(&format!("GET {path}"), ""), 200).await;
    serde_json::from_slice(answer.body()).unwrap()
}

/// A tag, a manifest with its tags, and a repository, by the registry's address.
#[tokio::test]
async fn a_registry_that_runs_deletes_by_command() {
    let root = tempfile::tempdir().unwrap();
    let [shared, alone, other] = [image(1, 1000), image(2, 1000), image(3, 1000)];
    within(TEST_LIMIT, async {
        let host = Registry::start(root.path(), &[DELETE], &[]).unwrap();
        let address = &host.address;
        for (repository, image) in [("team/app", shared), ("team/app", alone), ("team/b", other)] {
            push(address, repository, image).await;
        }
        for (tag, image) in [("a", shared), ("b", shared), ("c", shared), ("d", alone)] {
            ask(address, put_manifest("team/app", tag, image.manifest()), 201).await;
        }
        let tags = async || listed(address, "/v2/team/app/tags/list").await["tags"].take();
        let missing = async |reference: &str| {
            let line = format!("GET /v2/team/app/manifests/{reference}");
            let answer = ask(address, request(&line, ""), 404).await;
            assert_eq!(code(answer.body()), "MANIFEST_UNKNOWN", "{line}");
        };
        let at = format!("{address}/team/app");
        let manifest = digest(&shared.manifest());
        assert_eq!(tags().await, json!(["a", "b", "c", "d", "latest"]));

        let tag = format!("{at}:a");
        let (status, said, problem) = rm(&["--dry-run", &tag]);
        assert_eq!((status, tags().await.as_array().unwrap().len()), (0, 5), "{problem}");
        assert_says(&said, &[&format!("would delete {tag}, which leads to {manifest}")]);
        let (status, said, problem) = rm(&[&tag]);
        assert_eq!(status, 0, "{problem}");
        assert_says(&said, &[&format!("deleted {tag}; its manifest stays")]);
        assert_eq!(tags().await, json!(["b", "c", "d", "latest"]));
        missing("a").await;
        assert_eq!(pull(address, "team/app", &manifest).await, manifest);
        let (status, _, problem) = rm(&[&tag]);
        assert_eq!(status, 3, "{problem}");

        let by_digest = format!("http://{at}@{manifest}");
        let (status, said, problem) = rm(&["--dry-run", &by_digest]);
        assert_eq!(status, 0, "{problem}");
        assert_says(&said, &["with its tags: b, c"]);
        let (status, said, problem) = rm(&[&by_digest]);
        assert_eq!(status, 0, "{problem}");
        assert_says(&said, &[&manifest, "with its tags"]);
        assert_eq!(tags().await, json!(["d", "latest"]));
        missing("b").await;
        missing(&manifest).await;
        assert_eq!(pull(address, "team/app", "d").await, digest(&alone.manifest()));

        let catalog = async || listed(address, "/v2/_catalog").await["repositories"].take();
        assert_eq!(catalog().await, json!(["team/app", "team/b"]));
        let (status, said, problem) = rm(&["--repository", &at]);
        assert_eq!(status, 0, "{problem}");
        assert_says(&said, &["2 tags, 1 manifests"]);
        assert_eq!(catalog().await, json!(["team/b"]));
        let gone = request("GET /v2/team/app/tags/list", "");
        assert_eq!(code(ask(address, gone, 404).await.body()), "NAME_UNKNOWN");
        missing("d").await;
        for blob in [shared, alone].iter().flat_map(|image| image.blobs()) {
            let line = format!("HEAD /v2/team/app/blobs/{}", blob.digest());
            ask(address, request(&line, ""), 404).await;
        }
        let (status, _, problem) = rm(&["--repository", &at]);
        assert_eq!(status, 3, "{problem}");
        assert_eq!(pull(address, "team/b", "latest").await, digest(&other.manifest()));
    })
    .await;
}

/// A registry whose settings do not allow deletion says so, and has all of it afterwards.
#[tokio::test]
async fn a_registry_that_runs_may_not_delete() {
    let root = tempfile::tempdir().unwrap();
    let image = image(1, 1000);
    within(TEST_LIMIT, async {
        let host = Registry::start(root.path(), &[], &[]).unwrap();
        push(&host.address, "a", image).await;
        let at = format!("{}/a", host.address);
        let (tag, by_digest) =
            (format!("{at}:latest"), format!("{at}@{}", digest(&image.manifest())));
        for arguments in [&[tag.as_str()][..], &[&by_digest], &["--repository", &at]] {
            let (status, said, problem) = rm(arguments);
            assert_eq!((status, said.as_str()), (1, ""), "{arguments:?}");
            assert_says(&problem, &["REGISTRY_STORAGE_DELETE_ENABLED=true"]);
        }
        assert_eq!(pull(&host.address, "a", "latest").await, digest(&image.manifest()));
        assert_eq!(printed(&["rm", "--dry-run", &tag]).lines().count(), 1);
    })
    .await;
}
