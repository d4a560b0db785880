//! A nats-server that is upgraded from the oldest supported version under a stream that is kept. `hack/nats-matrix` runs it,
//! since it needs a server that `make test` does not build.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use harness::{Nats, wait_until};
use wsgateway_config::{Compression, Millis, Storage, StreamConfig};
use wsgateway_nats::{Adoption, Observed, Owner, Plan, Streams, fresh_epoch, plan};

const SOON: Duration = Duration::from_secs(60);

fn desired(max_messages: u64) -> StreamConfig {
    StreamConfig {
        name: "ODIN".into(),
        subjects: vec!["odin.>".into()],
        max_age: Millis::from_secs(3600),
        max_messages,
        max_bytes: 1 << 20,
        max_message_size: 0,
        max_messages_per_subject: 0,
        storage: Storage::File,
        replicas: 1,
        duplicate_window: Millis::from_secs(30),
        compression: Compression::None,
    }
}

async fn keep(streams: &Streams, desired: &StreamConfig) -> Result<(Plan, Observed)> {
    let owner = Owner::new("prod", "trading", "odin", "1-2-3");
    let observed = streams.observe("ODIN").await?;
    let fresh = fresh_epoch(SystemTime::now(), 1);
    let plan = plan(desired, &owner, Adoption::Fail, observed.as_ref(), &fresh);
    streams.apply(&plan).await?;
    Ok((plan, streams.observe("ODIN").await?.context("there is no stream")?))
}

#[tokio::test]
async fn an_upgrade_leaves_nothing_to_do_and_the_epoch_as_it_was() -> Result<()> {
    let mut nats = Nats::start_version("2.10").await?;
    let streams = Streams::new(nats.client().await?, None);
    let (_, before) = keep(&streams, &desired(10)).await?;
    nats.upgrade().await?;
    wait_until(SOON, "the stream", async || streams.observe("ODIN").await.is_ok()).await?;
    let (plan, _) = keep(&streams, &desired(10)).await?;
    assert_eq!(plan, Plan::InSync);
    keep(&streams, &desired(20)).await?;
    nats.restart().await?;
    wait_until(SOON, "the stream", async || streams.observe("ODIN").await.is_ok()).await?;
    let (plan, after) = keep(&streams, &desired(20)).await?;
    assert_eq!((plan, after.epoch), (Plan::InSync, before.epoch));
    Ok(())
}
