//! The metrics that client libraries have of a process, by the same names. Linux's `/proc` has
//! them; elsewhere there are none.

use super::families::{
    PROCESS_CPU, PROCESS_FDS, PROCESS_FDS_LIMIT, PROCESS_RESIDENT, PROCESS_START, PROCESS_THREADS,
    PROCESS_VIRTUAL,
};
use super::output::{Output, float};
use std::fs;

/// Ticks of a second in `/proc`: the kernel has the same on all of its current architectures
/// (`USER_HZ`), whatever its own clock does.
const TICKS: f64 = 100.0;

/// Bytes of the kernel's kB.
const KIB: u64 = 1024;

/// What `/proc` says of a process.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Process {
    /// CPU time in seconds.
    cpu: f64,
    /// The start, in seconds after that of the system.
    start: f64,
    threads: u64,
    /// Bytes.
    resident: u64,
    /// Bytes.
    virtual_memory: u64,
}

/// Writes what can be read of this process.
pub(super) fn write(output: &mut Output) {
    let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
    if let Some(process) = process(&read("self/stat"), &read("self/status")) {
        output.counter_of(&PROCESS_CPU, &[], process.cpu);
        output.gauge(&PROCESS_THREADS, &[], process.threads);
        output.gauge(&PROCESS_RESIDENT, &[], process.resident);
        output.gauge(&PROCESS_VIRTUAL, &[], process.virtual_memory);
        if let Some(boot) = boot(&read("stat")) {
            output.gauge_of(&PROCESS_START, &[], float(boot) + process.start);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is that of the list.
        output.gauge(&PROCESS_FDS, &[], (open.count() as u64).saturating_sub(1));
    }
    if let Some(limit) = files(&read("self/limits")) {
        output.gauge(&PROCESS_FDS_LIMIT, &[], limit);
    }
}

/// Parses `/proc/self/stat` (proc(5)) and `/proc/self/status`.
fn process(stat: &str, status: &str) -> Option<Process> {
    // The second field is the program's name in brackets, and may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Process {
        cpu: (float(field(14)?) + float(field(15)?)) / TICKS,
        start: float(field(22)?) / TICKS,
        threads: field(20)?,
        virtual_memory: field(23)?,
        resident: value(status, "VmRSS:")? * KIB,
    })
}

/// When the system was started, in seconds since 1970, of `/proc/stat`.
fn boot(stat: &str) -> Option<u64> {
    value(stat, "btime ")
}

/// The limit of open files, of `/proc/self/limits`. `None` if there is none.
fn files(limits: &str) -> Option<u64> {
    value(limits, "Max open files ")
}

/// The first number after a text with which a line begins.
fn value(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Process, boot, files, process};

    #[test]
    fn what_proc_says() {
        let stat = "4711 (a ) b) S 1 4711 4711 0 -1 4194560 9 0 1 0 150 50 0 0 20 0 7 0 12345 1048576 3 \
                    18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0\n";
        let status = "Name:\tx\nVmPeak:\t   9 kB\nVmRSS:\t    2048 kB\nThreads:\t7\n";
        let expected = Process {
            cpu: 2.0,
            start: 123.45,
            threads: 7,
            resident: 2 * 1024 * 1024,
            virtual_memory: 1024 * 1024,
        };
        assert_eq!(process(stat, status), Some(expected));
        assert_eq!(boot("cpu 1 2\nbtime 1700000000\nprocesses 3\n"), Some(1_700_000_000));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(files(limits), Some(1024));
        assert_eq!(files(&limits.replace("1024 ", "unlimited ")), None);
    }

    #[test]
    fn less_is_nothing() {
        for (stat, status) in [("", ""), ("1 (a) S 1", "VmRSS: 1 kB"), ("1 a S 1", "")] {
            assert_eq!(process(stat, status), None, "{stat:?}");
        }
        assert_eq!(boot("cpu"), None);
        assert_eq!(files(""), None);
    }
}
