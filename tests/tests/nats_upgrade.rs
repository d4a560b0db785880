//! A nats-server that is upgraded from the oldest supported version under a stream that is kept. `hack/nats-matrix` runs it,
//! since it needs a server that `make test` does not build.

use anyhow::Result;
use harness::keeper::{Keeper, SOON, desired};
use harness::{Nats, wait_until};
use wsgateway_config::StreamConfig;
use wsgateway_nats::{Adoption, Plan};

#[tokio::test]
async fn an_upgrade_leaves_nothing_to_do_and_the_epoch_as_it_was() -> Result<()> {
    let mut nats = Nats::start_version("2.10").await?;
    let keeper = Keeper::of(&nats).await?;
    let before = keeper.settle(&desired(), Adoption::Fail).await?;
    nats.upgrade().await?;
    wait_until(SOON, "the stream", async || keeper.observed().await.is_ok()).await?;
    assert_eq!(keeper.keep(&desired(), Adoption::Fail).await?, Plan::Noop(Vec::new()));
    let edited = StreamConfig { max_messages: 20, ..desired() };
    keeper.settle(&edited, Adoption::Fail).await?;
    nats.restart().await?;
    wait_until(SOON, "the stream", async || keeper.observed().await.is_ok()).await?;
    let after = keeper.settle(&edited, Adoption::Fail).await?;
    assert_eq!(after.epoch, before.epoch);
    Ok(())
}
