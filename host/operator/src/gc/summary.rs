//! A report in words.

use crate::terminal::harmless;
use roadstead_bridge::collect::Report;

/// For people.
pub(super) fn of(report: &Report) -> String {
    let Report { repositories, manifests, blobs, bytes, .. } = *report;
    let first = match &report.undone {
        Some(run) => format!("run {} undone", harmless(run)),
        None => format!(
            "{}, {} and {}",
            count(repositories, "repository", "repositories"),
            count(manifests, "manifest", "manifests"),
            of_bytes(blobs, bytes),
        ),
    };
    let mut lines = vec![first];
    let (dry, given_back) = (report.dry_run, report.given_back);
    expired(report, &mut lines);
    untagged(report, &mut lines);
    let mut add = |label: &str, blobs: u64, bytes: u64, meaning: &str| {
        if blobs > 0 {
            lines.push(format!("{label:<12}{}{meaning}", of_bytes(blobs, bytes)));
        }
    };
    let would = |done: &'static str, would: &'static str| if dry { would } else { done };
    add(would("removed:", "to remove:"), report.removed, report.removed_bytes, "");
    let condemned = ", kept for now";
    add(would("condemned:", "to condemn:"), report.condemned, report.condemned_bytes, condemned);
    add("kept:", report.kept, report.kept_bytes, ", condemned by an earlier run");
    let sighted = " that nothing refers to, to be looked at again by a later run";
    add("seen:", report.sighted, report.sighted_bytes, sighted);
    if given_back > 0 {
        let blobs = count(given_back, "blob", "blobs");
        let what = would("given back:", "to give back:");
        lines.push(format!("{what:<12}{blobs} needed again"));
    }
    if lines.len() == 1 {
        lines.push("nothing to do".to_owned());
    }
    lines.join("\n")
}

/// What is said of tags that have expired.
fn expired(report: &Report, lines: &mut Vec<String>) {
    let of = |number: u64| count(number, "tag", "tags");
    let would = |done: &'static str, would: &'static str| if report.dry_run { would } else { done };
    if report.expired > 0 {
        let label = would("expired:", "to expire:");
        lines.push(format!("{label:<12}{}", of(report.expired)));
    }
    if report.expiring > 0 {
        lines.push(format!(
            "{:<12}{}, which stay, as policy.retention.dryrun is set",
            "expire:",
            of(report.expiring)
        ));
    }
    lines.extend(report.expired_tags.iter().map(|tag| format!("  {}", harmless(tag))));
    let (named, all) = (report.expired_tags.len() as u64, report.expired + report.expiring);
    if named > 0 && all > named {
        lines.push(format!("  and {} more; roadstead retention list names all", all - named));
    }
    if report.restored_tags > 0 {
        let label = would("restored:", "to restore:");
        lines.push(format!("{label:<12}{} that had expired", of(report.restored_tags)));
    }
}

/// What is said of manifests that nothing leads to.
fn untagged(report: &Report, lines: &mut Vec<String>) {
    let of = |number: u64| count(number, "manifest", "manifests");
    let would = |done: &'static str, would: &'static str| if report.dry_run { would } else { done };
    if report.untagged > 0 {
        let (label, size) = (would("deleted:", "to delete:"), size(report.untagged_bytes));
        lines.push(format!(
            "{label:<12}{} with {size}, which nothing leads to",
            of(report.untagged)
        ));
    }
    lines.extend(report.eligible.iter().map(|manifest| format!("  {}", harmless(manifest))));
    let named = report.eligible.len() as u64;
    if named > 0 && report.untagged > named {
        lines.push(format!("  and {} more", report.untagged - named));
    }
    if report.restored > 0 {
        let label = would("restored:", "to restore:");
        lines.push(format!("{label:<12}{} needed again", of(report.restored)));
    }
    for name in &report.passed_over {
        lines.push(format!(
            "{} keeps its untagged manifests, or expired tags: it has more than can be looked at \
             together, or a tag that is damaged",
            harmless(name)
        ));
    }
    if report.foreign {
        lines.push(
            "another registry has written to this storage in the last 30 days, so nothing is \
             removed, and untagged manifests and expired tags stay; stop all registries, and run this again on the \
             storage itself, with --alone if it is a bucket"
                .to_owned(),
        );
    }
}

