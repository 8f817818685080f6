//! Tasks in threads of which one runs at a time, and what goes wrong with them.

use super::schedule::Scheduler;
use super::step::{Kind, Step};
use roadstead_directory::steps::{self, Call, Observer};
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a task may take for one step before it is taken to wait for another
/// outside of all steps.
const STUCK: Duration = Duration::from_mins(1);

/// The most steps of one run.
const STEPS_LIMIT: u64 = 1_000_000;

/// What a task does, in a thread of its own.
pub type Task<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Something that goes wrong with a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// At which of its steps, counted from 0.
    pub at: usize,
    /// What.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// The step is not made, and fails.
    Fails,
    /// The step is made, but its answer is an error. Only of a bucket.
    LosesAnswer,
    /// Half of what is written is written. Of other steps like `Fails`.
    Tears,
    /// The process dies before the step: no step is made any more.
    Stops,
}

/// When a task ran, in moments of its performance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// When its request arrived.
    pub begin: u64,
    /// When it first changed content.
    pub changed: Option<u64>,
    /// When its response was sent.
    pub end: u64,
}

/// What happened.
pub struct Performance {
    /// When each task ran.
    pub spans: Vec<Span>,
    /// All steps in their order, with the tasks that made them.
    pub log: Vec<(usize, Step)>,
    /// Whether the fault of any task was reached.
    pub faulted: bool,
}

/// Runs tasks to their ends. `faults` are of the tasks in the same place.
///
/// # Panics
/// If a task panics, or waits for another one outside of all steps.
pub fn perform(
    tasks: Vec<Task<'_>>,
    scheduler: Box<dyn Scheduler>,
    faults: &[Option<Fault>],
    root: &Path,
) -> Performance {
    let count = tasks.len();
    let begin = Step { kind: Kind::Begin, place: String::new() };
    let state = State {
        pending: vec![Some(begin); count],
        current: None,
        last: None,
        moment: 0,
        actors: vec![Progress::default(); count],
        faults: (0..count).map(|task| faults.get(task).copied().flatten()).collect(),
        log: Vec::new(),
        scheduler,
    };
    let turns = (0..count).map(|_| Condvar::new()).collect();
    let shared = Arc::new(Shared { state: Mutex::new(state), turns, root: root.to_owned() });
    let mut state = shared.lock();
    shared.pass_on(&mut state);
    drop(state);
    std::thread::scope(|scope| {
        for (task, work) in tasks.into_iter().enumerate() {
            let actor = Actor { shared: Arc::clone(&shared), task };
            scope.spawn(move || {
                let actor = Rc::new(actor);
                actor.take_turn();
                ACTOR.with(|place| *place.borrow_mut() = Some(Rc::clone(&actor)));
                steps::observe(Some(Rc::clone(&actor) as Rc<dyn Observer>));
                work();
                steps::observe(None);
                ACTOR.with(|place| *place.borrow_mut() = None);
                actor.leave();
            });
        }
    });
    let Ok(shared) = Arc::try_unwrap(shared) else { panic!("a task is still running") };
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    Performance {
        spans: state.actors.iter().map(|actor| actor.span).collect(),
        faulted: state.actors.iter().any(|actor| actor.faulted),
        log: state.log,
    }
}

struct Shared {
    state: Mutex<State>,
    /// One for each task.
    turns: Vec<Condvar>,
    /// What paths are relative to.
    root: PathBuf,
}

struct State {
    /// What each task is about to do, unless it runs or has ended.
    pending: Vec<Option<Step>>,
    /// The task that runs.
    current: Option<usize>,
    /// The task that ran before.
    last: Option<usize>,
    moment: u64,
    actors: Vec<Progress>,
    faults: Vec<Option<Fault>>,
    log: Vec<(usize, Step)>,
    scheduler: Box<dyn Scheduler>,
}

#[derive(Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is of its own")]
struct Progress {
    /// How many steps it has made or was about to make.
    steps: usize,
    span: Span,
    faulted: bool,
    /// Its process is dead.
    stopped: bool,
    /// The answer of the step that is made now is lost.
    unanswered: bool,
    /// Whether what it waits for may have happened.
    woken: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chooses who goes on.
    fn pass_on(&self, state: &mut State) {
        let pending = |(task, step): (usize, &Option<Step>)| Some((task, step.clone()?));
        let all: Vec<(usize, Step)> =
            state.pending.iter().enumerate().filter_map(pending).collect();
        let mut options = all.clone();
        options.retain(|(task, step)| step.kind != Kind::Wait || state.actors[*task].woken);
        // If all wait, time goes by.
        let options = if options.is_empty() { all } else { options };
        state.current = None;
        if options.is_empty() {
            return;
        }
        let chosen = match options.as_slice() {
            [(only, _)] => *only,
            options => state.scheduler.choose(options, state.last),
        };
        state.current = Some(chosen);
        state.last = Some(chosen);
        if let Some(turn) = self.turns.get(chosen) {
            turn.notify_one();
        }
    }
}

struct Actor {
    shared: Arc<Shared>,
    task: usize,
}

thread_local! {
    static ACTOR: RefCell<Option<Rc<Actor>>> = const { RefCell::new(None) };
}

