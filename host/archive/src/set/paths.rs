//! Where archives are: files, streams and directories.

use super::error::Error;
use super::files::{Archive, At, Place, Span, open_regular};
use super::scan::Scan;
use super::{Context, Set, docker, layout, registry, unpack, volumes};
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::LAYOUT;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The endings of archives in a directory.
const ENDINGS: [&str; 4] = [".tar", ".tar.gz", ".tgz", ".tar.zst"];

/// Opens what is at a path.
pub(super) fn open(
    set: &mut Set,
    path: &Path,
    stdin: &mut dyn Read,
    context: &Context<'_>,
) -> Result<(), Error> {
    if path.as_os_str() == "-" {
        let label = "standard input";
        return add_tar(set, label, unpack::stream(label, stdin, context.options)?, context);
    }
    let label = path.display().to_string();
    let failed = |error: io::Error| Error::of(&label, error);
    if !path.is_dir() {
        let file = File::open(path).map_err(failed)?;
        return add_tar(set, &label, unpack::file(&label, file, context.options)?, context);
    }
    if path.join("oci-layout").is_file() {
        return add_layout(set, &label, path, context);
    }
    if path.join(LAYOUT).is_dir() {
        return Err(Error::of(
            &label,
            "is the data directory of a registry; give it as the source of `roadstead export` \
             or `roadstead mirror`",
        ));
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if !ENDINGS.iter().any(|ending| name.as_encoded_bytes().ends_with(ending.as_bytes())) {
            continue;
        }
        files.push(entry.path());
        if files.len() > context.archives {
            return Err(too_many(context));
        }
    }
    if files.is_empty() {
        let endings = ENDINGS.join(", ");
        let why = format_args!("has no archives in it: neither an OCI layout nor any of {endings}");
        return Err(Error::of(&label, why));
    }
    files.sort();
    for path in files {
        let label = path.display().to_string();
        let file = open_regular(&path).map_err(|error| Error::of(&label, error))?;
        add_tar(set, &label, unpack::file(&label, file, context.options)?, context)?;
    }
    Ok(())
}

fn too_many(context: &Context<'_>) -> Error {
    Error::new(format!("there are more than {} archives", context.archives))
}

/// Adds an archive to those that contents are in.
pub(super) fn push(
    set: &mut Set,
    label: &str,
    place: Place,
    context: &Context<'_>,
) -> Result<usize, Error> {
    if set.archives.len() >= context.archives {
        return Err(too_many(context));
    }
    set.archives.push(Archive { label: label.to_owned(), place });
    Ok(set.archives.len() - 1)
}

fn add_tar(set: &mut Set, label: &str, file: File, context: &Context<'_>) -> Result<(), Error> {
    let scan = Scan::new(label, &file, context)?;
    let file = Arc::new(file);
    let archive = push(set, label, Place::File(Arc::clone(&file)), context)?;
    let docker = scan.file("manifest.json");
    if let (None, Some(link)) = (docker, scan.any_link()) {
        return Err(Error::entry(label, link.as_bytes(), "is a symbolic link"));
    }
    for (digest, span) in &scan.blobs {
        set.add_blob(digest, At { archive, span: *span })?;
    }
    if let Some(inventory) = scan.inventory {
        return volumes::add(set, archive, &file, &scan, inventory);
    }
    if scan.is_registry {
        return registry::add(set, label, scan);
    }
    let items = match docker {
        Some(at) => docker::read(&json(label, "manifest.json", &file, at)?)
            .map_err(|why| Error::of(label, why))?,
        None => Vec::new(),
    };
    let (version, index) = (scan.file("oci-layout"), scan.file("index.json"));
    let items = match (version, index) {
        (Some(version), Some(index)) => {
            layout::check(&json(label, "oci-layout", &file, version)?)
                .map_err(|why| Error::of(label, why))?;
            let index = json(label, "index.json", &file, index)?;
            layout::add(set, archive, &index, items)?
        }
        _ if docker.is_some() => items,
        _ => {
            return Err(Error::of(
                label,
                "has no images in it: neither oci-layout and index.json, nor manifest.json, nor \
                 docker/registry/v2, nor roadstead/inventory.json",
            ));
        }
    };
    if items.is_empty() {
        return Ok(());
    }
    docker::Maker::new(set, archive, &file, &scan, context).add(&items)
}

/// The bytes of a member that is JSON.
fn json(label: &str, name: &str, file: &File, span: Span) -> Result<Vec<u8>, Error> {
    let refused = |why: &dyn std::fmt::Display| Error::entry(label, name.as_bytes(), why);
    match span.read(file, layout::JSON) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(refused(&"is too large")),
        Err(error) => Err(refused(&error)),
    }
}

fn add_layout(set: &mut Set, label: &str, root: &Path, context: &Context<'_>) -> Result<(), Error> {
    let archive = push(set, label, Place::Layout(root.to_owned()), context)?;
    for (digest, span) in list(label, root, context)? {
        set.add_blob(&digest, At { archive, span })?;
    }
    let read = |name: &str| {
        let file = open_regular(&root.join(name));
        let file = file.map_err(|error| Error::entry(label, name.as_bytes(), error))?;
        let size = file.metadata().map_err(|error| Error::of(label, error))?.len();
        json(label, name, &file, Span { offset: 0, size })
    };
    layout::check(&read("oci-layout")?).map_err(|why| Error::of(label, why))?;
    let docker = if root.join("manifest.json").exists() {
        docker::read(&read("manifest.json")?).map_err(|why| Error::of(label, why))?
    } else {
        Vec::new()
    };
    let others = layout::add(set, archive, &read("index.json")?, docker)?;
    if others.is_empty() {
        return Ok(());
    }
    let why = "has images that index.json does not have; give the archive as a tar file";
    Err(Error::entry(label, b"manifest.json", why))
}

/// The blobs of an OCI layout's directory.
fn list(label: &str, root: &Path, context: &Context<'_>) -> Result<BTreeMap<Digest, Span>, Error> {
    let mut blobs = BTreeMap::new();
    let mut count = 0;
    let blobs_at = root.join("blobs");
    for algorithm in Algorithm::ALL {
        let path = blobs_at.join(algorithm.as_str());
        let refused = |path: &Path, why: &dyn std::fmt::Display| {
            let entry = path.strip_prefix(root).unwrap_or(path);
            Error::entry(label, entry.as_os_str().as_encoded_bytes(), why)
        };
        for path in [&blobs_at, &path] {
            match fs::symlink_metadata(path) {
                Ok(metadata) if metadata.is_symlink() => {
                    return Err(refused(path, &"is a symbolic link"));
                }
                _ => {}
            }
        }
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(refused(&path, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| refused(&path, &error))?;
            count += 1;
            if count > context.entries {
                let limit = context.entries;
                return Err(Error::of(label, format_args!("has more than {limit} entries")));
            }
            let name = entry.file_name();
            let text = format!("{algorithm}:{}", name.to_str().unwrap_or_default());
            let Ok(digest) = Digest::parse(&text) else { continue };
            let metadata = entry.metadata().map_err(|error| refused(&entry.path(), &error))?;
            if metadata.is_symlink() {
                return Err(refused(&entry.path(), &"is a symbolic link"));
            }
            if metadata.is_file() {
                blobs.insert(digest, Span { offset: 0, size: metadata.len() });
            }
        }
    }
    Ok(blobs)
}
