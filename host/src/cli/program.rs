//! The names under which this program is called: its own; `registry`, as in
//! distribution's images and charts; and `htpasswd`, which guides have people run from
//! those images.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Where distribution's images and the charts of them put the configuration file. In the
/// image, the first leads to the second, unless a volume hides it.
pub(super) const IMAGE_FILES: [&str; 2] =
    ["/etc/docker/registry/config.yml", "/etc/distribution/config.yml"];

/// Distribution's variable that names the file where the command line does not.
pub(super) const FILE_VARIABLE: &str = "REGISTRY_CONFIGURATION_PATH";

/// A command line of `roadstead` that does what was asked for under the name of the
/// program.
pub(super) fn arguments(mut given: Vec<OsString>) -> Vec<OsString> {
    match given.first().and_then(|program| name(program)) {
        Some("htpasswd") => given.insert(1, "htpasswd".into()),
        Some("registry") => registry(&mut given),
        _ => {}
    }
    given
}

/// The configuration file where a command line names none. `called` is the command line as
/// it was given, `named` is the value of [`FILE_VARIABLE`], and `present` says whether a
/// file is there.
pub(super) fn default_file(
    called: &[OsString],
    named: Option<PathBuf>,
    present: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    // Under its own name, a file of the machine's other registry is not searched for.
    let of_image = called.first().and_then(|program| name(program)) == Some("registry");
    let mut files = IMAGE_FILES.iter().map(PathBuf::from).filter(|_| of_image);
    named.or_else(|| files.find(|file| present(file)))
}

/// The command line of the first process, which in a container is the registry.
pub(super) fn first_process() -> Vec<OsString> {
    let line = std::fs::read("/proc/1/cmdline").unwrap_or_default();
    // Words end with a zero; what is not UTF-8 is no program of this name.
    let words = line.strip_suffix(b"\0").unwrap_or(&line).split(|byte| *byte == 0);
    words.map(|word| String::from_utf8_lossy(word).into_owned().into()).collect()
}

/// What the entry point of distribution's image makes of its arguments.
fn registry(given: &mut Vec<OsString>) {
    // `docker run IMAGE registry serve …`
    if given.get(1).is_some_and(|first| is_ours(first)) {
        given.remove(1);
    }
    match given.get(1).and_then(|first| first.to_str()) {
        None => given.insert(1, "serve".into()),
        Some("-v") => given[1] = "--version".into(),
        Some(first)
            if Path::new(first).extension().is_some_and(|it| it == "yml" || it == "yaml") =>
        {
            given.insert(1, "serve".into());
        }
        Some(_) => {}
    }
}

/// Whether a program is the registry, by its name.
pub(super) fn is_ours(program: &OsStr) -> bool {
    matches!(name(program), Some("registry" | "roadstead"))
}

/// The last part of a path, without the suffix of other systems' programs.
fn name(program: &OsStr) -> Option<&str> {
    Path::new(program).file_stem()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::{arguments, default_file};
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    const OLD: &str = "/etc/docker/registry/config.yml";
    const NEW: &str = "/etc/distribution/config.yml";

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    /// What people and charts write for distribution's images.
    #[test]
    fn command_lines_of_distributions_images() {
        for (line, expected) in [
            ("/bin/registry", "serve"),
            ("registry /etc/docker/registry/config.yml", "serve /etc/docker/registry/config.yml"),
            ("registry /auth/conf.yaml", "serve /auth/conf.yaml"),
            ("/bin/registry serve /x.yml", "serve /x.yml"),
            ("/bin/registry registry serve /x.yml", "serve /x.yml"),
            ("/bin/registry /bin/registry /x.yml", "serve /x.yml"),
            ("/bin/registry roadstead gc", "gc"),
            ("registry garbage-collect -m /x.yml", "garbage-collect -m /x.yml"),
            ("registry --version", "--version"),
            ("registry -v", "--version"),
            ("registry htpasswd -Bbn user pass", "htpasswd -Bbn user pass"),
            ("htpasswd -Bbn user pass", "htpasswd -Bbn user pass"),
            ("/usr/bin/htpasswd -n user", "htpasswd -n user"),
            ("registry serve --component x.wasm", "serve --component x.wasm"),
            ("roadstead serve", "serve"),
            ("target/release/roadstead gc x", "gc x"),
        ] {
            assert_eq!(arguments(words(line))[1..], words(expected), "{line}");
        }
        assert_eq!(arguments(Vec::new()), Vec::<OsString>::new());
    }

    #[test]
    fn files_where_the_command_line_names_none() {
        for (line, named, present, expected) in [
            ("/bin/registry", None, &[NEW][..], Some(NEW)),
            // In the image one leads to the other, unless a volume hides it.
            ("/bin/registry serve", None, &[OLD, NEW], Some(OLD)),
            ("registry", None, &[], None),
            ("registry", Some("/v.yml"), &[OLD, NEW], Some("/v.yml")),
            ("roadstead serve", Some("/v.yml"), &[OLD, NEW], Some("/v.yml")),
            ("roadstead serve", None, &[OLD, NEW], None),
            ("target/release/roadstead health", None, &[OLD, NEW], None),
        ] {
            let there = |file: &Path| present.iter().any(|present| file == Path::new(present));
            let file = default_file(&words(line), named.map(PathBuf::from), there);
            assert_eq!(file, expected.map(PathBuf::from), "{line}");
        }
    }
}
