//! Which manifests of a repository stay: pure, over what is known of them.

use crate::collect::references::References;
use roadstead_oci::Digest;
use std::collections::BTreeSet;

/// The manifests of a repository, and those that were taken away from it, by what leads
/// from one to another.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// In their order: a manifest's number is its place.
    digests: Vec<Digest>,
    nodes: Vec<Node>,
}

/// What is known of a manifest.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Whether it stays by itself: a tag leads to it, or it is young.
    root: bool,
    /// Whether the repository holds it.
    held: bool,
    size: u64,
    /// The manifests that it refers to.
    refers: Vec<u32>,
    subject: Option<u32>,
}

impl Graph {
    /// The manifests that a repository `held`, and those that were taken away.
    pub(super) fn new(held: BTreeSet<Digest>, taken: &BTreeSet<Digest>) -> Self {
        let of = |held: bool| Node { held, ..Node::default() };
        let gone = taken.difference(&held).cloned();
        let mut all: Vec<(Digest, Node)> = gone.map(|digest| (digest, of(false))).collect();
        all.extend(held.into_iter().map(|digest| (digest, of(true))));
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let (digests, nodes) = all.into_iter().unzip();
        Self { digests, nodes }
    }

    fn number(&self, digest: &Digest) -> Option<usize> {
        self.digests.binary_search(digest).ok()
    }

