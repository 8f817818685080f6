//! The Rust crate oci-client, with a program of ours: an image in chunks and
//! whole, tags, a mount, referrers.

use crate::bench::{Bench, Mode};
use crate::program::run_text;
use crate::report::Verdict;
use roadstead_tests::{PASSWORD, USER};

pub async fn check(bench: &Bench) -> Verdict {
    let mut program = bench.command("oci-client-program");
    program.arg(bench.address());
    if let Some(file) = bench.authority() {
        program.arg(file).args([USER, PASSWORD]);
    }
    let said = run_text(&mut program).await;
    let (digest, mounted) = said.split_once(' ').unwrap();
    assert!(mounted == "mounted" || bench.mode == Mode::Token, "{said}");
    for tag in ["chunks", "whole"] {
        assert_eq!(bench.digest("rust/one", tag).await, digest);
    }
    Ok(())
}
