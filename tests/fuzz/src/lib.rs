//! Fuzz targets. Each takes any bytes, and panics where what it tests is wrong.
//!
//! `tests/bounded.rs` runs all of them on the stable toolchain, briefly, with the
//! corpus in `fuzz/corpus` and inputs derived from it. `fuzz/` has a program for
//! each, for `cargo fuzz`; `.ci/fuzz` runs those.

mod archives;
mod mend;
mod operators;
mod parsers;
mod plans;
mod requests;
mod sequence;
mod stores;

/// A target's name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 20] = [
    ("names", parsers::names),
    ("ranges", parsers::ranges),
    ("manifests", parsers::manifests),
    ("routes", parsers::routes),
    ("scopes", parsers::scopes),
    ("htpasswd", parsers::htpasswd),
    ("rules", parsers::rules),
    ("keys", parsers::keys),
    ("tokens", parsers::tokens),
    ("settings", parsers::settings),
    ("bridge", parsers::bridge),
    ("forms", requests::forms),
    ("requests", requests::requests),
    ("sequences", sequence::sequences),
    ("stores", stores::stores),
    ("archives", archives::archives),
    ("inventories", plans::inventories),
    ("policies", operators::policies),
    ("lines", operators::lines),
    ("traces", operators::traces),
];

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    let (_, run) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    run(data);
}
