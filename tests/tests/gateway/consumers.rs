//! The one consumer of a gateway: how many there are, and what a stream allows them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::{self, stream};
use harness::{Nats, wait_until};

use super::http::get;
use super::link::Link;
use super::redis_rig::wait_for_state;
use super::rig::{
    Rig, SOON, STREAM, config, nats_with_stream, publish_all, ready, start, stream_config,
};
use super::source_faults::{publish, receive};

async fn consumers(jetstream: &jetstream::Context) -> Result<usize> {
    Ok(jetstream.get_stream(STREAM).await?.cached_info().state.consumer_count)
}

/// Counts the consumers again and again until told to stop; returns the most that there were.
async fn most(jetstream: jetstream::Context, over: Arc<AtomicBool>) -> Result<usize> {
    let most = AtomicUsize::new(0);
    while !over.load(Ordering::Relaxed) {
        most.fetch_max(consumers(&jetstream).await?, Ordering::Relaxed);
    }
    Ok(most.into_inner())
}

#[tokio::test]
async fn while_the_link_flaps_a_gateway_has_one_consumer_and_at_its_end_none() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let link = Link::to(nats.port()).await?;
    let mut rig = Rig::start_on(nats, jetstream.clone(), config(&link.url())).await?;
    let mut client = rig.subscriber(&["a"]).await?;
    let over = Arc::new(AtomicBool::new(false));
    let counting = tokio::spawn(most(jetstream.clone(), Arc::clone(&over)));
    for round in 0..15 {
        link.cut();
        publish(&rig.nats, round..round + 1).await?;
        link.mend();
        assert_eq!(receive(&mut client, round, 1).await?, [round]);
    }
    over.store(true, Ordering::Relaxed);
    assert_eq!(counting.await??, 1);
    assert!(rig.metric("wsgateway_source_restarts_total").await? >= 15);
    rig.shutdown().await?;
    assert_eq!(consumers(&jetstream).await?, 0);
    Ok(())
}

/// A server with a stream that differs from the usual one.
async fn server_with(
    change: impl FnOnce(&mut stream::Config),
) -> Result<(Nats, jetstream::Context)> {
    let nats = Nats::start().await?;
    let mut jetstream = jetstream::new(nats.client().await?);
    jetstream.set_timeout(SOON);
    let mut config = stream_config();
    change(&mut config);
    jetstream.create_stream(config).await?;
    Ok((nats, jetstream))
}

#[tokio::test]
async fn a_stream_with_as_many_consumers_as_it_may_have_is_named_until_there_is_room() -> Result<()>
{
    let (nats, jetstream) = server_with(|config| config.max_consumers = 1).await?;
    let url = nats.url();
    let mut first = Rig::start_on(nats, jetstream, config(&url)).await?;
    let second = start(config(&url))?;
    let status = wait_for_state(second.admin_addr, "error").await?;
    let words = status["error"].as_str().context("no words")?;
    ensure!(words.contains("max_consumers") && words.contains("10026"), "{words}");
    assert_eq!(get(second.admin_addr, "/readyz").await?.status, 503);
    first.shutdown().await?;
    ready(second.admin_addr).await
}

#[tokio::test]
async fn limits_for_consumers_are_kept() -> Result<()> {
    let limits =
        stream::ConsumerLimits { inactive_threshold: Duration::from_secs(1), max_ack_pending: 1 };
    let (nats, jetstream) = server_with(|config| config.consumer_limits = Some(limits)).await?;
    let url = nats.url();
    let rig = Rig::start_on(nats, jetstream, config(&url)).await?;
    let mut client = rig.subscriber(&["a"]).await?;
    publish(&rig.nats, 0..5).await?;
    assert_eq!(receive(&mut client, 0, 5).await?, [0, 1, 2, 3, 4]);
    Ok(())
}

#[tokio::test]
async fn a_work_queue_is_refused_with_what_to_change() -> Result<()> {
    let (nats, _jetstream) =
        server_with(|config| config.retention = stream::RetentionPolicy::WorkQueue).await?;
    let gateway = start(config(&nats.url()))?;
    let status = wait_for_state(gateway.admin_addr, "error").await?;
    ensure!(status["error"].as_str().is_some_and(|words| words.contains("workqueue")), "{status}");
    Ok(())
}

