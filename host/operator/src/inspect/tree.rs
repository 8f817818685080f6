//! What a reference leads to, as a tree for people.

use super::Inspected;
use crate::described::{Config, Described, Layer};
use crate::gc::summary::size;
use crate::print::{shown, time};
use crate::terminal::{HEADING, REMOVED, Screen};
use roadstead_oci::Descriptor;
use std::collections::BTreeMap;

/// What Docker's old builder puts before commands that only change the configuration.
const NOP: &str = "/bin/sh -c #(nop) ";

/// How wide names are.
const WIDTH: usize = 12;

/// The lines, as they are added.
struct Tree {
    lines: Vec<String>,
    screen: Screen,
}

/// The lines.
pub(super) fn lines(inspected: &Inspected<'_>, screen: Screen) -> Vec<String> {
    let mut tree = Tree { lines: Vec::new(), screen };
    tree.heading(0, inspected.reference);
    let stored = &inspected.stored;
    tree.property(1, "pushed", stored.pushed.as_ref().map(|at| time(Some(at))).as_deref());
    let mut tags = stored.tags.clone();
    tags.extend(stored.tags_incomplete.then(|| "perhaps others".to_owned()));
    tree.property(1, "tags", Some(&*tags.join(", ")).filter(|tags| !tags.is_empty()));
    tree.property(1, "immutable", stored.immutable.then_some("by a rule"));
    tree.manifest(1, &inspected.image);
    if let Some(referrers) = inspected.referrers.as_ref().filter(|all| !all.is_empty()) {
        tree.referrers(1, referrers);
    }
    tree.lines
}

impl Tree {
    fn push(&mut self, depth: usize, line: &str) {
        self.lines.push(format!("{}{line}", "  ".repeat(depth)).trim_end().to_owned());
    }

    fn heading(&mut self, depth: usize, text: &str) {
        let text = self.screen.paint(HEADING, &shown(text));
        self.push(depth, &text);
    }

    /// A property, if there is one.
    fn property(&mut self, depth: usize, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.push(depth, &format!("{name:<WIDTH$} {}", shown(value)));
        }
    }

    /// Texts with their names, below a line.
    fn pairs(&mut self, depth: usize, name: &str, pairs: &BTreeMap<String, String>) {
        if pairs.is_empty() {
            return;
        }
        self.push(depth, name);
        for (name, value) in pairs {
            self.push(depth + 1, &format!("{}: {}", shown(name), shown(value)));
        }
    }

    fn manifest(&mut self, depth: usize, image: &Described) {
        self.property(depth, "digest", Some(&image.digest));
        self.property(depth, "media type", image.media_type.as_deref());
        self.property(depth, "artifact", image.artifact_type.as_deref());
        self.property(depth, "size", image.size.map(size).as_deref());
        if depth == 1 {
            // Others have it as their heading.
            self.property(depth, "platform", image.platform.as_deref());
        }
        self.property(depth, "subject", image.subject.as_deref());
        if let Some(problem) = &image.problem {
            let line = self.screen.paint(REMOVED, &format!("problem      {}", shown(problem)));
            self.push(depth, &line);
        }
        self.pairs(depth, "annotations", &image.annotations);
        if let Some(config) = &image.config {
            self.config(depth, config);
        }
        if let Some(all) = image.layers_size {
            self.layers(depth, &image.layers, all);
        }
        if image.is_index() {
            let count = image.manifests.len();
            self.property(depth, "manifests", Some(&count.to_string()));
        }
        for child in &image.manifests {
            let name = child.platform.as_deref().or(child.artifact_type.as_deref());
            self.heading(depth + 1, name.unwrap_or("manifest"));
            self.manifest(depth + 2, child);
        }
    }

    fn config(&mut self, depth: usize, config: &Config) {
        self.property(depth, "config", Some(&config.digest));
        let list = |list: &Vec<String>| (!list.is_empty()).then(|| format!("{list:?}"));
        let words = |list: &Vec<String>| (!list.is_empty()).then(|| list.join(" "));
        for (name, value) in [
            ("created", config.created.clone()),
            ("author", config.author.clone()),
            ("user", config.user.clone()),
            ("directory", config.working_dir.clone()),
            ("entrypoint", list(&config.entrypoint)),
            ("cmd", list(&config.cmd)),
            ("ports", words(&config.exposed_ports)),
            ("volumes", words(&config.volumes)),
            ("stop signal", config.stop_signal.clone()),
        ] {
            self.property(depth + 1, name, value.as_deref());
        }
        if !config.env.is_empty() {
            self.push(depth + 1, "env");
            for variable in &config.env {
                self.push(depth + 2, &shown(variable));
            }
        }
        self.pairs(depth + 1, "labels", &config.labels);
    }

    fn layers(&mut self, depth: usize, layers: &[Layer], all: u64) {
        self.property(depth, "layers", Some(&format!("{}, {}", layers.len(), size(all))));
        for layer in layers {
            let bytes = layer.size.map_or_else(|| "?".to_owned(), size);
            let made = layer.created_by.as_deref().unwrap_or_default();
            let made = shown(made.strip_prefix(NOP).unwrap_or(made).trim());
            let line = format!("{}  {bytes:>10}  {made}", shown(&layer.digest));
            self.push(depth + 1, &line);
            for (name, value) in &layer.annotations {
                self.push(depth + 2, &format!("{}: {}", shown(name), shown(value)));
            }
        }
    }

    fn referrers(&mut self, depth: usize, referrers: &[Descriptor]) {
        self.property(depth, "referrers", Some(&referrers.len().to_string()));
        for referrer in referrers {
            let kind = referrer.artifact_type.as_ref().unwrap_or(&referrer.media_type);
            let line = format!(
                "{}  {:>10}  {}",
                referrer.digest,
                size(referrer.size),
                shown(kind.as_str())
            );
            self.push(depth + 1, &line);
            for (name, value) in &referrer.annotations {
                self.push(depth + 2, &format!("{}: {}", shown(name), shown(value)));
            }
        }
    }
}
