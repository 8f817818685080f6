//! Guides as documents: commands, and what they print.

/// A part of a document, which begins on a machine of its own.
#[derive(Debug)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Its commands, in order.
    pub commands: Vec<Command>,
}

/// A command of a `console` block, as a reader types it.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// The number of its line.
    pub line: usize,
    /// What is typed, with the lines that continue it.
    pub typed: String,
    /// What it prints, line by line. `…` stands for anything: within a line for any
    /// text, alone on a line for any lines.
    pub printed: Vec<String>,
    /// Whether it fails.
    pub fails: bool,
}

/// The sections of a Markdown document. In blocks of `console`, a line that begins with
/// `$ ` is a command and `> ` continues it; those of `console fails` fail.
pub fn sections(document: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    // The block that a line is in, and whether its commands fail.
    let mut block: Option<Option<bool>> = None;
    for (line, text) in (1..).zip(document.lines()) {
        if let Some(kind) = text.strip_prefix("```") {
            block = match (block, kind) {
                (Some(_), _) => None,
                (None, "console") => Some(Some(false)),
                (None, "console fails") => Some(Some(true)),
                (None, _) => Some(None),
            };
            continue;
        }
        match block {
            None => {
                if let Some(title) = text.strip_prefix("## ") {
                    sections.push(Section { title: title.to_owned(), commands: Vec::new() });
                }
            }
            Some(None) => {}
            Some(Some(fails)) => {
                let commands = &mut sections.last_mut().expect("a heading before it").commands;
                if let Some(typed) = text.strip_prefix("$ ") {
                    let typed = typed.to_owned();
                    commands.push(Command { line, typed, printed: Vec::new(), fails });
                    continue;
                }
                let command = commands.last_mut().expect("a command before its output");
                if let Some(more) = text.strip_prefix("> ").filter(|_| command.printed.is_empty()) {
                    command.typed = format!("{}\n{more}", command.typed);
                } else {
                    command.printed.push(text.to_owned());
                }
            }
        }
    }
    sections
}

/// Whether lines are those that were expected.
pub fn fits(expected: &[String], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((any, rest)) if any == "…" => {
            (0..=lines.len()).any(|skip| fits(rest, &lines[skip..]))
        }
        Some((line, rest)) => lines
            .split_first()
            .is_some_and(|(first, others)| line_fits(line, first) && fits(rest, others)),
    }
}

fn line_fits(expected: &str, line: &str) -> bool {
    let Some((begin, rest)) = expected.split_once('…') else { return expected == line };
    let Some(line) = line.strip_prefix(begin) else { return false };
    // Every place at which a character begins, and the end.
    let mut places = line.char_indices().map(|(place, _)| place).chain([line.len()]);
    places.any(|place| line_fits(rest, &line[place..]))
}

#[test]
fn a_document_has_sections_with_commands() {
    let document = "# Title\n\n## First\n\n```console\n$ echo a \\\n> b\na b\n$ true\n```\n\n```sh\n$ no\n```\n\n\
                    ```console fails\n$ false\n```\n## Second\n";
    let sections = sections(document);
    let titles: Vec<_> = sections.iter().map(|section| section.title.as_str()).collect();
    assert_eq!(titles, ["First", "Second"]);
    let command = |line, typed: &str, printed: &[&str], fails| Command {
        line,
        typed: typed.to_owned(),
        printed: printed.iter().map(|line| (*line).to_owned()).collect(),
        fails,
    };
    assert_eq!(
        sections[0].commands,
        [
            command(6, "echo a \\\nb", &["a b"], false),
            command(9, "true", &[], false),
            command(17, "false", &[], true)
        ]
    );
}

#[test]
fn lines_fit_what_is_expected() {
    for (expected, lines, fit) in [
        (&["a", "b"][..], &["a", "b"][..], true),
        (&["a"], &["a", "b"], false),
        (&["a", "b"], &["a"], false),
        (&["…"], &[], true),
        (&["a", "…", "d"], &["a", "b", "c", "d"], true),
        (&["a", "…", "d"], &["a", "b", "c"], false),
        (&["id: …, size: … B"], &["id: 12ü, size: 3 B"], true),
        (&["id: …, size: … B"], &["id: 12, size: 3"], false),
    ] {
        let expected: Vec<_> = expected.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(fits(&expected, lines), fit, "{expected:?} {lines:?}");
    }
}