/// A change to a stream's configuration.
type Change = Box<dyn FnOnce(&mut stream::Config)>;

/// What a stream may have in its configuration without anything to do for its readers.
fn variations() -> Vec<(&'static str, Change)> {
    vec![
        ("compressed", Box::new(|config| config.compression = Some(stream::Compression::S2))),
        ("discard new", Box::new(|config| config.discard = stream::DiscardPolicy::New)),
        (
            "discard new per subject",
            Box::new(|config| {
                config.discard = stream::DiscardPolicy::New;
                (config.discard_new_per_subject, config.max_messages_per_subject) = (true, 1_000);
            }),
        ),
        (
            "republish",
            Box::new(|config| {
                let (source, destination) = ("p.>".to_owned(), "copy.>".to_owned());
                config.republish =
                    Some(stream::Republish { source, destination, headers_only: false });
            }),
        ),
        (
            "subject transform",
            Box::new(|config| {
                let (source, destination) = ("other.*".to_owned(), "p.{{wildcard(1)}}".to_owned());
                config.subject_transform = Some(stream::SubjectTransform { source, destination });
            }),
        ),
        ("in memory", Box::new(|config| config.storage = stream::StorageType::Memory)),
        (
            "nothing may be deleted",
            Box::new(|config| (config.deny_delete, config.deny_purge) = (true, true)),
        ),
    ]
}

#[tokio::test]
async fn streams_of_every_other_kind_are_read_like_any() -> Result<()> {
    for (what, change) in variations() {
        let works = async {
            let (nats, jetstream) = server_with(change).await?;
            let url = nats.url();
            let rig = Rig::start_on(nats, jetstream, config(&url)).await?;
            let mut client = rig.subscriber(&["a"]).await?;
            // A subject transform makes it p.a.
            let subject = if what == "subject transform" { "other.a" } else { "a" };
            let numbers = (0..3u64).map(|n| (subject.to_owned(), n.to_string().into_bytes()));
            publish_all(&rig.jetstream, numbers).await?;
            ensure!(receive(&mut client, 0, 3).await? == [0, 1, 2], "not what was published");
            anyhow::Ok(())
        };
        works.await.context(what)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_sealed_stream_is_read() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    publish(&nats, 0..3).await?;
    jetstream.update_stream(stream::Config { sealed: true, ..stream_config() }).await?;
    let url = nats.url();
    let rig = Rig::start_on(nats, jetstream, config(&url)).await?;
    let mut client = rig.client().await?;
    let ack = client.subscribe(&["a"]).await?;
    assert_eq!(ack["offset"], 3);
    Ok(())
}

#[tokio::test]
async fn a_stream_keeps_its_epoch_over_a_restart_an_edit_and_another_restart() -> Result<()> {
    let mut rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    publish(&rig.nats, 0..3).await?;
    receive(&mut client, 0, 3).await?;
    let created = async |rig: &Rig| -> Result<_> {
        Ok(rig.jetstream.get_stream(STREAM).await?.cached_info().created)
    };
    let before = created(&rig).await?;
    rig.nats.restart().await?;
    let edited = stream::Config { description: Some("edited".to_owned()), ..stream_config() };
    wait_until(SOON, "an edit", async || rig.jetstream.update_stream(&edited).await.is_ok())
        .await?;
    rig.nats.restart().await?;
    wait_until(SOON, "the stream", async || created(&rig).await.is_ok()).await?;
    ensure!(created(&rig).await? != before, "the server kept its time: this test proves nothing");

    publish(&rig.nats, 3..6).await?;
    assert_eq!(receive(&mut client, 3, 3).await?, [3, 4, 5], "the same connection goes on");
    let again = rig.client().await?;
    assert_eq!(again.epoch(), client.epoch());
    assert_eq!(rig.metric("wsgateway_source_lost_total").await?, 0);
    Ok(())
}