/// As distribution's command says it, and what was done.
pub(super) fn as_distribution(report: &Report) -> String {
    let marked = report.blobs.saturating_sub(report.removed);
    let mut lines = vec![format!(
        "{marked} blobs marked, {} blobs and {} manifests eligible for deletion",
        report.removed, report.untagged
    )];
    for manifest in &report.eligible {
        let digest = manifest.rsplit('@').next().unwrap_or_default();
        lines.push(format!("manifest eligible for deletion: {}", harmless(digest)));
    }
    if !report.dry_run && report.removed > 0 {
        lines.push(format!("deleted {}", of_bytes(report.removed, report.removed_bytes)));
    }
    lines.join("\n")
}

fn of_bytes(blobs: u64, bytes: u64) -> String {
    format!("{} with {}", count(blobs, "blob", "blobs"), size(bytes))
}

pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// With a unit in which it has at most four digits.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return count(bytes, "byte", "bytes");
    }
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, 0);
    while tenths >= 10_240 {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::{as_distribution, of, size};
    use roadstead_bridge::collect::Report;

    #[test]
    fn reports_in_words() {
        let mut report = Report {
            repositories: 1,
            manifests: 2,
            blobs: 10,
            bytes: 5 << 30,
            removed: 3,
            removed_bytes: 1 << 20,
            condemned: 1,
            condemned_bytes: 1,
            kept: 2,
            kept_bytes: 1500,
            sighted: 4,
            sighted_bytes: 2 << 20,
            given_back: 1,
            ..Report::default()
        };
        assert_eq!(
            of(&report),
            "1 repository, 2 manifests and 10 blobs with 5.0 GiB\n\
             removed:    3 blobs with 1.0 MiB\n\
             condemned:  1 blob with 1 byte, kept for now\n\
             kept:       2 blobs with 1.4 KiB, condemned by an earlier run\n\
             seen:       4 blobs with 2.0 MiB that nothing refers to, to be looked at again by a \
             later run\n\
             given back: 1 blob needed again"
        );
        assert_eq!(
            as_distribution(&report),
            "7 blobs marked, 3 blobs and 0 manifests eligible for deletion\n\
             deleted 3 blobs with 1.0 MiB"
        );
        report.dry_run = true;
        assert!(of(&report).contains("\nto remove:  3 blobs with 1.0 MiB\n"), "{}", of(&report));
        assert_eq!(as_distribution(&report).lines().count(), 1);
        assert!(of(&Report::default()).ends_with("\nnothing to do"));
    }

    #[test]
    fn expired_tags_in_words() {
        let report = Report {
            expired: 3,
            expired_tags: vec!["a/b:v1".to_owned()],
            dry_run: true,
            ..Report::default()
        };
        let said = of(&report);
        let expected = "\nto expire:  3 tags\n  a/b:v1\n  and 2 more; roadstead retention list";
        assert!(said.contains(expected), "{said}");
        let report = Report { dry_run: false, expired_tags: Vec::new(), ..report };
        assert!(of(&report).ends_with("\nexpired:    3 tags"), "{}", of(&report));
        let report = Report { expired: 0, expiring: 1, restored_tags: 2, ..report };
        let said = of(&report);
        assert!(said.contains("\nexpire:     1 tag, which stay"), "{said}");
        assert!(said.contains("\nrestored:   2 tags that had expired"), "{said}");
    }

    #[test]
    fn untagged_manifests_in_words() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let report = Report {
            untagged: 3,
            untagged_bytes: 2048,
            restored: 1,
            eligible: vec![format!("a/b@{digest}")],
            passed_over: vec!["large".to_owned()],
            dry_run: true,
            ..Report::default()
        };
        let said = of(&report);
        for expected in [
            "\nto delete:  3 manifests with 2.0 KiB, which nothing leads to\n".to_owned(),
            format!("\n  a/b@{digest}\n  and 2 more\n"),
            "\nto restore: 1 manifest needed again\n".to_owned(),
            "\nlarge keeps its untagged manifests, or expired tags:".to_owned(),
        ] {
            assert!(said.contains(&expected), "{said}");
        }
        assert_eq!(
            as_distribution(&report),
            format!(
                "0 blobs marked, 0 blobs and 3 manifests eligible for deletion\n\
                 manifest eligible for deletion: {digest}"
            )
        );
        let report = Report { dry_run: false, eligible: Vec::new(), foreign: true, ..report };
        let said = of(&report);
        assert!(said.contains("\ndeleted:    3 manifests"), "{said}");
        assert!(said.contains("\nanother registry has written"), "{said}");
    }

    #[test]
    fn sizes() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_048_576, "1.0 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
