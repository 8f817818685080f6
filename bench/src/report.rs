//! Prints the tables, in Markdown.

use crate::run::{Cell, Results, RowResults};
use crate::sample::{Sample, Unit, percentile};
use crate::systems::{System, SystemKind};
use std::fmt::Write as _;

/// Explains the tables.
pub(crate) const LEGEND: &str = "\
A cell is: rate · server CPU · p50 / p99 latency of an operation in milliseconds. In rows of small requests the
rate is in requests per second and CPU in milliseconds per 1,000 requests; in rows of bytes they are MB/s
and seconds per GB (10^9 bytes). Each is the median of the rounds; c16 means 16 connections. The last
column compares Roadstead with the best durable peer: its rate over theirs (more is better) and its CPU
over theirs (less is better), each with the peer that is best in it.

Client, servers and other processes share the machine's cores: CPU is the more reliable figure. It is
that of the server's processes, without what the kernel writes to the disk afterwards. Small GETs, and all GETs of
the tables about TLS, are made by `wrk`, everything else by this program's client, which takes more of the
cores: rates of the two are not comparable. A push of a blob is POST and PUT, or POST, PATCH and PUT; no two blobs are the same. An image's
layers are pushed as Docker does it, each after a HEAD.

The same few paths are requested repeatedly, and Roadstead answers most such requests from its host's
cache of small responses. “Small requests past the cache” are those that it cannot answer: the same ones with a
unique query, and HEADs of blobs that were never asked for.

Every registry is configured so that what it acknowledges survives a loss of power: docker-registry and
registry always sync, zot has `commit`, angos `sync_to_disk`. nginx serves files, and accepts a push as one
PUT of a file that it neither hashes nor syncs: it is the limit, not a peer. No access logs. Directories
of lists, and of 1,000 to 100,000 names, are in memory where there is `/dev/shm`. CPU beside slow readers includes theirs. docker-registry returns all tags, whatever page is requested.
";

/// The median of each figure over the rounds.
pub(crate) fn medians(samples: &[Sample]) -> Option<Sample> {
    let middle = |of: fn(&Sample) -> f64| {
        let mut values: Vec<_> = samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        percentile(&values, 50)
    };
    (!samples.is_empty()).then(|| Sample {
        rate: middle(|sample| sample.rate),
        cpu: middle(|sample| sample.cpu),
        p50: middle(|sample| sample.p50),
        p99: middle(|sample| sample.p99),
    })
}

/// The table of a stage, with its failures below.
pub(crate) fn table(results: &Results, systems: &[System]) -> String {
    let mut text = format!("## {}\n\n|", results.title);
    let mut failures = String::new();
    for system in systems {
        let limit = if system.kind == SystemKind::Nginx { " (limit)" } else { "" };
        let _ = write!(text, " | {}{limit}", system.kind.name());
    }
    let _ = writeln!(
        text,
        " | rate, CPU to the best peer's |\n|---{}|---|",
        "|---".repeat(systems.len())
    );
    for row in &results.rows {
        let _ = write!(text, "| {}", row.name);
        for (cell, system) in row.cells.iter().zip(systems) {
            let _ = write!(text, " | {}", show(cell, row.unit));
            if let Some(failure) = &cell.failure {
                let _ = writeln!(failures, "- {}, {}: {failure}", row.name, system.kind.name());
            }
        }
        let _ = writeln!(text, " | {} |", ratios(row, systems));
    }
    if results.peaks.iter().any(Option::is_some) {
        let shown = |peak: &Option<u64>| {
            peak.map_or_else(|| "–".to_owned(), |peak| (peak >> 20).to_string())
        };
        let peaks: Vec<_> = results.peaks.iter().map(shown).collect();
        let _ = writeln!(text, "| peak RSS, MiB | {} | |", peaks.join(" | "));
    }
    if !failures.is_empty() {
        let _ = write!(text, "\nFailed:\n\n{failures}");
    }
    text
}

/// All rows by how Roadstead's rate compares with the best durable peer's, the worst first.
pub(crate) fn summary(all: &[Results], systems: &[System]) -> String {
    let mut compared = Vec::new();
    for results in all {
        for row in &results.rows {
            if let Some((peer, ratio)) = rate_ratio(row, systems) {
                let name = peer.name();
                compared.push((ratio, format!("{}: {} ({name})", results.title, row.name)));
            }
        }
    }
    compared.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut text =
        "\n## Losses and wins\n\nRoadstead's rate over that of the best durable peer, which is \
        named, the worst row first.\n\n"
            .to_owned();
    for (ratio, row) in compared {
        let _ = writeln!(text, "- {}× {row}", short(ratio));
    }
    text
}

