use roadstead_model::client::Task;
use roadstead_model::store::Store;
use roadstead_model::world::Scenario;
use stateright::{Checker, Model};
use std::time::Instant;

fn run(name: &str, s: Scenario) {
    let t = Instant::now();
    let c = s.checker().threads(2).spawn_bfs().join();
    println!("{name}: {} states, {:?}", c.unique_state_count(), t.elapsed());
    for (n, p) in c.discoveries() {
        if n == "garbage is removed" { continue }
        println!("  FOUND {n}: {:?}", p.clone().into_actions());
        println!("  last {:?}", p.last_state());
    }
}

#[test]
fn all() {
    for store in [Store::sighted_orphan([true, false]), Store::condemned([true, false]), Store::orphan([true,false]), Store::default()] {
        for t in [Task::Head, Task::Upload, Task::Push] {
            let s = Scenario { store: store.clone(), clients: vec![(t, 0)], collectors: 1, crashes: 1, fair: true, ..Default::default() };
            run(&format!("{t:?}"), s);
        }
        let s = Scenario { store: store.clone(), clients: vec![(Task::Mount(0), 1)], collectors: 1, crashes: 1, fair: true, ..Default::default() };
        run("mount", s);
    }
}
