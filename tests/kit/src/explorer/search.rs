//! Runs scenarios in many orders and with many faults.

use super::ask::{Ask, Item, Upload};
use super::oracle::{Event, Model, check};
use super::schedule::{DepthFirst, Random, Scheduler};
use super::stage::{Fault, FaultKind, Performance, Span, Task, perform};
use super::world::{Medium, World};
use crate::bucket::Conditions;
use bytes::Bytes;
use http::Response;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

/// Requests that meet.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Requests before, one after the other.
    pub before: &'static [Ask],
    /// Requests at once.
    pub asks: &'static [Ask],
}

/// How much is tried of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The most orders that are tried depth first.
    pub orders: usize,
    /// Where these are not all: how often tasks are interrupted at most, in at
    /// most as many orders again.
    pub preemptions: usize,
    /// And how many orders are tried by seed then.
    pub seeds: u64,
}

/// What was tried, and the first violation.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// How many interleavings or faults were tried.
    pub runs: usize,
    /// Whether they are all that there are.
    pub complete: bool,
    /// Whether any run reached its fault.
    pub faulted: bool,
    /// What went wrong, with its history.
    pub violation: Option<String>,
}

/// Runs a scenario in every order up to a bound, and by seed beyond it. `faults`
/// are of the requests in the same place.
pub fn explore(
    medium: Medium,
    scenario: &Scenario,
    bound: Bound,
    faults: &[Option<Fault>],
) -> Found {
    explore_runs(bound, |scheduler| run(medium, scenario, scheduler, faults))
}

/// Calls `run` with every order up to a bound, and by seed beyond it, until it
/// returns a violation. It returns whether a fault was reached.
pub(super) fn explore_runs(
    bound: Bound,
    run: impl Fn(Box<dyn Scheduler>) -> Result<bool, String>,
) -> Found {
    let mut found = Found::default();
    found.complete = depth_first(DepthFirst::default(), bound.orders, &run, &mut found);
    if found.complete || found.violation.is_some() {
        return found;
    }
    let few = DepthFirst::with_preemptions(bound.preemptions);
    depth_first(few, bound.orders, &run, &mut found);
    for seed in 0..bound.seeds {
        if found.violation.is_some() {
            break;
        }
        found.runs += 1;
        let outcome = run(Box::new(Random::new(seed)));
        found.faulted |= outcome == Ok(true);
        found.violation = outcome.err();
    }
    found
}

/// A scheduler that outlives the run.
struct Kept(Arc<Mutex<DepthFirst>>);

impl Scheduler for Kept {
    fn choose(&mut self, options: &[(usize, super::Step)], last: Option<usize>) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).choose(options, last)
    }
}

/// Whether all orders were tried.
fn depth_first(
    scheduler: DepthFirst,
    most: usize,
    run: impl Fn(Box<dyn Scheduler>) -> Result<bool, String>,
    found: &mut Found,
) -> bool {
    let scheduler = Arc::new(Mutex::new(scheduler));
    for _ in 0..most {
        let outcome = run(Box::new(Kept(Arc::clone(&scheduler))));
        let mut scheduler = scheduler.lock().unwrap_or_else(PoisonError::into_inner);
        found.runs += usize::from(!scheduler.was_redundant());
        found.faulted |= outcome == Ok(true);
        found.violation = outcome.err();
        if found.violation.is_some() {
            return false;
        }
        if !scheduler.advance() {
            return true;
        }
    }
    false
}

/// Prepares a storage for a scenario.
fn prepare(medium: Medium, scenario: &Scenario, upload: &Upload) -> Result<(World, Model), String> {
    let fixed = scenario.before.iter().chain(scenario.asks).any(|ask| ask.is_fixed());
    let world = World::new(medium, scenario.asks.len()).with_fixed_tag(fixed);
    let mut model = Model::default();
    for &ask in scenario.before {
        let response = send(&world, 0, ask, upload);
        if !model.apply(ask, response.status(), false) {
            return Err(format!("before: {ask:?} has the status {}", response.status()));
        }
    }
    Ok((world, model))
}

