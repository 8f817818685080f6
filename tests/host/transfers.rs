//! Exports, imports and mirrors that are killed: repeated, they go on, and the result is the
//! same as without.
//!
//! `ROADSTEAD_TRANSFER_KILLS` is the number of kills of each, and `ROADSTEAD_SEED` repeats a
//! run, as far as the times of the kills allow it.

use crate::collect::{printed, push, text};
use crate::content::Content;
use crate::images::Image;
use crate::support::{TEST_LIMIT, within};
use fastrand::Rng;
use roadstead_tests::{Registry, command};
use serde_json::Value;
use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// How often each command is killed.
const KILLS: usize = 10;

/// Images, each of its own layer and of one that all have.
const IMAGES: u64 = 12;
const LAYER: u64 = 3 * 1024 * 1024;

/// How often a command is started at most until it has been killed as often as wanted.
const STARTS: usize = 40;

/// Runs a command again and again, and kills it at random times. Returns how often it was
/// killed before it ended.
fn killed(random: &mut Rng, life: Duration, mut start: impl FnMut() -> Command) -> usize {
    let mut kills = 0;
    loop {
        let mut process = start().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let micros = u64::try_from(life.as_micros()).unwrap();
        std::thread::sleep(Duration::from_micros(random.u64(0..micros)));
        // The last time, it may take as long as it wants.
        if kills < STARTS && process.try_wait().unwrap().is_none() {
            process.kill().unwrap();
        }
        let output = process.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => return kills,
            None => kills += 1,
            Some(_) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

/// What a registry or a data directory has, without where it is.
fn inventory(place: &str) -> Value {
    let inventory: Value = serde_json::from_str(&printed(&["inventory", place])).unwrap();
    inventory["repositories"].clone()
}

/// Does something until it was killed often enough, each time with a new target.
fn until(wanted: usize, mut round: impl FnMut(&Path, usize) -> usize) {
    let (mut kills, mut rounds) = (0, 0);
    while kills < wanted {
        let directory = tempfile::tempdir().unwrap();
        kills += round(directory.path(), rounds);
        rounds += 1;
        assert!(rounds < 10 * (wanted + 1), "it is hardly ever killed");
    }
    println!("{kills} kills in {rounds} rounds");
}

#[tokio::test]
async fn killed_transfers_go_on() {
    let number = |name, default: usize| env::var(name).map_or(default, |it| it.parse().unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = env::var("ROADSTEAD_SEED").map_or(now, |seed| seed.parse().unwrap());
    let kills = number("ROADSTEAD_TRANSFER_KILLS", KILLS);
    println!("ROADSTEAD_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let source = Registry::start(&data, &[], &[]).unwrap();
    within(TEST_LIMIT, async {
        for seed in 0..IMAGES {
            let layer = Content { seed: seed / 2, size: LAYER };
            let image = Image { config: Content { seed: 100 + seed, size: 200 }, layer };
            push(&source.address, &format!("team/app{seed}"), image).await;
        }
    })
    .await;
    let url = format!("http://{}", source.address);
    let archive = root.path().join("whole.tar");
    let begun = Instant::now();
    printed(&["export", &url, "-o", text(&archive)]);
    let life = begun.elapsed();
    let whole = std::fs::read(&archive).unwrap();
    let expected = inventory(&url);
    tokio::task::spawn_blocking(move || {
        until(kills, |target, _| {
            let path = target.join("a.tar");
            let killed = killed(&mut random, life, || command(["export", &url, "-o", text(&path)]));
            assert!(std::fs::read(&path).unwrap() == whole);
            killed
        });
        for words in [["import", text(&archive)], ["mirror", "--from"]] {
            until(kills, |target, round| {
                let data = target.join("data");
                // In turn a registry that runs, and a data directory.
                let host = (round % 2 == 0).then(|| Registry::start(&data, &[], &[]).unwrap());
                let place = host.as_ref().map_or_else(
                    || text(&data).to_owned(),
                    |host| format!("http://{}", host.address),
                );
                let killed = killed(&mut random, life, || match words {
                    ["mirror", from] => command(["mirror", &place, from, &url]),
                    [import, archive] => command([import, &place, archive]),
                });
                assert_eq!(inventory(&place), expected);
                killed
            });
        }
        drop(source);
    })
    .await
    .unwrap();
}
