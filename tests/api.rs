//! The protocol, as tables of requests, against every form of the registry.

use roadstead_tests::{
    Registry, Step, Target, Wasmtime, digest, get, head, patch, post, put, run, skip,
};

#[tokio::test]
async fn base() {
    everywhere("base", || vec![get("/v2/").content("{}")]).await;
}

/// Runs a table against a fresh registry of each form.
async fn everywhere(test: &str, steps: impl Fn() -> Vec<Step>) {
    let root = tempfile::tempdir().unwrap();
    run(&Target::native(&root.path().join("native")).unwrap(), &steps()).await;
    let host = Registry::start(&root.path().join("host"), &[], &[]).unwrap();
    run(&Target::Server(host.address.clone()), &steps()).await;
    let mounted = root.path().join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    match Wasmtime::start(&mounted).unwrap() {
        Some(wasmtime) => run(&Target::Server(wasmtime.address.clone()), &steps()).await,
        None => { skip(test, "wasmtime is neither $WASMTIME nor on the path"); }
    }
}
