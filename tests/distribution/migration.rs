//! What `docs/migrate.md` promises: the same file and variables, thousands of tags, and referrers
//! that distribution wrote.

use super::{DELETES, Image, OCI_INDEX, OCI_MANIFEST, all, programs};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, StatusCode};
use roadstead_tests::{
    Answer, Distribution, PASSWORD, Registry, Step, USER, binary_named, command, delete, entry,
    get, put, send, skip,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The programs, and the files that Debian's package and the images ship for them.
const SHIPPED: [(&str, &str); 3] = [
    ("docker-registry", "debian.yml"),
    ("docker-registry", "registry-2.yml"),
    ("registry", "registry-3.yml"),
];

/// Tags of one repository.
const TAGS: usize = 2_000;

/// Requests at a time, where the order does not matter.
const AT_A_TIME: usize = 16;

/// Both registries with the same file and variables.
struct Both {
    config: PathBuf,
    variables: Vec<(&'static str, String)>,
    theirs: Distribution,
}

impl Both {
    fn over(root: &Path, program: &Path, file: &str) -> Self {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/distribution").join(file);
        let users = root.join("htpasswd");
        std::fs::write(&users, entry().unwrap()).unwrap();
        let mut variables = vec![
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root.join("data").display().to_string()),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true".to_owned()),
            ("REGISTRY_HTTP_ADDR", "127.0.0.1:0".to_owned()),
            // The files' own port may be in use.
            ("REGISTRY_HTTP_DEBUG_ADDR", "127.0.0.1:0".to_owned()),
            ("REGISTRY_AUTH_HTPASSWD_PATH", users.display().to_string()),
        ];
        // Debian's file has the rest.
        if file != "debian.yml" {
            variables.push(("REGISTRY_AUTH", "htpasswd".to_owned()));
            variables.push(("REGISTRY_AUTH_HTPASSWD_REALM", "basic-realm".to_owned()));
        }
        let borrowed: Vec<_> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let theirs = Distribution::with(program, &config, &borrowed);
        Self { config, variables, theirs }
    }

    fn ours(&self) -> Registry {
        let mut command = command(["serve".as_ref(), self.config.as_os_str()]);
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        Registry::serve(command).unwrap()
    }
}

async fn as_user(registry: &Registry, steps: impl IntoIterator<Item = Vec<Step>>) {
    let steps = steps.into_iter().flatten().map(|step| step.login(USER, PASSWORD));
    all(&registry.address, steps.collect()).await;
}

/// A deletion of an image by its digest.
fn deletion(image: &Image) -> Vec<Step> {
    vec![delete(format!("/v2/{}/manifests/{}", image.name, image.digest())).status(202)]
}

/// Whether its tag and its digest are gone.
fn gone(image: &Image) -> Vec<Step> {
    let at = |reference: &str| format!("/v2/{}/manifests/{reference}", image.name);
    ["v1", &image.digest()].map(|reference| get(at(reference)).status(404)).into()
}

#[tokio::test]
async fn in_place_with_the_same_file_and_variables_and_back() {
    for (name, file) in SHIPPED {
        match binary_named(&[name]) {
            Some(program) => in_place(&program, file).await,
            None => drop(skip("in_place", &format!("{name} is not installed"))),
        }
    }
}

async fn in_place(program: &Path, file: &str) {
    let root = tempfile::tempdir().unwrap();
    let both = Both::over(root.path(), program, file);
    let [theirs, ours, later] =
        ["theirs", "ours/image", "later"].map(|name| Image::new(name, None));
    let [theirs_gone, ours_gone] = ["theirs/gone", "ours/gone"].map(|name| Image::new(name, None));
    let registry = both.theirs.serve().unwrap();
    as_user(&registry, [theirs.push(), theirs_gone.push()]).await;
    drop(registry);

    let registry = both.ours();
    // Metrics are all that this registry lacks of these files.
    let log = registry.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    let known = |line: &&str| line.contains("http.debug") || line.contains("HTTP_DEBUG_ADDR");
    assert!(warnings.iter().all(known), "{file}: {warnings:?}");
    all(&registry.address, vec![get("/v2/").status(401)]).await;
    as_user(&registry, [theirs.pull(), theirs_gone.pull(), ours.push(), ours_gone.push()]).await;
    as_user(&registry, [deletion(&theirs_gone), gone(&theirs_gone)]).await;
    drop(registry);

    let registry = both.theirs.serve().unwrap();
    as_user(&registry, [theirs.pull(), ours.pull(), gone(&theirs_gone), later.push()]).await;
    as_user(&registry, [deletion(&ours_gone), gone(&ours_gone)]).await;
    drop(registry);
    let output = both.theirs.garbage_collect(&[]).output().unwrap();
    assert!(output.status.success(), "{file}: {output:?}");

    let registry = both.ours();
    as_user(&registry, [theirs.pull(), ours.pull(), later.pull()]).await;
    as_user(&registry, [gone(&theirs_gone), gone(&ours_gone)]).await;
    drop(registry);
    let output =
        command(["scrub".as_ref(), root.path().join("data").as_os_str()]).output().unwrap();
    assert!(output.status.success(), "{file}: {output:?}");
}

async fn ask(address: &str, path: &str) -> Answer {
    let request = Request::get(path).header("accept", OCI_MANIFEST).body(Bytes::new());
    send(address, request.unwrap()).await.unwrap()
}

/// All tags in the order of their pages, and how many pages there are.
async fn listed(address: &str, name: &str) -> (Vec<String>, usize) {
    let (mut tags, mut pages) = (Vec::new(), 0);
    let mut next = Some(format!("/v2/{name}/tags/list"));
    while let Some(path) = next {
        let answer = ask(address, &path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}: {answer:?}");
        let page: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        let names = page["tags"].as_array().unwrap().iter();
        tags.extend(names.map(|tag| tag.as_str().unwrap().to_owned()));
        pages += 1;
        next = answer.headers().get("link").map(|link| {
            let link = link.to_str().unwrap().split_once('<').unwrap().1;
            link.split_once('>').unwrap().0.to_owned()
        });
    }
    (tags, pages)
}

/// Two images by turns have the tags.
async fn with_tags(address: &str, images: &[Image; 2], step: impl Fn(&Image, String) -> Step) {
    let step = &step;
    let requests = (0..TAGS).map(|number| {
        let image = &images[number % 2];
        all(address, vec![step(image, format!("/v2/many/manifests/v{number}"))])
    });
    stream::iter(requests).buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
}

fn tag(image: &Image, at: String) -> Step {
    put(at).header("content-type", OCI_MANIFEST).body(image.manifest.clone()).status(201)
}

fn tagged(image: &Image, at: String) -> Step {
    get(at)
        .header("accept", OCI_MANIFEST)
        .expect("docker-content-digest", image.digest())
        .content(image.manifest.clone())
}

#[tokio::test]
async fn thousands_of_tags() {
    for program in programs("thousands_of_tags") {
        let root = tempfile::tempdir().unwrap();
        let distribution = Distribution::over(root.path(), &program).unwrap();
        let first = Image::new("many", None);
        let second = Image::new("many", Some(&first.digest()));
        let images = [first, second];
        let mut expected: Vec<_> = (0..TAGS).map(|number| format!("v{number}")).collect();
        expected.sort();

        let registry = distribution.serve().unwrap();
        for image in &images {
            all(&registry.address, image.push_as(&image.digest())).await;
        }
        with_tags(&registry.address, &images, tag).await;
        drop(registry);

        let registry = Registry::start(&root.path().join("data"), &DELETES, &[]).unwrap();
        // Without `n`, a page has 1,000.
        assert_eq!(listed(&registry.address, "many").await, (expected.clone(), TAGS / 1_000));
        with_tags(&registry.address, &images, tagged).await;
        all(&registry.address, vec![tag(&images[1], "/v2/many/manifests/w".to_owned())]).await;
        all(&registry.address, vec![delete("/v2/many/manifests/v1000").status(202)]).await;
        drop(registry);
        expected.retain(|tag| tag != "v1000");
        expected.push("w".to_owned());

        let registry = distribution.serve().unwrap();
        // Version 2 lists them in no order.
        let (mut tags, _) = listed(&registry.address, "many").await;
        tags.sort();
        assert_eq!(tags, expected, "{}", program.display());
        all(&registry.address, vec![tagged(&images[1], "/v2/many/manifests/w".to_owned())]).await;
    }
}

/// A signature of an image.
fn signature(image: &Image, by: &str) -> Image {
    let mut signature = Image::new(image.name, Some(&image.digest()));
    let mut manifest: serde_json::Value = serde_json::from_str(&signature.manifest).unwrap();
    manifest["annotations"] = serde_json::json!({ "by": by });
    signature.manifest = manifest.to_string();
    signature
}

/// The digests of the image's referrers, and the list.
async fn referrers(registry: &Registry, image: &Image) -> (BTreeSet<String>, Answer) {
    let path = format!("/v2/{}/referrers/{}", image.name, image.digest());
    let answer = ask(&registry.address, &path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{answer:?}");
    let index: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    let manifests = index["manifests"].as_array().unwrap().iter();
    let digests = manifests.map(|manifest| manifest["digest"].as_str().unwrap().to_owned());
    (digests.collect(), answer)
}

#[tokio::test]
async fn referrers_that_distribution_wrote() {
    for program in programs("referrers_that_distribution_wrote") {
        let root = tempfile::tempdir().unwrap();
        signed_by_turns(root.path(), &program).await;
    }
}

async fn signed_by_turns(root: &Path, program: &Path) {
    let data = root.join("data");
    let image = Image::new("signed", None);
    let signatures = ["theirs", "ours", "theirs again"].map(|by| signature(&image, by));
    let first =
        |count: usize| -> BTreeSet<_> { signatures[..count].iter().map(Image::digest).collect() };
    let push = |signature: &Image| signature.push_as(&signature.digest());
    let pull = |signature: &Image| {
        let at = format!("/v2/signed/manifests/{}", signature.digest());
        get(at).header("accept", OCI_MANIFEST).content(signature.manifest.clone())
    };
    let distribution = Distribution::over(root, program).unwrap();
    let registry = distribution.serve().unwrap();
    all(&registry.address, image.push()).await;
    all(&registry.address, push(&signatures[0])).await;
    let none = get(format!("/v2/signed/referrers/{}", image.digest())).status(404);
    all(&registry.address, vec![none]).await;
    // A trial beside it writes nothing.
    let read_only = [("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")];
    let trial = Registry::start(&data, &read_only, &[]).unwrap();
    assert_eq!(referrers(&trial, &image).await.0, first(1));
    drop(trial);
    assert!(!data.join(".roadstead").exists());
    drop(registry);

    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    assert_eq!(referrers(&registry, &image).await.0, first(1));
    all(&registry.address, push(&signatures[1])).await;
    let (found, index) = referrers(&registry, &image).await;
    assert_eq!(found, first(2));
    // The tag by which clients of a registry without referrers find them.
    let at = format!("/v2/signed/manifests/{}", image.digest().replace(':', "-"));
    let index = index.into_body();
    let list = put(&at).header("content-type", OCI_INDEX).body(index.clone()).status(201);
    all(&registry.address, vec![list]).await;
    drop(registry);

    let registry = distribution.serve().unwrap();
    let list = get(&at).header("accept", OCI_INDEX).content(index);
    all(&registry.address, vec![pull(&signatures[0]), pull(&signatures[1]), list]).await;
    all(&registry.address, push(&signatures[2])).await;
    drop(registry);

    // Forth again.
    let built = data.join("docker/registry/v2/repositories/signed/_referrers");
    std::fs::remove_dir_all(built).unwrap();
    let registry = Registry::start(&data, &DELETES, &[]).unwrap();
    assert_eq!(referrers(&registry, &image).await.0, first(3));
    all(&registry.address, signatures.iter().map(pull).collect()).await;
}
