//! Compresses the page's files, and writes the table of them.

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let assets = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("assets");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", assets.display());
    let mut files = Vec::new();
    list(&assets, "", &mut files)?;
    // The same table, whatever the order of the directory.
    files.sort();
    let mut table = "&[\n".to_owned();
    for (number, name) in files.iter().enumerate() {
        let path = assets.join(name);
        let bytes = fs::read(&path)?;
        let compressed = out.join(format!("{number}.gz"));
        fs::write(&compressed, compress(&bytes)?)?;
        let media_type = media_type(name).ok_or_else(|| format!("{name}: unknown media type"))?;
        let hash = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        writeln!(
            table,
            "Asset {{ path: {name:?}, media_type: {media_type:?}, hash: {hash:?}, \
             bytes: include_bytes!({:?}), gzip: include_bytes!({:?}) }},",
            text(&path)?,
            text(&compressed)?,
        )?;
    }
    table.push(']');
    fs::write(out.join("assets.rs"), table)?;
    Ok(())
}

/// A path as the compiler is told it.
fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{}: no UTF-8", path.display()))
}

/// Adds the paths of all files in a directory, relative to that of the assets.
fn list(directory: &Path, prefix: &str, files: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry
            .file_name()
            .into_string()
            .map_err(|name| format!("{}: no UTF-8", name.display()))?;
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{path}/"), files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The media type by the ending of a name.
fn media_type(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    })
}

/// With gzip. At this level, the same bytes come of it on every processor.
fn compress(bytes: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
