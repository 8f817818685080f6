//! A comparison for people.

use super::compare::{Difference, Layers, Platform};
use super::{Compared, Side};
use crate::described::Layer;
use crate::gc::summary::size;
use crate::print::shown;
use crate::terminal::{ADDED, HEADING, REMOVED, Screen};
use serde_json::Value;

/// The lines, as they are added.
struct Text {
    lines: Vec<String>,
    screen: Screen,
}

/// The lines.
pub(super) fn lines(compared: &Compared<'_>, screen: Screen) -> Vec<String> {
    let mut text = Text { lines: Vec::new(), screen };
    let side = |side: &Side<'_>| format!("{}  {}", shown(side.reference), shown(&side.digest));
    text.only(0, Some(&side(&compared.a)), None);
    text.only(0, None, Some(&side(&compared.b)));
    if compared.same {
        text.push(0, "the same manifest");
    } else {
        text.difference(0, &compared.difference);
    }
    text.lines
}

impl Text {
    fn push(&mut self, depth: usize, line: &str) {
        self.lines.push(format!("{}{line}", "  ".repeat(depth)).trim_end().to_owned());
    }

    /// What one of them has, or each.
    fn only(&mut self, depth: usize, a: Option<&str>, b: Option<&str>) {
        let lines = [(a, REMOVED, '-'), (b, ADDED, '+')];
        for (text, style, sign) in lines {
            if let Some(text) = text {
                let line = self.screen.paint(style, &format!("{sign} {text}"));
                self.push(depth, &line);
            }
        }
    }

    fn difference(&mut self, depth: usize, difference: &Difference) {
        for problem in &difference.problems {
            self.push(depth, &format!("problem: {}", shown(problem)));
        }
        if let Some(layers) = &difference.layers {
            self.layers(depth, layers);
        }
        if !difference.config.is_empty() {
            let heading = self.screen.paint(HEADING, "configuration and annotations");
            self.push(depth, &heading);
        }
        for (name, changed) in &difference.config {
            let line = |value: &Value| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("{}: {}", shown(name), shown(&value))
            };
            let (a, b) = (changed.a.as_ref().map(line), changed.b.as_ref().map(line));
            self.only(depth + 1, a.as_deref(), b.as_deref());
        }
        for platform in &difference.platforms {
            self.platform(depth, platform);
        }
    }

    fn layers(&mut self, depth: usize, layers: &Layers) {
        let heading = self.screen.paint(HEADING, "layers");
        self.push(depth, &heading);
        let shared = (layers.shared.len(), size(layers.shared_size));
        self.push(depth + 1, &format!("{} shared, {}", shared.0, shared.1));
        let line = |layer: &Layer| {
            let bytes = layer.size.map_or_else(|| "?".to_owned(), size);
            let made = shown(layer.created_by.as_deref().unwrap_or_default());
            format!("{}  {bytes:>10}  {made}", shown(&layer.digest)).trim_end().to_owned()
        };
        for layer in &layers.only_a {
            self.only(depth + 1, Some(&line(layer)), None);
        }
        for layer in &layers.only_b {
            self.only(depth + 1, None, Some(&line(layer)));
        }
    }

    fn platform(&mut self, depth: usize, platform: &Platform) {
        let name = shown(&platform.name);
        let digest =
            |digest: &Option<String>| digest.as_ref().map(|it| format!("{name}  {}", shown(it)));
        match &platform.difference {
            Some(difference) => {
                self.only(depth, digest(&platform.a).as_deref(), digest(&platform.b).as_deref());
                self.difference(depth + 1, difference);
            }
            None if platform.a == platform.b => self.push(depth, &format!("{name}  the same")),
            None => {
                self.only(depth, digest(&platform.a).as_deref(), digest(&platform.b).as_deref());
            }
        }
    }
}
