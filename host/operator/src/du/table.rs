//! The result of `du`, for people and for programs.

use super::sums::{Line, Quota, Usage};
use crate::gc::summary::size;
use crate::print;
use crate::terminal::harmless;

impl Usage {
    /// As JSON.
    ///
    /// # Errors
    /// Never, as numbers and texts can be serialized.
    pub(super) fn json(&self) -> Result<String, String> {
        print::json(self)
    }

    /// As a table.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!(
            "{:>12} {:>12} {:>8} {:>10}  repository",
            "bytes", "own", "tags", "manifests"
        )];
        lines.extend(self.repositories.iter().map(line));
        let total = &self.total;
        let name = format!(
            "total of {} {}",
            total.repositories,
            if total.repositories == 1 { "repository" } else { "repositories" }
        );
        lines.push(line(&Line { name, ..total.clone() }));
        if !self.quotas.is_empty() {
            lines.push(String::new());
            lines.push(format!("{:>26} {:>20}  quota", "bytes", "tags"));
            lines.extend(self.quotas.iter().map(quota));
        }
        lines.join("\n")
    }
}

fn line(line: &Line) -> String {
    let least = if line.incomplete { " (at least)" } else { "" };
    format!(
        "{:>12} {:>12} {:>8} {:>10}  {}{least}",
        size(line.bytes),
        size(line.own),
        line.tags,
        line.manifests,
        harmless(&line.name)
    )
}

/// What is used, and what there is; the second is missing where there is no limit.
fn quota(quota: &Quota) -> String {
    let of = |used: String, limit: Option<String>| match limit {
        Some(limit) => format!("{used} of {limit}"),
        None => used,
    };
    let bytes = of(size(quota.bytes), quota.bytes_limit.map(size));
    let tags = of(quota.tags.to_string(), quota.tags_limit.map(|limit| limit.to_string()));
    let over = quota.bytes_limit.is_some_and(|limit| quota.bytes >= limit)
        || quota.tags_limit.is_some_and(|limit| quota.tags >= limit);
    let least = if quota.incomplete { " (at least)" } else { "" };
    let full = if over { ", full" } else { "" };
    let counted = match quota.counted {
        None => ", not counted yet".to_owned(),
        Some(_) if quota.counted_bytes != quota.bytes && quota.bytes_limit.is_some() => {
            format!(", pushes go by {}", size(quota.counted_bytes))
        }
        Some(_) => String::new(),
    };
    format!(
        "{bytes:>26} {tags:>20}  {} ({}){least}{full}{counted}",
        harmless(&quota.name),
        harmless(&quota.repositories)
    )
}

#[cfg(test)]
mod tests {
    use super::super::sums::{Line, Quota, Usage};

    fn usage() -> Usage {
        let line = |name: &str, bytes, repositories| Line {
            name: name.to_owned(),
            bytes,
            own: bytes / 2,
            tags: 3,
            manifests: 4,
            repositories,
            ..Line::default()
        };
        let quota = |name: &str, bytes, limit, counted| Quota {
            name: name.to_owned(),
            repositories: "team/**".to_owned(),
            bytes,
            bytes_limit: Some(limit),
            counted_bytes: 2048,
            counted,
            tags: 3,
            ..Quota::default()
        };
        Usage {
            repositories: vec![line("team/app", 2048, 1), line("a\u{1b}", 9, 1)],
            total: Line { incomplete: true, ..line("total", 2050, 2) },
            quotas: vec![
                quota("team", 2048, 4096, Some(1)),
                Quota { tags_limit: Some(3), ..quota("other", 9, 1 << 30, Some(1)) },
                quota("new", 5, 10, None),
            ],
        }
    }

    #[test]
    fn a_table_and_quotas() {
        assert_eq!(
            usage().text(),
            "       bytes          own     tags  manifests  repository\n\
             \x20    2.0 KiB      1.0 KiB        3          4  team/app\n\
             \x20    9 bytes      4 bytes        3          4  a?\n\
             \x20    2.0 KiB      1.0 KiB        3          4  total of 2 repositories (at least)\n\
             \n\
             \x20                    bytes                 tags  quota\n\
             \x20       2.0 KiB of 4.0 KiB                    3  team (team/**)\n\
             \x20       9 bytes of 1.0 GiB               3 of 3  other (team/**), full, pushes go by 2.0 KiB\n\
             \x20      5 bytes of 10 bytes                    3  new (team/**), not counted yet"
        );
    }

    #[test]
    fn json_is_harmless() {
        let mut usage = usage();
        usage.quotas[0].repositories = "\u{9b}2J\u{202e}".to_owned();
        let text = usage.json().unwrap();
        assert!(text.contains("\\u009b2J\\u202e") && !text.contains('\u{9b}'), "{text}");
    }

    #[test]
    fn json_has_all_numbers() {
        let json: serde_json::Value = serde_json::from_str(&usage().json().unwrap()).unwrap();
        assert_eq!(json["repositories"][0]["bytes"], 2048);
        assert_eq!(json["total"]["incomplete"], true);
        assert_eq!(json["quotas"][1]["tagsLimit"], 3);
        assert_eq!(json["quotas"][2]["counted"], serde_json::Value::Null);
    }
}