    /// Whether a manifest is one of them, held or taken away.
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.number(digest).is_some()
    }

    /// Whether the repository holds it.
    pub(super) fn holds(&self, digest: &Digest) -> bool {
        let node = self.number(digest).and_then(|number| self.nodes.get(number));
        node.is_some_and(|node| node.held)
    }

    /// Says that a manifest stays by itself, if it is one of them.
    pub(super) fn keep(&mut self, digest: &Digest) {
        if let Some(node) = self.number(digest).and_then(|number| self.nodes.get_mut(number)) {
            node.root = true;
        }
    }

    /// Says what a manifest refers to. All of its content counts that is a manifest of
    /// the repository.
    pub(super) fn add(&mut self, digest: &Digest, references: &References, size: u64) {
        let number = |digest: &Digest| self.number(digest).and_then(|n| u32::try_from(n).ok());
        let refers = references.content.keys().filter_map(number).collect();
        let subject = references.subject.as_ref().and_then(number);
        if let Some(node) = self.number(digest).and_then(|number| self.nodes.get_mut(number)) {
            (node.refers, node.subject, node.size) = (refers, subject, size);
        }
    }

    /// Whether each of them stays: those that stay by themselves, what those refer to
    /// that stay, and those whose subject stays.
    fn stay(&self) -> Vec<bool> {
        let mut about: Vec<(u32, usize)> = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            about.extend(node.subject.map(|subject| (subject, number)));
        }
        about.sort_unstable();
        let mut stay = vec![false; self.nodes.len()];
        let mut next: Vec<usize> = Vec::new();
        next.extend((0..self.nodes.len()).filter(|&number| self.nodes[number].root));
        while let Some(number) = next.pop() {
            if std::mem::replace(&mut stay[number], true) {
                continue;
            }
            let refers = self.nodes[number].refers.iter().map(|&to| to as usize);
            next.extend(refers.filter(|&to| !stay[to]));
            let first = about.partition_point(|&(subject, _)| (subject as usize) < number);
            let referrers = about[first..].iter();
            let referrers = referrers.take_while(|&&(subject, _)| subject as usize == number);
            next.extend(referrers.map(|&(_, referrer)| referrer));
        }
        stay
    }

    /// The manifests that the repository holds and that do not stay, with their sizes, in
    /// their order.
    pub(super) fn doomed(&self) -> Vec<(Digest, u64)> {
        self.which(|node, stays| node.held && !stays)
    }

    /// Those that stay although they were taken away: they have to come back.
    pub(super) fn needed(&self) -> BTreeSet<Digest> {
        let needed = self.which(|node, stays| !node.held && stays);
        needed.into_iter().map(|(digest, _)| digest).collect()
    }

    fn which(&self, goes: impl Fn(&Node, bool) -> bool) -> Vec<(Digest, u64)> {
        let all = self.digests.iter().zip(&self.nodes).zip(self.stay());
        let chosen = all.filter(|((_, node), stays)| goes(node, *stays));
        chosen.map(|((digest, node), _)| (digest.clone(), node.size)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Graph;
    use crate::collect::references::References;
    use roadstead_oci::Digest;

    fn digest(letter: char) -> Digest {
        let hex = format!("{:02x}", letter as u32).repeat(32);
        Digest::parse(&format!("sha256:{hex}")).unwrap()
    }

    fn letters<'a>(digests: impl Iterator<Item = &'a Digest>) -> String {
        let letter = |digest: &Digest| {
            let code = u32::from_str_radix(&digest.encoded()[..2], 16).unwrap();
            char::from_u32(code).unwrap()
        };
        digests.map(letter).collect()
    }

    /// The repository holds `held`, and `taken` were taken away; `roots` stay by
    /// themselves. `a>bc` says that `a` refers to `b` and `c`, `a^b` that its subject is
    /// `b`.
    fn check(held: &str, taken: &str, roots: &str, edges: &str, doomed: &str, needed: &str) {
        let set = |text: &str| text.chars().map(digest).collect();
        let mut graph = Graph::new(set(held), &set(taken));
        for root in roots.chars() {
            graph.keep(&digest(root));
        }
        for from in held.chars().chain(taken.chars()) {
            let mut references = References::default();
            for edge in edges.split(' ').filter(|edge| edge.starts_with(from)) {
                let (kind, to) = (edge.chars().nth(1).unwrap(), edge.chars().skip(2));
                match kind {
                    '>' => references.content.extend(to.map(|to| (digest(to), None))),
                    _ => references.subject = to.map(digest).next(),
                }
            }
            graph.add(&digest(from), &references, u64::from(from as u32));
        }
        let row = format!("{held} {taken} {roots} {edges}");
        assert_eq!(letters(graph.doomed().iter().map(|(digest, _)| digest)), doomed, "{row}");
        assert_eq!(letters(graph.needed().iter()), needed, "{row}");
        let size = |digest: &Digest| u64::from_str_radix(&digest.encoded()[..2], 16).unwrap();
        assert!(graph.doomed().iter().all(|(digest, bytes)| *bytes == size(digest)), "{row}");
    }

    #[test]
    fn which_manifests_stay() {
        check("", "", "", "", "", "");
        check("ab", "", "a", "", "b", "");
        // An index that was replaced, with a child that the new one has too.
        check("abcxy", "", "x", "a>bc x>cy", "ab", "");
        // Indexes of indexes, and a ring of them, which no hash allows but anybody claims.
        check("abcd", "", "a", "a>b b>c c>d", "", "");
        check("abcd", "", "", "a>b b>a c>d", "abcd", "");
        check("abc", "", "a", "a>b b>a", "c", "");
        // What refers to itself, or to what is not there.
        check("ab", "", "b", "a>a a>z b>z", "a", "");
        // Referrers, and theirs, and what they refer to.
        check("abcd", "", "a", "b^a c^b b>d", "", "");
        check("abcd", "", "d", "b^a c^b", "abc", "");
        // Of a child, and of a subject that is not there.
        check("abc", "", "a", "a>b c^b", "", "");
        check("ab", "", "a", "b^z", "b", "");
        // A referrer that stays keeps no subject.
        check("ab", "", "b", "b^a", "a", "");
        // What was taken away and is needed again: by an index, as a referrer, by a tag.
        check("a", "bc", "a", "a>b", "", "b");
        check("a", "bcd", "a", "b^a b>c d^c", "", "bcd");
        check("", "bc", "b", "b>c", "", "bc");
        check("a", "b", "", "b>a", "a", "");
        // Restored already.
        check("ab", "b", "a", "", "b", "");
        check("ab", "b", "a", "a>b", "", "");
    }
}
