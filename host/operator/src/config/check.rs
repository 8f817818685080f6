//! `roadstead config check`.

use super::{Checked, OK, Start, WRONG, files, settings};
use crate::doctor::Level;
use crate::terminal::harmless;
use roadstead_config::report::{Effective, Fate, Report, Source, Unused, Value};
use serde_json::{Value as Json, json};
use std::io::{self, Write};
use std::path::PathBuf;

/// What was found out.
pub(super) struct Finding {
    pub(super) level: Level,
    /// The file or directory that it is about.
    pub(super) path: Option<PathBuf>,
    pub(super) what: String,
}

impl Finding {
    pub(super) fn new(level: Level, path: Option<PathBuf>, what: impl Into<String>) -> Self {
        Self { level, path, what: what.into() }
    }
}

/// Checks the settings and what they name, and returns the exit status.
pub(super) fn run(start: &Start, as_json: bool, out: &mut dyn Write) -> io::Result<u8> {
    let checked = match settings(start) {
        Ok(settings) => Ok(Checked { report: settings.report(), config: settings.config().ok() }),
        Err(error) => Err(format!("{error:#}")),
    };
    let findings = match &checked {
        Ok(checked) => findings(checked, start),
        Err(error) => vec![Finding::new(Level::Fail, start.file.clone(), error)],
    };
    let report = checked.as_ref().ok().map(|checked| &checked.report);
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    if as_json {
        writeln!(out, "{:#}", to_json(start, report, &findings, !failed))?;
    } else {
        print(start, report, &findings, out)?;
    }
    out.flush()?;
    Ok(if failed { WRONG } else { OK })
}

/// Errors, then warnings, then what has no effect, then files.
fn findings(checked: &Checked, start: &Start) -> Vec<Finding> {
    let Checked { report, config } = checked;
    let of = |level, texts: &[String]| -> Vec<Finding> {
        texts.iter().map(|text| Finding::new(level, None, text)).collect()
    };
    let mut findings = of(Level::Fail, &report.errors);
    if let Some(config) = config {
        findings.extend(files::listening(config));
    }
    findings.extend(of(Level::Warn, &report.warnings));
    for setting in report.settings.iter().filter(|setting| setting.is_given()) {
        if let Some(reason) = &setting.without_effect {
            let what = format!("{} has no effect: {reason}", setting.key());
            findings.push(Finding::new(Level::Warn, None, what));
        }
    }
    let ignored = report.unused.iter().filter(|unused| unused.fate == Fate::Ignored);
    findings.extend(ignored.map(|unused| Finding::new(Level::Ok, None, ignored_line(unused))));
    findings.extend(files::secrets(report));
    if let Some(config) = config {
        findings.extend(files::examine(config, start));
    }
    // Failures of what is listened on are among the first.
    findings.sort_by_key(|finding| match (finding.level, &finding.path) {
        (Level::Fail, None) => 0,
        (Level::Warn, None) => 1,
        (Level::Ok, None) => 2,
        (_, Some(_)) => 3,
    });
    findings
}

fn ignored_line(unused: &Unused) -> String {
    let more = match unused.more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more} is ignored: {}", unused.name, unused.reason)
}

fn print(
    start: &Start,
    report: Option<&Report>,
    findings: &[Finding],
    out: &mut dyn Write,
) -> io::Result<()> {
    let file = start.file.as_ref().map(|file| format!("{} and ", file.display()));
    let from = harmless(&file.unwrap_or_default());
    writeln!(out, "The settings of {from}the environment:")?;
    let given = report.into_iter().flat_map(|report| &report.settings);
    let given: Vec<_> = given.filter(|setting| setting.is_given()).collect();
    if given.is_empty() {
        writeln!(out, "  none: all have their defaults")?;
    }
    for setting in given {
        let (value, origin) = (harmless(&setting.shown()), harmless(&setting.origin()));
        writeln!(out, "  {}: {value}  ({origin})", setting.key())?;
    }
    writeln!(out)?;
    for finding in findings {
        let word = word(finding.level);
        let mut lines = finding.what.lines().map(harmless);
        writeln!(out, "{word:4}  {}", lines.next().unwrap_or_default())?;
        for line in lines {
            writeln!(out, "        {line}")?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (count(Level::Fail), count(Level::Warn));
    let verdict = if errors == 0 { "can be served" } else { "cannot be served" };
    let plural = |number: usize, word: &str| {
        let s = if number == 1 { "" } else { "s" };
        format!("{number} {word}{s}")
    };
    let (errors, warnings) = (plural(errors, "error"), plural(warnings, "warning"));
    writeln!(out, "\n{errors}, {warnings}: this configuration {verdict}")
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "fail",
    }
}

fn to_json(start: &Start, report: Option<&Report>, findings: &[Finding], ok: bool) -> Json {
    let settings = report.map(|report| report.settings.iter().map(setting).collect::<Vec<_>>());
    let unused = report.map(|report| report.unused.iter().map(name).collect::<Vec<_>>());
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "level": word(finding.level),
                "path": finding.path.as_ref().map(|path| path.display().to_string()),
                "message": finding.what,
            })
        })
        .collect();
    json!({
        "ok": ok,
        "file": start.file.as_ref().map(|file| file.display().to_string()),
        "findings": findings,
        "settings": settings.unwrap_or_default(),
        "unused": unused.unwrap_or_default(),
    })
}

fn setting(setting: &Effective) -> Json {
    let value = match &setting.value {
        Value::Unset => Json::Null,
        Value::Text(text) => json!(text),
        Value::List(items) => items.iter().map(|(item, _)| json!(item)).collect(),
    };
    json!({
        "key": setting.key(),
        "variable": setting.variable(),
        "value": value,
        "secret": setting.row.is_secret(),
        "source": source(&setting.source),
        "overrides": setting.overridden.iter().map(source).collect::<Vec<_>>(),
        "without_effect": setting.without_effect,
    })
}

fn name(unused: &Unused) -> Json {
    json!({
        "name": unused.name,
        "more": unused.more,
        "source": source(&unused.source),
        "fate": unused.fate.as_str(),
        "reason": unused.reason,
    })
}

fn source(source: &Source) -> Json {
    match source {
        Source::Default => json!({"kind": "default"}),
        Source::File { file, key, line } => {
            json!({"kind": "file", "file": file, "key": key, "line": line})
        }
        Source::Variable(name) => json!({"kind": "variable", "name": name}),
    }
}
