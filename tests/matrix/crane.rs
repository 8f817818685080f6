//! crane: an index, by tags and digests.

use crate::fixture::Fixture;
use crate::report::Verdict;
use roadstead_tests::image::{Layout, TAG};
use roadstead_tests::program::{output, run, run_text};
use tokio::process::Command;

pub async fn check(fixture: &Fixture) -> Verdict {
    let layout = fixture.layout().await;
    let one = fixture.remote(&format!("crane/one:{TAG}"));
    let two = fixture.remote(&format!("crane/two:{TAG}"));
    fixture.login(crane(fixture).args(["auth", "login"])).await;
    let mut push = crane(fixture);
    push.arg("push").arg(fixture.path("layout")).arg(&one);
    assert_eq!(
        run_text(&mut push).await,
        format!("{}@{}", fixture.remote("crane/one"), layout.digest)
    );
    assert_eq!(fixture.digest("crane/one", TAG).await, layout.digest);
    assert_eq!(run_text(crane(fixture).args(["digest", &one])).await, layout.digest);
    run(crane(fixture).args(["validate", "--remote", &one])).await;

    run(crane(fixture).args(["tag", &one, "2"])).await;
    let tags = run_text(crane(fixture).args(["ls", &fixture.remote("crane/one")])).await;
    assert_eq!(tags.lines().collect::<Vec<_>>(), [TAG, "2"]);

    let copied = output(crane(fixture).args(["copy", &one, &two])).await.unwrap();
    let said = String::from_utf8(copied.stderr).unwrap();
    assert!(copied.status.success() && said.contains("mounted blob: "), "{said}");
    assert!(!said.contains("pushed blob: "), "{said}");
    assert_eq!(fixture.digest("crane/two", TAG).await, layout.digest);
    let catalog = run_text(crane(fixture).args(["catalog", fixture.address()])).await;
    assert_eq!(catalog.lines().collect::<Vec<_>>(), ["crane/one", "crane/two"]);

    let out = fixture.path("out");
    run(crane(fixture).args(["pull", "--format=oci", &two]).arg(&out)).await;
    let pulled = Layout::open(&out);
    assert_eq!(pulled.digest, layout.digest);
    assert_eq!(pulled.digests(), layout.digests());

    run(crane(fixture).args(["delete", &one])).await;
    fixture.check_gone("crane/one", TAG).await;
    assert_eq!(fixture.tags("crane/one").await, ["2"]);
    let by_digest = format!("{}@{}", fixture.remote("crane/one"), layout.digest);
    run(crane(fixture).args(["delete", &by_digest])).await;
    fixture.check_gone("crane/one", "2").await;
    fixture.check_gone("crane/one", &layout.digest).await;
    assert_eq!(fixture.digest("crane/two", TAG).await, layout.digest);
    Ok(())
}

fn crane(fixture: &Fixture) -> Command {
    let mut crane = fixture.command("crane");
    fixture.trust_by("SSL_CERT_FILE", &mut crane);
    crane
}
