//! What the storage holds: the objects that concern one blob.

/// How many repositories there are.
pub const REPOSITORIES: usize = 2;

/// How many collectors there can be.
pub const COLLECTORS: usize = 2;

/// Time since an object was written, in ticks. Ages above the highest that a rule
/// asks for are one, so that there are finitely many states however much time
/// passes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Age(u8);

impl Age {
    /// Just written.
    pub const NEW: Self = Self(0);
    /// At least one tick has passed, perhaps only a moment.
    pub const PASSED: Self = Self(1);
    /// The grace has certainly passed.
    pub const OLD: Self = Self(2);
    /// The highest: old already when a run began that is one tick old itself.
    pub const HIGHEST: Self = Self(3);

    /// Some ticks, where a longer wait than the grace is told from it.
    pub const fn of(ticks: u8) -> Self {
        Self(ticks)
    }

    /// A tick passes.
    pub fn tick(&mut self) {
        self.tick_to(Self::HIGHEST);
    }

    /// A tick passes, where another age is the highest.
    pub fn tick_to(&mut self, highest: Self) {
        *self = Self(self.0 + 1).min(highest);
    }

    /// Whether it was old when something began that has this age now.
    pub fn was_old(self, begun: Self) -> bool {
        self.was(Self::OLD, begun)
    }

    /// Whether it was at least as old when something began that has this age now.
    pub fn was(self, old: Self, begun: Self) -> bool {
        self.0 >= old.0 + begun.0.min(1)
    }
}

/// The tombstone of a blob: how far its collection has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tombstone {
    /// Its links are being moved.
    Condemned,
    /// No link is left.
    Unlinked,
    /// A collector is about to remove its data.
    Removing(usize),
}

/// What a collector has announced in a repository.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Announced {
    /// It is moving the link.
    Moving,
    /// It has moved a link.
    Moved,
}

/// The objects that concern one blob, each with its age.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Store {
    /// Its bytes.
    pub data: Option<Age>,
    /// The tombstone beside the data.
    pub tombstone: Option<(Tombstone, Age)>,
    /// That somebody needs it although it is condemned.
    pub needed: Option<Age>,
    /// That a collector saw it as garbage.
    pub sighted: Option<Age>,
    /// The link of each repository.
    pub link: [Option<Age>; REPOSITORIES],
    /// The moved link of each repository.
    pub moved: [Option<Age>; REPOSITORIES],
    /// Whether a manifest of the repository refers to the blob.
    pub manifest: [bool; REPOSITORIES],
    /// What collectors announce in the repository, an object for each.
    pub announced: [[Option<(Announced, Age)>; COLLECTORS]; REPOSITORIES],
}

impl Store {
    /// A blob that has long been garbage, linked in some repositories.
    pub fn orphan(linked: [bool; REPOSITORIES]) -> Self {
        Self {
            data: Some(Age::HIGHEST),
            link: linked.map(|linked| linked.then_some(Age::HIGHEST)),
            ..Self::default()
        }
    }

    /// The same, seen by a collector once, long ago.
    pub fn sighted_orphan(linked: [bool; REPOSITORIES]) -> Self {
        Self { sighted: Some(Age::HIGHEST), ..Self::orphan(linked) }
    }

    /// A blob that was condemned long ago.
    pub fn condemned(moved: [bool; REPOSITORIES]) -> Self {
        let announced = moved.map(|moved| {
            let mut all = [None; COLLECTORS];
            all[0] = moved.then_some((Announced::Moved, Age::HIGHEST));
            all
        });
        Self {
            tombstone: Some((Tombstone::Unlinked, Age::HIGHEST)),
            link: [None; REPOSITORIES],
            moved: moved.map(|moved| moved.then_some(Age::HIGHEST)),
            announced,
            ..Self::sighted_orphan(moved)
        }
    }

    /// A tick passes.
    pub fn tick(&mut self) {
        let single = [&mut self.data, &mut self.needed, &mut self.sighted];
        let linked = self.link.iter_mut().chain(&mut self.moved);
        single.into_iter().chain(linked).flatten().for_each(Age::tick);
        self.tombstone.iter_mut().for_each(|(_, age)| age.tick());
        self.announced.iter_mut().flatten().flatten().for_each(|(_, age)| age.tick());
    }

    /// What is announced of moves in a repository that go on.
    pub fn moving(&self, repository: usize) -> impl Iterator<Item = Age> {
        let all = self.announced[repository].into_iter().flatten();
        all.filter(|(what, _)| *what == Announced::Moving).map(|(_, age)| age)
    }

    /// How old the tombstone is, if a removal goes on.
    pub fn removing(&self) -> Option<Age> {
        match self.tombstone {
            Some((Tombstone::Removing(_), age)) => Some(age),
            _ => None,
        }
    }
}
