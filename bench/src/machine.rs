//! The machine that the measurements run on.

use std::path::Path;
use std::process::Command;

/// Describes it in one line.
pub(crate) fn describe(directory: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| gibibytes(&text));
    let memory = memory.map_or_else(String::new, |memory| format!(", {memory} GiB of memory"));
    let kernel = read("/proc/sys/kernel/osrelease");
    let files = output("findmnt", &["-no", "FSTYPE", "--target"], directory);
    format!("{cores} cores ({model}){memory}, Linux {kernel}, data on {files}")
}

/// The load averages.
pub(crate) fn load() -> String {
    read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(", ")
}

/// The commit of the current directory's repository, or nothing.
pub(crate) fn commit() -> String {
    output("git", &["rev-parse", "--short", "HEAD"], Path::new(""))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = read(file);
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn gibibytes(text: &str) -> Option<u64> {
    Some(text.strip_suffix(" kB")?.parse::<u64>().ok()? >> 20)
}

fn output(program: &str, arguments: &[&str], directory: &Path) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    if !directory.as_os_str().is_empty() {
        command.arg(directory);
    }
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}
