//! Which task makes the next step.

use super::step::{Kind, Step};

/// Chooses who makes the next step.
pub trait Scheduler: Send {
    /// Chooses one of the tasks that can go on, each with its next step. `last`
    /// made the step before.
    fn choose(&mut self, options: &[(usize, Step)], last: Option<usize>) -> usize;
}

/// Every order, depth first: each run repeats the choices of the one before, up
/// to the last at which another task could have been chosen.
///
/// Without a limit of preemptions, orders that differ only in steps that commute
/// are tried once (sleep sets: Godefroid 1996).
#[derive(Debug, Default)]
pub struct DepthFirst {
    nodes: Vec<Node>,
    depth: usize,
    /// The most times that a task is interrupted which could go on.
    preemptions: Option<usize>,
    redundant: bool,
}

#[derive(Debug)]
struct Node {
    options: Vec<(usize, Step)>,
    /// The tasks that may be chosen here.
    awake: Vec<usize>,
    /// The tasks whose next step was tried before, and commutes with all since.
    asleep: Vec<usize>,
    /// Those of `awake` that were tried.
    tried: Vec<usize>,
    chosen: usize,
    /// The task that made the step before, if it can go on.
    goes_on: Option<usize>,
    /// How many tasks were interrupted up to here.
    preempted: usize,
}

impl DepthFirst {
    /// Every order in which tasks are interrupted at most so many times.
    pub fn with_preemptions(most: usize) -> Self {
        Self { preemptions: Some(most), ..Self::default() }
    }

    /// Whether the last run was one that an earlier one stands for.
    pub fn was_redundant(&self) -> bool {
        self.redundant
    }

    /// Goes to the next order; `false` at the end.
    pub fn advance(&mut self) -> bool {
        self.depth = 0;
        self.redundant = false;
        while let Some(node) = self.nodes.last_mut() {
            node.tried.push(node.chosen);
            let next = node.awake.iter().find(|task| !node.tried.contains(task));
            if let Some(&next) = next {
                node.chosen = next;
                return true;
            }
            self.nodes.pop();
        }
        false
    }

    fn enter(&mut self, options: &[(usize, Step)], last: Option<usize>) -> Option<usize> {
        let parent = self.nodes.last();
        let mut asleep = Vec::new();
        let mut preempted = 0;
        if let Some(parent) = parent {
            preempted = parent.preempted + usize::from(parent.preempts());
            if self.preemptions.is_none() {
                asleep.extend(parent.still_asleep());
            }
        }
        let tasks = options.iter().map(|(task, _)| *task);
        let mut awake: Vec<usize> = tasks.filter(|task| !asleep.contains(task)).collect();
        let goes_on = last.filter(|last| {
            options.iter().any(|(task, step)| task == last && step.kind != Kind::Wait)
        });
        if let Some(last) = goes_on
            && self.preemptions.is_some_and(|most| preempted >= most)
        {
            awake.retain(|task| *task == last);
        }
        let chosen = goes_on.filter(|last| awake.contains(last)).or(awake.first().copied())?;
        let options = options.to_vec();
        let tried = Vec::new();
        let node = Node { options, awake, asleep, tried, chosen, goes_on, preempted };
        self.nodes.push(node);
        Some(chosen)
    }
}

impl Node {
    fn step(&self, wanted: usize) -> Option<&Step> {
        self.options.iter().find(|(task, _)| *task == wanted).map(|(_, step)| step)
    }

    /// Whether the choice interrupts the task that made the step before.
    fn preempts(&self) -> bool {
        self.goes_on.is_some_and(|task| task != self.chosen)
    }

    fn still_asleep(&self) -> impl Iterator<Item = usize> {
        let chosen = self.step(self.chosen);
        self.asleep.iter().chain(&self.tried).copied().filter(
            move |&task| matches!((self.step(task), chosen), (Some(a), Some(b)) if a.commutes(b)),
        )
    }
}

impl Scheduler for DepthFirst {
    fn choose(&mut self, options: &[(usize, Step)], last: Option<usize>) -> usize {
        let first = options.first().map_or(0, |(task, _)| *task);
        if self.redundant {
            return first;
        }
        let chosen = if let Some(node) = self.nodes.get_mut(self.depth) {
            // Names are made up anew in each run.
            node.options = options.to_vec();
            assert!(node.step(node.chosen).is_some(), "a run was not repeated: {options:?}");
            Some(node.chosen)
        } else {
            self.enter(options, last)
        };
        self.depth += 1;
        chosen.unwrap_or_else(|| {
            self.redundant = true;
            first
        })
    }
}

/// Orders by chance, from a seed.
#[derive(Debug)]
pub struct Random(fastrand::Rng);

impl Random {
    /// The order of a seed.
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }
}

impl Scheduler for Random {
    fn choose(&mut self, options: &[(usize, Step)], last: Option<usize>) -> usize {
        // Mostly the same task goes on, so that others fall far behind.
        if let Some(last) = last
            && options.iter().any(|(task, step)| *task == last && step.kind != Kind::Wait)
            && self.0.u8(..3) > 0
        {
            return last;
        }
        options.get(self.0.usize(..options.len())).map_or(0, |(task, _)| *task)
    }
}

#[cfg(test)]
mod tests {
    use super::{DepthFirst, Scheduler};
    use crate::explorer::{Kind, Step};

    /// How many orders of two tasks with these steps are tried.
    fn orders(scheduler: DepthFirst, tasks: [&[(Kind, &str)]; 2]) -> usize {
        let mut scheduler = scheduler;
        let mut count = 0;
        loop {
            let (mut at, mut last) = ([0; 2], None);
            loop {
                let next = |task: usize| {
                    let (kind, place) = *tasks[task].get(at[task])?;
                    Some((task, Step { kind, place: place.to_owned() }))
                };
                let options: Vec<_> = (0..2).filter_map(next).collect();
                if options.is_empty() {
                    break;
                }
                let chosen = scheduler.choose(&options, last);
                at[chosen] += 1;
                last = Some(chosen);
            }
            count += usize::from(!scheduler.was_redundant());
            if !scheduler.advance() {
                return count;
            }
        }
    }

    #[test]
    fn every_order_and_each_once() {
        let same: &[_] = &[(Kind::Change, "a"); 3];
        let other: &[_] = &[(Kind::Change, "b"); 3];
        // Six over three.
        assert_eq!(orders(DepthFirst::default(), [same, same]), 20);
        assert_eq!(orders(DepthFirst::default(), [same, other]), 1);
        let mixed: &[_] = &[(Kind::Change, "b"), (Kind::Change, "a"), (Kind::Change, "b")];
        assert_eq!(orders(DepthFirst::default(), [same, mixed]), 4);
        // One after the other, in both orders.
        assert_eq!(orders(DepthFirst::with_preemptions(0), [same, same]), 2);
        assert_eq!(orders(DepthFirst::with_preemptions(9), [same, same]), 20);
    }
}
