//! The Rust crate oci-client, with a program of ours: an image in chunks and
//! whole, tags, a mount, referrers.

use crate::fixture::{Fixture, Mode};
use crate::report::Verdict;
use roadstead_tests::program::run_text;
use roadstead_tests::{PASSWORD, USER};

pub async fn check(fixture: &Fixture) -> Verdict {
    let mut program = fixture.command("oci-client-program");
    program.arg(fixture.address());
    if let Some(file) = fixture.authority() {
        program.arg(file).args([USER, PASSWORD]);
    }
    let said = run_text(&mut program).await;
    let (digest, mounted) = said.split_once(' ').unwrap();
    assert!(mounted == "mounted" || fixture.mode == Mode::Token, "{said}");
    for tag in ["chunks", "whole"] {
        assert_eq!(fixture.digest("rust/one", tag).await, digest);
    }
    Ok(())
}
