//! GET by the load generator `wrk`, from Debian's package of that name.

use crate::load::Effort;
use crate::sample::Work;
use anyhow::Context as _;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;
use tokio::process::Command;

/// Most threads that generate load, so that servers have a core too.
const THREADS: usize = 2;

/// The error if it is not installed.
const MISSING: &str = "wrk is needed for rows of GETs: `apt-get install wrk`, \
    or https://github.com/wg/wrk";

/// A script that makes `wrk` print one line for [`parse`].
const DONE: &str = r#"
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format("result %d %d %d %d %d %d %d\n", summary.requests, summary.duration,
    summary.bytes, errors.connect + errors.read + errors.write + errors.timeout, errors.status,
    latency:percentile(50), latency:percentile(99)))
end
"#;

/// A script with a unique query for each request: the time, the thread, a number.
const UNIQUE: &str = r#"
local threads, number = 0, 0
setup = function(thread)
  threads = threads + 1
  thread:set("name", os.time() .. "-" .. threads .. "-")
end
request = function()
  number = number + 1
  return wrk.format(nil, wrk.path .. "?unique=" .. name .. number)
end
"#;

/// Gets a URL repeatedly.
pub(crate) async fn get(
    url: &str,
    range: Option<&str>,
    unique: bool,
    effort: Effort,
) -> anyhow::Result<Work> {
    let mut script = DONE.to_owned();
    if let Some(range) = range {
        writeln!(script, "wrk.headers[\"Range\"] = \"{range}\"")?;
    }
    if unique {
        script.push_str(UNIQUE);
    }
    // As clients do; without it, a registry may convert the manifest.
    writeln!(script, "wrk.headers[\"Accept\"] = \"{}\"", crate::content::MANIFEST_TYPE)?;
    let mut file = tempfile::Builder::new().suffix(".lua").tempfile()?;
    file.write_all(script.as_bytes())?;
    let threads = effort.concurrency.min(THREADS);
    let output = Command::new("wrk")
        .args(["--threads", &threads.to_string()])
        .args(["--connections", &effort.concurrency.to_string()])
        .arg("--duration")
        .arg(format!("{}s", effort.duration.as_secs().max(1)))
        .arg("--script")
        .arg(file.path())
        .arg(url)
        .kill_on_drop(true)
        .output()
        .await
        .context(MISSING)?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text)
        .with_context(|| format!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr)))?
}

/// Reads the output; `None` if it is not the script's, an error if requests
/// failed.
fn parse(text: &str) -> Option<anyhow::Result<Work>> {
    let line = text.lines().find_map(|line| line.strip_prefix("result "))?;
    let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [requests, duration, bytes, broken, refused, p50, p99] = numbers[..] else { return None };
    let milliseconds = |micros| Duration::from_micros(micros).as_secs_f64() * 1e3;
    if broken + refused > 0 {
        return Some(Err(anyhow::anyhow!("{broken} connection errors, {refused} error responses")));
    }
    Some(Ok(Work {
        operations: requests,
        bytes,
        elapsed: Duration::from_micros(duration),
        percentiles: (milliseconds(p50), milliseconds(p99)),
    }))
}

/// Checks that it is installed.
pub(crate) fn check() -> anyhow::Result<()> {
    // Its flag for the version prints it and fails.
    let mut command = std::process::Command::new("wrk");
    command.arg("--version").output().context(MISSING).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read() {
        let work = parse("Running\nresult 1000 2000000 9000 0 0 500 1500\n").unwrap().unwrap();
        assert_eq!((work.operations, work.elapsed), (1000, Duration::from_secs(2)));
        assert_eq!(work.bytes, 9000);
        assert_eq!(work.percentiles, (0.5, 1.5));
        assert!(parse("result 1000 2000000 9000 0 7 500 1500").unwrap().is_err());
        assert!(parse("unable to connect").is_none());
    }
}
