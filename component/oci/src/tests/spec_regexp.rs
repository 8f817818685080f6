//! A matcher for the regular expressions that the specifications print, so
//! that tests can compare the hand-written parsers with the originals.
//!
//! It knows literals, `\` escapes, `[...]` classes with ranges, groups,
//! alternatives and the repetitions `*`, `+`, `?`, `{n}` and `{m,n}`. It
//! follows all alternatives in parallel, so it never takes exponential time.

/// A regular expression that has to match a whole text.
#[derive(Debug)]
pub(super) struct SpecRegexp(Node);

impl SpecRegexp {
    /// Parses `pattern`, which tests provide: an error in it fails the test.
    pub(super) fn new(pattern: &str) -> Self {
        let pattern: Vec<char> = pattern.chars().collect();
        let mut reader = Reader { rest: &pattern };
        let node = reader.alternatives();
        assert!(reader.rest.is_empty(), "unread: {:?}", reader.rest);
        Self(node)
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        self.0.ends(&text, &[0]).contains(&text.len())
    }
}

#[derive(Debug)]
enum Node {
    Class(Vec<(char, char)>),
    Sequence(Vec<Node>),
    Alternatives(Vec<Node>),
    Repeat(Box<Node>, usize, usize),
}

impl Node {
    /// The ends of all matches that start at one of `starts`, without duplicates.
    fn ends(&self, text: &[char], starts: &[usize]) -> Vec<usize> {
        match self {
            Self::Class(ranges) => starts
                .iter()
                .filter(|start| {
                    text.get(**start)
                        .is_some_and(|c| ranges.iter().any(|(low, high)| (low..=high).contains(&c)))
                })
                .map(|start| start + 1)
                .collect(),
            Self::Sequence(nodes) => {
                nodes.iter().fold(starts.to_vec(), |starts, node| node.ends(text, &starts))
            }
            Self::Alternatives(nodes) => {
                let mut ends = Vec::new();
                for node in nodes {
                    add_new(&mut ends, &node.ends(text, starts));
                }
                ends
            }
            Self::Repeat(node, least, most) => {
                let mut current = starts.to_vec();
                let mut ends = Vec::new();
                for round in 0..=*most {
                    if round >= *least {
                        current = add_new(&mut ends, &current);
                    }
                    if current.is_empty() {
                        break;
                    }
                    current = node.ends(text, &current);
                }
                ends
            }
        }
    }
}

/// Adds what is not yet in `known`, and returns what was added.
fn add_new(known: &mut Vec<usize>, found: &[usize]) -> Vec<usize> {
    let is_new = |position: &&usize| !known.contains(position);
    let new: Vec<usize> = found.iter().filter(is_new).copied().collect();
    known.extend(&new);
    new
}

struct Reader<'a> {
    rest: &'a [char],
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, character: char) -> bool {
        let found = self.rest.first() == Some(&character);
        if found {
            self.next();
        }
        found
    }

    fn alternatives(&mut self) -> Node {
        let mut nodes = vec![self.sequence()];
        while self.take('|') {
            nodes.push(self.sequence());
        }
        Node::Alternatives(nodes)
    }

    fn sequence(&mut self) -> Node {
        let mut nodes = Vec::new();
        while self.rest.first().is_some_and(|c| !"|)".contains(*c)) {
            let atom = self.atom();
            nodes.push(self.repeated(atom));
        }
        Node::Sequence(nodes)
    }

    fn atom(&mut self) -> Node {
        if self.take('(') {
            let node = self.alternatives();
            assert!(self.take(')'), "unclosed group");
            return node;
        }
        if self.take('[') {
            let mut ranges = Vec::new();
            while !self.take(']') {
                let low = self.literal();
                let closes = self.rest.get(1) == Some(&']');
                let high = if !closes && self.take('-') { self.literal() } else { low };
                ranges.push((low, high));
            }
            return Node::Class(ranges);
        }
        let character = self.literal();
        Node::Class(vec![(character, character)])
    }

    fn literal(&mut self) -> char {
        self.take('\\');
        self.next().unwrap_or('\0')
    }

    fn repeated(&mut self, atom: Node) -> Node {
        let (least, most) = if self.take('*') {
            (0, usize::MAX)
        } else if self.take('+') {
            (1, usize::MAX)
        } else if self.take('?') {
            (0, 1)
        } else if self.take('{') {
            let least = self.number();
            let most = if self.take(',') { self.number() } else { least };
            assert!(self.take('}'), "unclosed repetition");
            (least, most)
        } else {
            return atom;
        };
        Node::Repeat(Box::new(atom), least, most)
    }

    fn number(&mut self) -> usize {
        let mut number = 0;
        while let Some(digit) = self.rest.first().and_then(|c| c.to_digit(10)) {
            number = number * 10 + usize::try_from(digit).unwrap_or(0);
            self.next();
        }
        number
    }
}

#[test]
fn the_matcher_matches() {
    for (pattern, good, bad) in [
        ("", vec![""], vec!["a"]),
        ("ab", vec!["ab"], vec!["a", "abc", "xab"]),
        ("a*", vec!["", "a", "aaa"], vec!["b", "ab"]),
        ("a+b?", vec!["a", "aab"], vec!["", "b", "abb"]),
        ("[a-c_-]", vec!["a", "c", "_", "-"], vec!["d", "", "ab"]),
        ("[+._-]", vec!["+", ".", "_", "-"], vec![",", "/"]),
        (r"(a|\.|-+)*b", vec!["b", "a.b", "--ab"], vec!["a", "x.b"]),
        ("a{2}", vec!["aa"], vec!["a", "aaa"]),
        ("a{0,2}b", vec!["b", "ab", "aab"], vec!["aaab"]),
        ("(a*)*b", vec!["b", "aab"], vec!["aa"]),
    ] {
        let regexp = SpecRegexp::new(pattern);
        for text in good {
            assert!(regexp.matches(text), "{pattern:?} on {text:?}");
        }
        for text in bad {
            assert!(!regexp.matches(text), "{pattern:?} on {text:?}");
        }
    }
}