/// The durable peer with the highest rate in a row, and Roadstead's rate over its.
fn rate_ratio(row: &RowResults, systems: &[System]) -> Option<(SystemKind, f64)> {
    let rates = systems.iter().zip(&row.cells);
    let rates = rates.filter_map(|(system, cell)| {
        medians(&cell.samples).map(|sample| (system.kind, sample.rate))
    });
    let rates: Vec<_> = rates.collect();
    let ours = rates.iter().find(|(kind, _)| *kind == SystemKind::Roadstead)?.1;
    let peers = rates.iter().filter(|(kind, _)| kind.durable_peer());
    let (kind, best) = peers.max_by(|one, other| one.1.total_cmp(&other.1))?;
    Some((*kind, ours / best))
}

/// How median latencies grow from one stage to another with the same rows.
pub(crate) fn growth(few: &Results, many: &Results, systems: &[System]) -> String {
    let mut text = format!("Median times in “{}” over those in “{}”:\n\n", many.title, few.title);
    for (few, many) in few.rows.iter().zip(&many.rows) {
        let cells = systems.iter().zip(few.cells.iter().zip(&many.cells));
        let cells = cells.filter_map(|(system, (few, many))| {
            let (few, many) = (medians(&few.samples)?, medians(&many.samples)?);
            Some(format!("{} {}×", system.kind.name(), short(many.p50 / few.p50)))
        });
        let _ = writeln!(text, "- {}: {}", many.name, cells.collect::<Vec<_>>().join(", "));
    }
    text
}

/// The cost of hashing alone.
pub(crate) fn hash(samples: &[Sample]) -> String {
    let Some(sample) = medians(samples) else { return String::new() };
    format!(
        "## SHA-256 by itself\n\n256 MiB in one thread of this program: {} MB/s · {:.2} s of CPU per GB. \
         A push costs its server at least this.\n",
        whole(sample.rate),
        sample.cpu
    )
}

fn show(cell: &Cell, unit: Unit) -> String {
    let Some(Sample { rate, cpu, p50, p99 }) = medians(&cell.samples) else {
        return if cell.failure.is_some() { "failed" } else { "–" }.to_owned();
    };
    let mark = if cell.failure.is_some() { " (with failures)" } else { "" };
    match unit {
        Unit::Operations => {
            format!("{} · {} · {} / {}{mark}", whole(rate), short(cpu), short(p50), short(p99))
        }
        Unit::Bytes => {
            format!("{} · {cpu:.2} · {} / {}{mark}", whole(rate), short(p50), short(p99))
        }
        Unit::Start => format!("{} ms{mark}", short(p50)),
    }
}

/// Compares Roadstead with the best durable peer of a row.
fn ratios(row: &RowResults, systems: &[System]) -> String {
    let medians: Vec<_> = row.cells.iter().map(|cell| medians(&cell.samples)).collect();
    let of = |wanted: fn(SystemKind) -> bool| {
        let both = systems.iter().zip(&medians);
        both.filter_map(move |(system, sample)| wanted(system.kind).then_some(*sample)?)
    };
    let Some(ours) = of(|kind| kind == SystemKind::Roadstead).next() else { return String::new() };
    let rate = rate_ratio(row, systems).map(|(_, ratio)| ratio);
    let cpu = of(SystemKind::durable_peer).map(|sample| sample.cpu).reduce(f64::min);
    match (rate, cpu) {
        (Some(rate), _) if row.unit == Unit::Start => format!("{}×", short(rate.recip())),
        (Some(rate), Some(cpu)) => format!("{}×, {}×", short(rate), short(ours.cpu / cpu)),
        _ => String::new(),
    }
}

/// A number with thousands separators.
fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with about three significant digits.
fn short(number: f64) -> String {
    match number {
        n if n < 1.0 => format!("{n:.2}"),
        n if n < 100.0 => format!("{n:.1}"),
        n => whole(n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let texts = [0.123, 9.876, 99.0, 123.4, 1234.5, 1_234_567.0].map(short);
        assert_eq!(texts, ["0.12", "9.9", "99.0", "123", "1,234", "1,234,567"]);
    }

    #[test]
    fn medians_are_of_each_figure() {
        let sample = |rate, cpu| Sample { rate, cpu, p50: 0.0, p99: 0.0 };
        let middle = medians(&[sample(1.0, 9.0), sample(3.0, 2.0), sample(2.0, 5.0)]).unwrap();
        assert_eq!((middle.rate.to_bits(), middle.cpu.to_bits()), (2f64.to_bits(), 5f64.to_bits()));
        assert!(medians(&[]).is_none());
    }
}
