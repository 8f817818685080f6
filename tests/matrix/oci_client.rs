//! The Rust crate oci-client, by a program of ours: an image in chunks and
//! whole, tags, a mount, referrers.

use crate::bench::Bench;
use crate::program::run_text;
use crate::report::Verdict;

pub async fn check(bench: &Bench) -> Verdict {
    let mut program = bench.command("oci-client-program");
    let digest = run_text(program.arg(bench.address())).await;
    for tag in ["chunks", "whole"] {
        assert_eq!(bench.digest("rust/one", tag).await, digest);
    }
    Ok(())
}
