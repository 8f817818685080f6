//! Processes that are killed: this test starts itself.

use super::receiver::Receiver;
use super::{endpoint, event};
use crate::Action;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The variable that makes the test below a publisher: the directory, the receiver's URL, and the
/// numbers of the events.
const PUBLISHER: &str = "ROADSTEAD_EVENTS_PUBLISHER";

/// How many requests publish at a time.
const CONCURRENT: usize = 32;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// The other process: publishes, and says so on standard output.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher() {
    let Ok(text) = std::env::var(PUBLISHER) else { return };
    let [directory, url, first, end] = text.split('|').collect::<Vec<_>>()[..] else { panic!() };
    let (next, end) = (Arc::new(AtomicUsize::new(first.parse().unwrap())), end.parse().unwrap());
    let notifications = Arc::new(super::start(vec![endpoint("alice", url)], Path::new(directory)));
    let mut tasks = JoinSet::new();
    for _ in 0..CONCURRENT {
        let (notifications, next) = (Arc::clone(&notifications), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return;
                }
                say(&format!("begun {number}"));
                notifications.publish(event(Action::Push, number)).await.unwrap();
                say(&format!("published {number}"));
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    notifications.stop(super::LONG * 10).await;
    say(&format!("pending {}", notifications.metrics()[0].pending));
}

/// One write, so that a line is complete or not there.
fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// A publisher, and what it has said.
struct Publisher {
    child: Child,
    begun: BTreeSet<usize>,
    published: BTreeSet<usize>,
    pending: Option<usize>,
}

impl Publisher {
    fn start(directory: &Path, url: &str, first: usize, end: usize) -> Self {
        let text = format!("{}|{url}|{first}|{end}", directory.display());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["tests::crashes::publisher", "--exact", "--nocapture"])
            .env(PUBLISHER, text)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, begun: BTreeSet::new(), published: BTreeSet::new(), pending: None }
    }

    /// Reads what it says, and kills it after so many events.
    fn run(mut self, kill_after: usize) -> Self {
        let mut lines = BufReader::new(self.child.stdout.take().unwrap());
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).unwrap() > 0 {
            // A line that a kill has cut is none.
            let text = String::from_utf8_lossy(&line);
            match text.strip_suffix('\n').and_then(|text| text.split_once(' ')) {
                Some(("begun", number)) => {
                    self.begun.insert(number.parse().unwrap());
                }
                Some(("published", number)) => {
                    self.published.insert(number.parse().unwrap());
                }
                Some(("pending", number)) => self.pending = Some(number.parse().unwrap()),
                _ => {}
            }
            line.clear();
            if self.published.len() == kill_after {
                let _ = self.child.kill();
            }
        }
        self.child.wait().unwrap();
        self
    }
}

/// With `ROADSTEAD_EVENTS=100000 ROADSTEAD_EVENT_KILLS=20`, the long form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_lose_no_event_and_invent_none() {
    let total = number("ROADSTEAD_EVENTS", 2000);
    let kills = number("ROADSTEAD_EVENT_KILLS", 3);
    let (receiver, directory) = (Receiver::start([]).await, tempfile::tempdir().unwrap());
    // A third of the time, it is down.
    let down = Arc::clone(&receiver.down);
    let toggling = tokio::spawn(async move {
        loop {
            for (state, milliseconds) in [(true, 50), (false, 100)] {
                down.store(state, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            }
        }
    });
    let mut random = fastrand::Rng::with_seed(1);
    let (mut begun, mut published) = (BTreeSet::<usize>::new(), BTreeSet::<usize>::new());
    let start = Instant::now();
    for kill in 0..=kills {
        let first = begun.last().map_or(0, |last| last + 1);
        // The last one is not killed.
        let share = (total - first.min(total)) / (kills - kill + 1).max(1);
        let after = if kill == kills { usize::MAX } else { share / 2 + random.usize(..=share / 2) };
        let (path, url) = (directory.path().join("events"), receiver.url());
        let done = tokio::task::spawn_blocking(move || {
            Publisher::start(&path, &url, first, total).run(after.max(1))
        });
        let done = done.await.unwrap();
        begun.extend(&done.begun);
        published.extend(&done.published);
        if kill == kills {
            assert_eq!(done.pending, Some(0));
        }
    }
    toggling.abort();
    let mut delivered = BTreeMap::new();
    for tag in receiver.tags() {
        *delivered.entry(tag.parse::<usize>().unwrap()).or_insert(0) += 1;
    }
    let all = delivered.values().sum::<usize>();
    let unasked = delivered.keys().filter(|number| !published.contains(*number)).count();
    println!(
        "{kills} kills in {:?}: {} events begun, {} published, {} delivered in {all} deliveries, \
         {unasked} of them without an answer to their publisher",
        start.elapsed(),
        begun.len(),
        published.len(),
        delivered.len(),
    );
    let lost: Vec<_> = published.iter().filter(|it| !delivered.contains_key(it)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let invented: Vec<_> = delivered.keys().filter(|number| !begun.contains(number)).collect();
    assert!(invented.is_empty(), "invented: {invented:?}");
}
