//! The example, as the README shows it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use harness::{Guarded, Scratch, repository, wait_until};

use super::servers::{Gateway, SOON, Source};

/// An example that cargo built next to this test.
fn example(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let target = test.ancestors().nth(2).context("a test program in target/*/deps")?;
    let path = target.join("examples").join(name);
    ensure!(path.exists(), "{} is missing; run: hack/clients", path.display());
    Ok(path)
}

#[tokio::test]
async fn the_example_of_the_readme_shows_messages() -> Result<()> {
    let folder = repository().join("sdk/rust");
    let source = std::fs::read_to_string(folder.join("examples/subscribe.rs"))?;
    let (_, code) = source.split_once("\n\n").context("code after its description")?;
    let readme = std::fs::read_to_string(folder.join("README.md"))?;
    ensure!(readme.contains(code.trim()), "README.md and examples/subscribe.rs differ");

    let source = Source::start().await?;
    let gateway = Gateway::start(&source).await?;
    let scratch = Scratch::new("example")?;
    let log = scratch.join("log");
    let program = Guarded::start(&example("subscribe")?, &[gateway.url()], &log)?;
    wait_until(SOON, "a line", async || {
        let published = source.publish("BTC.price", r#"{"price":42}"#).await;
        published.is_err()
            || !program.alive()
            || program.log_tail().contains(r#"BTC.price {"price":42}"#)
    })
    .await?;
    let text = program.log_tail();
    ensure!(text.contains(r#"BTC.price {"price":42}"#), "{text}");
    Ok(())
}
