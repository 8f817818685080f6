//! The component: what it imports, and that every host runs the same bytes.

use roadstead_tests::{Wasmtime, binary, digest, skip};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use wasmtime::component::Component;
use wasmtime::{Config, Engine};
use wit_parser::{Resolve, SourceMap, TypeDefKind, UnresolvedPackageGroup, WorldKey};

/// Hosts refuse imports that they do not provide, and all provide WASI.
#[test]
fn imports_are_of_wasi() {
    let Interfaces { imports, exports, .. } = built();
    let foreign: Vec<_> = imports.iter().filter(|name| !name.starts_with("wasi:")).collect();
    assert!(foreign.is_empty(), "the component imports {foreign:?}");
    assert!(exports.contains("wasi:http/handler@0.3.0"), "the component exports {exports:?}");
}

/// `wit/` documents the component for authors of hosts.
#[test]
fn the_world_is_the_components() {
    let (written, built) = (written(), built());
    let implied = |name: &&String| written.implied.contains(*name);
    let compare = |what: &str, written: &BTreeSet<String>, built: &BTreeSet<String>| {
        let missing: Vec<_> = built.difference(written).filter(|name| !implied(name)).collect();
        let surplus: Vec<_> = written.difference(built).collect();
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "{what} of the component that wit/world.wit lacks: {missing:?}; \
             of wit/world.wit that the component lacks: {surplus:?}"
        );
    };
    compare("imports", &written.imports, &built.imports);
    compare("exports", &written.exports, &built.exports);
}

#[test]
fn every_host_runs_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = digest(roadstead_embedded::COMPONENT);
    println!("embedded in the native host: {embedded}");

    let file = directory.path().join("component.wasm");
    let status =
        Command::new(binary().unwrap()).args(["component", "--output"]).arg(&file).status();
    assert!(status.unwrap().success());
    let written = digest(&fs::read(&file).unwrap());
    println!("written by `roadstead component`: {written}");
    assert_eq!(written, embedded);

    let piped = Command::new(binary().unwrap()).arg("component").output().unwrap();
    assert!(piped.status.success(), "{piped:?}");
    assert_eq!(digest(&piped.stdout), embedded);

    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    if Wasmtime::start(&root).unwrap().is_none() {
        skip("every_host_runs_the_same_bytes", "wasmtime is neither $WASMTIME nor on the PATH");
        return;
    }
    let served = digest(&fs::read(Wasmtime::component().unwrap()).unwrap());
    println!("served by wasmtime: {served}");
    assert_eq!(served, embedded);
}

/// The names of interfaces, with their versions.
struct Interfaces {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
    /// Imports of types only, which need not be documented.
    implied: BTreeSet<String>,
}

/// The interfaces in the component's bytes.
fn built() -> Interfaces {
    let mut config = Config::new();
    config.wasm_component_model(true).wasm_component_model_async(true);
    let engine = Engine::new(&config).unwrap();
    let component = Component::from_binary(&engine, roadstead_embedded::COMPONENT).unwrap();
    let component = component.component_type();
    Interfaces {
        imports: component.imports(&engine).map(|(name, _)| name.to_owned()).collect(),
        exports: component.exports(&engine).map(|(name, _)| name.to_owned()).collect(),
        implied: BTreeSet::new(),
    }
}

/// The interfaces in `wit/`.
fn written() -> Interfaces {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let packages = entries(&root.join("deps")).into_iter().map(|path| package(&path)).collect();
    let mut resolve = Resolve::default();
    let main = resolve.push_groups(package(&root.join("world.wit")), packages).unwrap();
    let world = resolve.select_world(&[main], Some("registry")).unwrap();
    let world = &resolve.worlds[world];
    // An interface with types that are not resources is implied by interfaces
    // that use its types, so a component may or may not import it.
    let is_more = |key: &&WorldKey| match key {
        WorldKey::Interface(id) => {
            let interface = &resolve.interfaces[*id];
            let mut kinds = interface.types.values().map(|id| &resolve.types[*id].kind);
            !interface.functions.is_empty() || kinds.any(|kind| *kind == TypeDefKind::Resource)
        }
        WorldKey::Name(_) => true,
    };
    let names = |keys: &mut dyn Iterator<Item = &WorldKey>| {
        keys.filter(is_more).map(|key| resolve.name_world_key(key)).collect()
    };
    Interfaces {
        imports: names(&mut world.imports.keys()),
        exports: names(&mut world.exports.keys()),
        implied: world
            .imports
            .keys()
            .filter(|key| !is_more(key))
            .map(|key| resolve.name_world_key(key))
            .collect(),
    }
}

/// A package: a file, or the files in a directory.
fn package(path: &Path) -> UnresolvedPackageGroup {
    let files = if path.is_dir() { entries(path) } else { vec![path.to_owned()] };
    let mut sources = SourceMap::new();
    for file in files {
        sources.push_str(&file.display().to_string(), fs::read_to_string(&file).unwrap());
    }
    sources.parse().unwrap_or_else(|(_, error)| panic!("{}: {error}", path.display()))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}
