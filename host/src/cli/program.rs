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
/// program. `named` is the value of [`FILE_VARIABLE`], `present` says whether a file is
/// there, and `first` is the command line of a container's first process.
pub(super) fn arguments(
    mut given: Vec<OsString>,
    named: Option<PathBuf>,
    present: impl Fn(&Path) -> bool,
    first: impl FnOnce() -> Vec<OsString>,
) -> Vec<OsString> {
    if given.is_empty() {
        return given;
    }
    let mut file = named;
    match name(&given[0]) {
        Some("htpasswd") => given.insert(1, "htpasswd".into()),
        Some("registry") => {
            registry(&mut given);
            if given[1] == "health" {
                file = served(first()).or(file);
            }
            let mut files = IMAGE_FILES.iter().map(PathBuf::from);
            file = file.or_else(|| files.find(|file| present(file)));
        }
        _ => {}
    }
    if let Some(file) = file.filter(|_| lacks_file(&given[1..])) {
        given.push(file.into());
    }
    given
}

/// What the entry point of distribution's image makes of its arguments.
fn registry(given: &mut Vec<OsString>) {
    // `docker run IMAGE registry serve …`
    if given.get(1).is_some_and(|first| matches!(name(first), Some("registry" | "roadstead"))) {
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

/// The file that a command line serves with, if it names one.
fn served(mut line: Vec<OsString>) -> Option<PathBuf> {
    if !matches!(name(line.first()?), Some("registry" | "roadstead")) {
        return None;
    }
    registry(&mut line);
    if line[1] != "serve" {
        return None;
    }
    operand(&line[2..]).map(PathBuf::from)
}

/// The command line of the first process.
pub(super) fn first_process() -> Vec<OsString> {
    let line = std::fs::read("/proc/1/cmdline").unwrap_or_default();
    // Words end with a zero; what is not UTF-8 is no program of this name.
    let words =
        line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.map(OsString::from).collect()
}

/// Whether these arguments ask for what reads a configuration file, and name none.
fn lacks_file(arguments: &[OsString]) -> bool {
    let command = arguments.first().and_then(|first| first.to_str());
    let reads = matches!(command, Some("serve" | "health" | "garbage-collect"));
    reads && operand(&arguments[1..]).is_none()
}

/// The first word that is neither a flag nor the value of one.
fn operand(words: &[OsString]) -> Option<&OsString> {
    let mut words = words.iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--component" | "--cache") => drop(words.next()),
            Some(flag) if flag.starts_with('-') => {}
            _ => return Some(word),
        }
    }
    None
}

/// The last part of a path, without the suffix of other systems' programs.
fn name(program: &OsStr) -> Option<&str> {
    Path::new(program).file_stem()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::arguments;
    use std::ffi::OsString;
    use std::path::Path;

    fn called(line: &str, named: Option<&str>, present: &[&str]) -> String {
        beside(line, named, present, "sh")
    }

    /// Where the first process has this command line.
    fn beside(line: &str, named: Option<&str>, present: &[&str], first: &str) -> String {
        let words = |line: &str| line.split(' ').map(OsString::from).collect();
        let there = |file: &Path| present.iter().any(|present| file == Path::new(present));
        let arguments = arguments(words(line), named.map(Into::into), there, || words(first));
        let shown: Vec<_> = arguments[1..].iter().filter_map(|word| word.to_str()).collect();
        shown.join(" ")
    }

    const OLD: &str = "/etc/docker/registry/config.yml";
    const NEW: &str = "/etc/distribution/config.yml";

    /// What people and charts write for distribution's images.
    #[test]
    fn command_lines_of_distributions_images() {
        for (line, present, expected) in [
            ("/bin/registry", &[NEW][..], "serve /etc/distribution/config.yml"),
            ("/bin/registry", &[OLD, NEW], "serve /etc/docker/registry/config.yml"),
            ("/bin/registry", &[], "serve"),
            (
                "registry /etc/docker/registry/config.yml",
                &[NEW],
                "serve /etc/docker/registry/config.yml",
            ),
            ("registry /auth/conf.yaml", &[], "serve /auth/conf.yaml"),
            (
                "/bin/registry serve /etc/distribution/config.yml",
                &[OLD],
                "serve /etc/distribution/config.yml",
            ),
            ("/bin/registry serve", &[OLD], "serve /etc/docker/registry/config.yml"),
            ("/bin/registry registry serve /x.yml", &[], "serve /x.yml"),
            ("/bin/registry /bin/registry /x.yml", &[], "serve /x.yml"),
            ("/bin/registry roadstead gc", &[NEW], "gc"),
            ("registry garbage-collect -m /x.yml", &[NEW], "garbage-collect -m /x.yml"),
            (
                "registry garbage-collect --dry-run",
                &[NEW],
                "garbage-collect --dry-run /etc/distribution/config.yml",
            ),
            ("registry --version", &[NEW], "--version"),
            ("registry -v", &[NEW], "--version"),
            ("registry htpasswd -Bbn user pass", &[NEW], "htpasswd -Bbn user pass"),
            ("htpasswd -Bbn user pass", &[NEW], "htpasswd -Bbn user pass"),
            ("/usr/bin/htpasswd -n user", &[NEW], "htpasswd -n user"),
            (
                "registry serve --component x.wasm",
                &[NEW],
                "serve --component x.wasm /etc/distribution/config.yml",
            ),
            ("registry serve --cache=c /x.yml", &[NEW], "serve --cache=c /x.yml"),
        ] {
            assert_eq!(called(line, None, present), expected, "{line}");
        }
    }

    /// Under its own name, files of a machine's other registry are not looked for.
    #[test]
    fn a_file_is_only_searched_for_under_distributions_name() {
        for line in ["roadstead serve", "target/release/roadstead health", "roadstead"] {
            let words = line.split_once(' ').map_or("", |(_, words)| words);
            assert_eq!(called(line, None, &[OLD, NEW]), words, "{line}");
        }
    }

    #[test]
    fn the_variable_names_a_file_where_the_command_line_does_not() {
        for (line, expected) in [
            ("roadstead serve", "serve /v.yml"),
            ("registry", "serve /v.yml"),
            ("registry serve /x.yml", "serve /x.yml"),
            ("roadstead serve --cache c", "serve --cache c /v.yml"),
            ("roadstead garbage-collect -d", "garbage-collect -d /v.yml"),
            ("roadstead health", "health /v.yml"),
            ("roadstead gc", "gc"),
        ] {
            assert_eq!(called(line, Some("/v.yml"), &[OLD, NEW]), expected, "{line}");
        }
    }

    #[test]
    fn a_health_check_reads_the_file_that_is_served_with() {
        for (first, expected) in [
            ("/bin/registry /x.yml", "health /x.yml"),
            ("/bin/registry serve /x.yml", "health /x.yml"),
            ("/bin/registry serve --cache c /x.yml", "health /x.yml"),
            ("/bin/registry serve --cache c", "health /etc/distribution/config.yml"),
            ("/bin/registry", "health /etc/distribution/config.yml"),
            ("/bin/registry gc /x.yml", "health /etc/distribution/config.yml"),
            ("/sbin/init", "health /etc/distribution/config.yml"),
        ] {
            assert_eq!(beside("/bin/registry health", None, &[NEW], first), expected, "{first}");
        }
        assert_eq!(
            beside("registry health /y.yml", None, &[NEW], "registry /x.yml"),
            "health /y.yml"
        );
    }
}
