//! crane: an index, by tags and digests.

use crate::bench::Bench;
use crate::image::{Layout, TAG};
use crate::program::{output, run, run_text};
use crate::report::Verdict;
use tokio::process::Command;

pub async fn check(bench: &Bench) -> Verdict {
    let layout = bench.layout().await;
    let one = bench.remote(&format!("crane/one:{TAG}"));
    let two = bench.remote(&format!("crane/two:{TAG}"));
    bench.login(crane(bench).args(["auth", "login"])).await;
    let mut push = crane(bench);
    push.arg("push").arg(bench.path("layout")).arg(&one);
    assert_eq!(
        run_text(&mut push).await,
        format!("{}@{}", bench.remote("crane/one"), layout.digest)
    );
    assert_eq!(bench.digest("crane/one", TAG).await, layout.digest);
    assert_eq!(run_text(crane(bench).args(["digest", &one])).await, layout.digest);
    run(crane(bench).args(["validate", "--remote", &one])).await;

    run(crane(bench).args(["tag", &one, "2"])).await;
    let tags = run_text(crane(bench).args(["ls", &bench.remote("crane/one")])).await;
    assert_eq!(tags.lines().collect::<Vec<_>>(), [TAG, "2"]);

    let copied = output(crane(bench).args(["copy", &one, &two])).await.unwrap();
    let said = String::from_utf8(copied.stderr).unwrap();
    assert!(copied.status.success() && said.contains("mounted blob: "), "{said}");
    assert!(!said.contains("pushed blob: "), "{said}");
    assert_eq!(bench.digest("crane/two", TAG).await, layout.digest);
    let catalog = run_text(crane(bench).args(["catalog", bench.address()])).await;
    assert_eq!(catalog.lines().collect::<Vec<_>>(), ["crane/one", "crane/two"]);

    let out = bench.path("out");
    run(crane(bench).args(["pull", "--format=oci", &two]).arg(&out)).await;
    let pulled = Layout::open(&out);
    assert_eq!(pulled.digest, layout.digest);
    assert_eq!(pulled.digests(), layout.digests());

    run(crane(bench).args(["delete", &one])).await;
    bench.check_gone("crane/one", TAG).await;
    assert_eq!(bench.tags("crane/one").await, ["2"]);
    let by_digest = format!("{}@{}", bench.remote("crane/one"), layout.digest);
    run(crane(bench).args(["delete", &by_digest])).await;
    bench.check_gone("crane/one", "2").await;
    bench.check_gone("crane/one", &layout.digest).await;
    assert_eq!(bench.digest("crane/two", TAG).await, layout.digest);
    Ok(())
}

fn crane(bench: &Bench) -> Command {
    let mut crane = bench.command("crane");
    bench.trust_by("SSL_CERT_FILE", &mut crane);
    crane
}