/// Why a step was not made.
enum Failure {
    /// It failed.
    Failed,
    /// It was made in half.
    Torn,
    /// The process is dead.
    Stopped,
}

impl Actor {
    /// Waits for the turn, and takes it.
    fn take_turn(&self) {
        let mut state = self.shared.lock();
        while state.current != Some(self.task) {
            let waited = self.shared.turns[self.task].wait_timeout(state, STUCK);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            assert!(
                !timeout.timed_out() || state.current == Some(self.task),
                "task {} waits for task {:?}, which makes no step: does it wait for a lock?",
                self.task,
                state.current
            );
        }
        let Some(step) = state.pending[self.task].take() else { return };
        state.moment += 1;
        assert!(state.moment < STEPS_LIMIT, "the tasks do not end");
        let moment = state.moment;
        if step.kind == Kind::Begin {
            state.actors[self.task].span.begin = moment;
        }
        // What only tells others of a deletion is no change yet.
        if step.kind == Kind::Change && !step.place.contains("/_deletions") {
            state.actors[self.task].span.changed.get_or_insert(moment);
        }
        if matches!(step.kind, Kind::Change | Kind::End) {
            for (task, actor) in state.actors.iter_mut().enumerate() {
                actor.woken |= task != self.task;
            }
        }
        state.log.push((self.task, step));
    }

    /// Waits for the turn to make a step.
    fn make(&self, step: Step) -> Result<(), Failure> {
        let mut state = self.shared.lock();
        if step.kind != Kind::Wait {
            let fault = state.faults[self.task];
            let actor = &mut state.actors[self.task];
            if actor.stopped {
                return Err(Failure::Stopped);
            }
            actor.steps += 1;
            actor.unanswered = false;
            if let Some(fault) = fault.filter(|fault| fault.at + 1 == actor.steps) {
                actor.faulted = true;
                match fault.kind {
                    FaultKind::Fails => return Err(Failure::Failed),
                    FaultKind::Tears => return Err(Failure::Torn),
                    FaultKind::LosesAnswer => actor.unanswered = true,
                    FaultKind::Stops => {
                        actor.stopped = true;
                        return Err(Failure::Stopped);
                    }
                }
            }
        } else if state.actors[self.task].stopped && state.pending.iter().all(Option::is_none) {
            return Err(Failure::Stopped);
        }
        if step.kind == Kind::Local {
            return Ok(());
        }
        state.actors[self.task].woken = false;
        state.pending[self.task] = Some(step);
        self.shared.pass_on(&mut state);
        drop(state);
        self.take_turn();
        Ok(())
    }

    /// Ends the task.
    fn leave(&self) {
        let mut state = self.shared.lock();
        state.pending[self.task] = Some(Step { kind: Kind::End, place: String::new() });
        self.shared.pass_on(&mut state);
        drop(state);
        self.take_turn();
        let mut state = self.shared.lock();
        let moment = state.moment;
        state.actors[self.task].span.end = moment;
        self.shared.pass_on(&mut state);
    }
}

impl Observer for Actor {
    fn before(&self, call: Call, path: &Path) -> io::Result<()> {
        let place = path.strip_prefix(&self.shared.root).unwrap_or(path);
        let place = place.to_string_lossy().into_owned();
        let private = place.starts_with(roadstead_directory::PRIVATE);
        let kind = match call {
            Call::Wait => Kind::Wait,
            // A temporary file has one writer.
            _ if private => Kind::Local,
            Call::Read | Call::List => Kind::Read,
            Call::Change => Kind::Change,
            Call::Write | Call::Sync => Kind::Local,
        };
        self.make(Step { kind, place }).map_err(|failure| match failure {
            Failure::Torn if call == Call::Write => io::ErrorKind::WriteZero.into(),
            Failure::Failed | Failure::Torn => io::Error::other("a fault of the test"),
            Failure::Stopped => io::Error::other("the process is dead"),
        })
    }
}

fn actor() -> Option<Rc<Actor>> {
    ACTOR.with(|place| place.borrow().clone())
}

/// A request to a bucket, before it is carried out.
pub(crate) fn bucket_step(what: &str, key: &str) -> Result<(), &'static str> {
    let Some(actor) = actor() else { return Ok(()) };
    let kind = match what {
        "GET" | "HEAD" | "LIST" => Kind::Read,
        // Only a completed upload is seen by others.
        "CREATE" | "PART" => Kind::Local,
        _ => Kind::Change,
    };
    actor.make(Step { kind, place: key.to_owned() }).map_err(|failure| match failure {
        Failure::Failed | Failure::Torn => "a fault of the test",
        Failure::Stopped => "the process is dead",
    })
}

/// Whether the request that was carried out last is answered.
pub(crate) fn answered() -> Result<(), &'static str> {
    let Some(actor) = actor() else { return Ok(()) };
    let mut state = actor.shared.lock();
    let lost = std::mem::take(&mut state.actors[actor.task].unanswered);
    if lost { Err("the answer was lost") } else { Ok(()) }
}

/// Waits until other tasks have gone on, if this is one.
pub(crate) fn pause() {
    if let Some(actor) = actor() {
        // Waiting does not fail.
        let _ = actor.make(Step { kind: Kind::Wait, place: String::new() });
    }
}
