//! Real processes, killed at times, whose garbage is collected each second while
//! clients push, mount, pull, move tags and delete: no push is refused, nothing that
//! was acknowledged is missing, and what is left at the end is what manifests refer
//! to.
//!
//! | Variable | |
//! |---|---|
//! | `SOAK` | how many images are pushed; few by default |
//! | `SOAK_STORE` | `directory`, `shared` (three processes serve one directory), `garage` (three nodes), `azurite` or `gcs` (the stand-in; both honour conditions), or `distribution`: the peer, whose failures are counted and fail nothing |
//! | `SOAK_SECOND` | the program of distribution that serves the same directory in the second test |
//! | `SOAK_SEED` | repeats a run, as far as its times allow it |
//! | `SOAK_CLIENTS` | how many clients there are |
//! | `SOAK_LAYERS` | contents of layers that are pushed rarely; the fewer, the sooner is garbage pushed again |
//! | `SOAK_KILLS` | milliseconds between two kills, at most; 0 for none |
//! | `SOAK_DIRECTORY` | where a directory is made; by default that of temporary files |
//! | `SOAK_KEEP` | leaves it there |

mod client;
mod content;
mod count;
mod place;
mod run;
mod settings;
mod world;

use crate::settings::{Settings, Store};
use roadstead_tests::skip;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_collected_each_second() {
    check(&Settings::from_environment()).await;
}

/// Nothing is lost, whatever the other registry does not know; what it refuses or cannot
/// find for a moment is repeated, and counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_registry_writes_too() {
    let beside = Settings::beside_others();
    if beside.is_empty() {
        skip("soak", "docker-registry is not installed");
    }
    for settings in &beside {
        check(settings).await;
    }
}

/// Conditions are honoured, and three processes serve it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_three_processes() {
    check(&Settings::over_a_bucket()).await;
}

async fn check(settings: &Settings) {
    println!("{settings:?}");
    let Some(place) = place::Place::new(settings) else {
        skip("soak", "the store is not installed");
        return;
    };
    let (summary, faults) = run::run(settings, place).await;
    println!("{summary}");
    for fault in faults.iter().take(run::SHOWN) {
        println!("{fault}");
    }
    // A peer's count is the result.
    assert!(settings.store == Store::Distribution || faults.is_empty(), "{} faults", faults.len());
}
