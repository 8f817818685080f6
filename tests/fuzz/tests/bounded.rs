//! The fuzz targets on the stable toolchain, briefly: the corpus, and inputs
//! derived from it with fixed seeds. `ROADSTEAD_FUZZ_ROUNDS` is how many for each
//! target.

use fastrand::Rng;
use roadstead_fuzz::{TARGETS, run};
use std::path::Path;
use std::{env, fs};

/// How many derived inputs each target gets.
const ROUNDS: u64 = 500;

/// Longest derived input, in bytes.
const LONGEST: usize = 16 * 1024;

/// Pieces that parsers treat specially.
const PIECES: [&str; 24] = [
    "/",
    "..",
    "%2f",
    "%00",
    ":",
    ",",
    ";",
    "=",
    "&",
    "*",
    "-",
    "\"",
    "{",
    "}",
    "[",
    "]",
    "\n",
    "\0",
    "sha256:",
    "99999999999999999999",
    "bytes=",
    "\u{7f}",
    "é",
    "<a>",
];

/// Prints the input of a target that fails.
struct Input<'a>(&'a str, &'a [u8]);

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: {:?}", self.0, String::from_utf8_lossy(self.1));
            eprintln!("in hexadecimal: {:02x?}", self.1);
        }
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{target}: {error}"));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let inputs: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!inputs.is_empty(), "{target} has no corpus");
    inputs
}

/// One to eight edits of an input, some of which take a part of another.
fn derived(inputs: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut input = inputs[random.usize(..inputs.len())].clone();
    for _ in 0..=random.usize(..8) {
        let at = random.usize(..=input.len());
        let end = (at + random.usize(..8)).min(input.len());
        let replacement = match random.u8(..6) {
            0 => vec![],
            1 => vec![random.u8(..); 1 + random.usize(..3)],
            2 => {
                let other = &inputs[random.usize(..inputs.len())];
                let start = random.usize(..=other.len());
                other[start..(start + random.usize(..64)).min(other.len())].to_vec()
            }
            3 => input[at..end].repeat(2 + random.usize(..20)),
            _ => PIECES[random.usize(..PIECES.len())].as_bytes().to_vec(),
        };
        input.splice(at..end, replacement);
    }
    input.truncate(LONGEST);
    input
}

#[test]
fn no_input_is_too_much_for_any_target() {
    let rounds = env::var("ROADSTEAD_FUZZ_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    for (target, _) in TARGETS {
        let inputs = corpus(target);
        for input in &inputs {
            let _shown = Input(target, input);
            run(target, input);
        }
        let mut random = Rng::with_seed(1);
        for _ in 0..rounds {
            let input = derived(&inputs, &mut random);
            let _shown = Input(target, &input);
            run(target, &input);
        }
    }
}

#[test]
fn every_target_has_a_program() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    let files = fs::read_dir(directory).unwrap();
    let mut found: Vec<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let mut expected: Vec<_> = TARGETS.iter().map(|(name, _)| format!("{name}.rs")).collect();
    expected.sort();
    assert_eq!(found, expected);
}
