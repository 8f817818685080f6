//! What [`yaml`](super::yaml) and [`variables`](super::variables) have in common: which
//! settings they write, and comments.

use super::{Effective, Report};
use crate::secrets::MASK;
use crate::settings::{
    AUTH, AUTH_HTPASSWD, AUTH_OIDC, AUTH_TOKEN, AUTH_TOKEN_EXPIRATION, HTTP_TLS_CLIENTAUTH,
    HTTP_TLS_CLIENTCAS, LETSENCRYPT, STORAGE, STORAGE_AZURE, STORAGE_FILESYSTEM, STORAGE_GCS,
    STORAGE_S3, Section,
};

/// Sections that choose something where they have any setting, if only its default.
static CHOOSING: [&Section; 8] = [
    &AUTH_HTPASSWD,
    &AUTH_TOKEN,
    &AUTH_OIDC,
    &STORAGE_FILESYSTEM,
    &STORAGE_S3,
    &STORAGE_GCS,
    &STORAGE_AZURE,
    &LETSENCRYPT,
];

/// Longest line of a comment, in characters.
const WIDTH: usize = 100;

/// How settings are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As keys of a file, which has `auth` and `storage` as sections only.
    Keys,
    /// As variables.
    Variables,
}

/// Whether a setting is written such that it is in effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line {
    /// It is.
    Live,
    /// Only as a comment: it has no value, or would choose something.
    Comment,
    /// It is not written.
    None,
}

impl Report {
    /// Whether a setting is written; with `all`, also those that are not given.
    pub(super) fn line(&self, form: Form, setting: &Effective, all: bool) -> Line {
        let Effective { row, description, .. } = setting;
        if setting.is_live(form) || self.chooses_tokens(form, setting) {
            return Line::Live;
        }
        if !all || description.only.is_some() || setting.is_a_section(form) {
            return Line::None;
        }
        let guard = CHOOSING.into_iter().find(|section| section.holds(row.key));
        let free = match guard {
            Some(section) => self.has(form, section),
            None if row.key == HTTP_TLS_CLIENTAUTH.row.key => {
                let mut settings = self.settings.iter();
                settings
                    .any(|other| other.row.key == HTTP_TLS_CLIENTCAS.row.key && other.is_live(form))
            }
            None => true,
        };
        // A default that depends on other settings is not the one of the row's kind.
        let is_value = row.default.is_none() && description.default.is_some();
        let is_value = is_value && !setting.is_an_example();
        if free && is_value && setting.without_effect.is_none() {
            Line::Live
        } else {
            Line::Comment
        }
    }

    /// Whether a setting has to be written, in order that this registry issues tokens.
    fn chooses_tokens(&self, form: Form, setting: &Effective) -> bool {
        let by_name = |other: &&Effective| {
            AUTH_TOKEN.holds(other.row.key)
                || form == Form::Variables && other.row.key == AUTH.row.key
        };
        let mut others = self.settings.iter().filter(by_name);
        self.issues_tokens
            && setting.row.key == AUTH_TOKEN_EXPIRATION.row.key
            && !others.any(|other| other.is_live(form))
    }

    /// Whether a section has a setting that is in effect.
    fn has(&self, form: Form, section: &Section) -> bool {
        let mut settings = self.settings.iter().filter(|setting| section.holds(setting.row.key));
        settings.any(|setting| setting.is_live(form) || self.chooses_tokens(form, setting))
    }

    /// What is to be said of settings that are given and not written, and of names that have no
    /// effect, a line each.
    pub(super) fn remarks(&self, form: Form) -> Vec<String> {
        let mut remarks = Vec::new();
        for setting in self.settings.iter().filter(|setting| setting.is_given()) {
            let Effective { without_effect, .. } = setting;
            let (name, origin) = (setting.key(), setting.origin());
            if let Some(reason) = without_effect {
                remarks.push(format!("{name} ({origin}) has no effect: {reason}"));
            } else if setting.empty {
                remarks.push(format!("{name} ({origin}) is empty, as if it were not set"));
            } else if setting.is_a_section(form) {
                let value = setting.shown();
                let what = "which a file says by its sections";
                remarks.push(format!("{name} is {value} ({origin}), {what}"));
            }
        }
        for unused in &self.unused {
            let more = match unused.more {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let (name, fate) = (&unused.name, unused.fate.as_str());
            remarks.push(format!("{name}{more} ({}) is {fate}: {}", unused.source, unused.reason));
        }
        remarks
    }

    /// Whether any value that is written has a mask.
    pub(super) fn has_masks(&self) -> bool {
        self.settings.iter().any(|setting| setting.shown().contains(MASK))
    }
}

impl Effective {
    /// Whether it is given and written as it is.
    fn is_live(&self, form: Form) -> bool {
        let chooses = || {
            self.row.default.is_some()
                || self.row.key == HTTP_TLS_CLIENTAUTH.row.key
                || CHOOSING.iter().any(|section| section.holds(self.row.key))
        };
        self.is_given()
            && !self.empty
            && !self.is_a_section(form)
            && self.without_effect.is_none()
            && (self.differs || chooses())
    }

    /// Whether a file has sections where this setting is.
    fn is_a_section(&self, form: Form) -> bool {
        form == Form::Keys && [AUTH.row.key, STORAGE.row.key].contains(&self.row.key)
    }

    /// Whether it is in a list of mappings that has none.
    const fn is_an_example(&self) -> bool {
        self.row.shape.is_each() && self.mapping.is_none()
    }

    /// What it is for, its type and its default, for a comment.
    pub(super) fn manual(&self) -> String {
        let default = match (self.row.default, &self.description.default) {
            (Some(text), _) => text.to_owned(),
            (None, Some(value)) => value.clone(),
            (None, None) => "none".to_owned(),
        };
        let kind = match self.description.kind.as_str() {
            "" => String::new(),
            kind => format!(" Type: {kind}. Default: {default}."),
        };
        without_links(&format!("{}{kind}", self.row.meaning))
    }
}

/// Markdown without the targets of its links.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, (label, (_, after)))) =
        rest.split_once('[').and_then(|(before, rest)| {
            let (label, target) = rest.split_once("](")?;
            Some((before, (label, target.split_once(')')?)))
        })
    {
        plain.extend([before, label]);
        rest = after;
    }
    plain + rest
}

/// Text as comments of at most [`WIDTH`] characters a line, each after an indentation.
pub(super) fn comment(text: &str, indentation: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let length = indentation.len() + 2 + line.chars().count() + word.chars().count();
        if !line.is_empty() && length >= WIDTH {
            lines.extend([indentation, "# ", line.trim_end(), "\n"]);
            line.clear();
        }
        line.extend([word, " "]);
    }
    lines.extend([indentation, "# ", line.trim_end(), "\n"]);
    lines
}

/// Text that stays on the line of a comment.
pub(super) fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_line_end(c) { '?' } else { c }).collect()
}

/// What YAML 1.1 takes for the end of a line, besides control characters, or for the beginning
/// of a text.
pub(super) const fn is_line_end(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}