/// Sends a request, and remembers where an upload is.
pub(super) fn send(world: &World, process: usize, ask: Ask, upload: &Upload) -> Response<Bytes> {
    let response = world.send(process, ask.request(upload));
    if matches!(ask, Ask::Start | Ask::Append)
        && let Some(location) = response.headers().get(http::header::LOCATION)
    {
        upload.moved(location.to_str().unwrap_or_default());
    }
    response
}

/// Repeats a request of which nobody has seen the response. A deletion of the
/// repository leaves it to one that has died for a while.
fn again(world: &World, process: usize, ask: Ask, upload: &Upload) -> Response<Bytes> {
    if ask == Ask::DeleteRepository {
        world.let_time_pass();
    }
    send(world, process, ask, upload)
}

/// Runs a scenario once, and says whether a fault was reached.
fn run(
    medium: Medium,
    scenario: &Scenario,
    scheduler: Box<dyn Scheduler>,
    faults: &[Option<Fault>],
) -> Result<bool, String> {
    let upload = Upload::default();
    let (mut world, before) = prepare(medium, scenario, &upload)?;
    let responses: Vec<Mutex<Option<Response<Bytes>>>> =
        scenario.asks.iter().map(|_| Mutex::new(None)).collect();
    let tasks = scenario.asks.iter().zip(&responses).enumerate();
    let tasks = tasks.map(|(process, (&ask, place))| {
        let (world, upload) = (&world, &upload);
        Box::new(move || {
            let response = send(world, process, ask, upload);
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
        }) as Task<'_>
    });
    let performance = perform(tasks.collect(), scheduler, faults, world.root());
    let responses: Vec<Option<Response<Bytes>>> = responses
        .into_iter()
        .map(|place| place.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect();
    let mut events = Vec::new();
    let mut problem = None;
    let died = |task: usize| {
        let fault = faults.get(task).copied().flatten();
        fault.is_some_and(|fault| fault.kind == FaultKind::Stops) && performance.faulted
    };
    for (task, (&ask, response)) in scenario.asks.iter().zip(&responses).enumerate() {
        let response = response.as_ref().filter(|_| !died(task));
        if let Some(response) = response {
            // Without conditions, of two claims of one tag both may be refused.
            let claims = ask.is_fixed() && medium == Medium::Bucket(Conditions::Ignored);
            if !claims || response.status() != 503 {
                problem = problem.or(check(ask, response).err());
            }
        }
        let status = response.map(Response::status);
        let (span, beside) = (performance.spans[task], scenario.asks.len() > 1);
        let same = scenario.asks.iter().filter(|&&other| other == ask).count();
        let yields = ask == Ask::DeleteRepository && same > 1;
        let links = scenario.asks.iter().any(|ask| matches!(ask, Ask::Put(Item::Image, _)));
        let claims = ask.is_fixed() && medium == Medium::Bucket(Conditions::Ignored);
        events.push(Event { ask, status, span, beside, yields, links, claims });
    }
    if performance.faulted {
        world.reopen(scenario.asks.len());
    }
    let mut end = Model::observe(&world);
    if end.is_err() {
        // What a dead process left half done is healed by repeating its request.
        for (task, event) in events.iter_mut().enumerate().filter(|(task, _)| died(*task)) {
            let status = again(&world, task, event.ask, &upload).status();
            let span = Span { begin: u64::MAX - 1, changed: None, end: u64::MAX };
            *event = Event { status: Some(status), span, ..event.clone() };
            end = Model::observe(&world);
        }
    }
    let problem = match (problem, end) {
        (Some(problem), _) | (None, Err(problem)) => problem,
        (None, Ok(end)) if before.explains(&events, &end) => return Ok(performance.faulted),
        (None, Ok(end)) => format!("no order of the requests ends in {end:?}"),
    };
    Err(history(medium, scenario, &events, &performance, &problem))
}

/// What happened, to be read.
fn history(
    medium: Medium,
    scenario: &Scenario,
    events: &[Event],
    performance: &Performance,
    problem: &str,
) -> String {
    let mut text = format!("{problem}\nover {medium:?}, after {:?}\n", scenario.before);
    for (task, event) in events.iter().enumerate() {
        let status = event.status.map_or("no response".to_owned(), |status| status.to_string());
        let _ = writeln!(text, "  {task}: {:?}: {status}, {:?}", event.ask, event.span);
    }
    text + &steps_of(performance)
}

/// All steps, to be read.
pub(super) fn steps_of(performance: &Performance) -> String {
    let mut text = String::new();
    for (task, step) in &performance.log {
        let place = step.place.trim_start_matches("docker/registry/v2/");
        let _ = writeln!(text, "  {task}: {:?} {}", step.kind, shortened(place));
    }
    text
}

/// A place with its digests cut.
fn shortened(place: &str) -> String {
    let segments = place.split('/').map(|segment| match segment.rsplit_once('-') {
        Some((algorithm, hex)) if hex.len() == 64 => format!("{algorithm}-{}", &hex[..6]),
        _ if segment.len() == 64 => segment[..6].to_owned(),
        _ => segment.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Has one request fail at each of its steps in turn, looks at what is there,
/// and repeats the request.
pub fn inject(medium: Medium, before: &'static [Ask], ask: Ask, kind: FaultKind) -> Found {
    let mut found = Found::default();
    for at in 0.. {
        match inject_at(medium, before, ask, Fault { at, kind }) {
            Ok(true) => found.runs += 1,
            Ok(false) => {
                found.complete = true;
                return found;
            }
            Err(problem) => {
                found.violation = Some(format!("{kind:?} at step {at} of {ask:?}: {problem}"));
                return found;
            }
        }
    }
    found
}

/// `false` if the request does not have so many steps.
fn inject_at(
    medium: Medium,
    before: &'static [Ask],
    ask: Ask,
    fault: Fault,
) -> Result<bool, String> {
    let upload = Upload::default();
    let scenario = Scenario { before, asks: &[] };
    let (world, model) = prepare(medium, &scenario, &upload)?;
    let fixed = before.iter().any(|ask| ask.is_fixed()) || ask.is_fixed();
    let mut world = world.with_fixed_tag(fixed);
    world.reopen(1);
    let place = Mutex::new(None);
    let task: Task<'_> = Box::new(|| {
        let response = send(&world, 0, ask, &upload);
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
    });
    let only = Box::new(DepthFirst::default());
    let performance = perform(vec![task], only, &[Some(fault)], world.root());
    if !performance.faulted {
        return Ok(false);
    }
    let died = fault.kind == FaultKind::Stops;
    let response = place.into_inner().unwrap_or_else(PoisonError::into_inner);
    let status = response.filter(|_| !died).map(|response| response.status());
    if died {
        world.reopen(1);
    }
    let acknowledged = status.filter(|status| !status.is_server_error());
    let span = performance.spans[0];
    let event = |status| {
        let (beside, yields, links, claims) = (false, false, false, false);
        vec![Event { ask, status, span, beside, yields, links, claims }]
    };
    let history =
        |problem: String| history(medium, &scenario, &event(status), &performance, &problem);
    let end = Model::observe(&world).map_err(history)?;
    if !model.explains(&event(acknowledged), &end) {
        return Err(history(format!("it cannot have ended in {end:?}")));
    }
    if matches!(ask, Ask::Append | Ask::AppendMore | Ask::Commit | Ask::Cancel) {
        // A session may have ended with the fault.
        return Ok(true);
    }
    let again = again(&world, 0, ask, &upload);
    let then = Model::observe(&world).map_err(history)?;
    let mut expected = model;
    let first = again.status();
    let is_gone = first == 404
        && matches!(
            ask,
            Ask::Delete(_) | Ask::DeleteTag(_) | Ask::DeleteBlob | Ask::DeleteRepository
        );
    let possible = expected.apply(ask, first, true) || is_gone;
    if !possible || expected != then {
        return Err(history(format!("again, it has the status {first} and ends in {then:?}")));
    }
    Ok(true)
}
