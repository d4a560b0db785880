//! Every way that a stream can be found, and what is done about it.

use async_nats::jetstream::stream::{Compression as NatsCompression, RetentionPolicy, StorageType};
use wsgateway_config::{Compression, Millis, Storage};

use super::*;
use crate::OWNER_KEY;

fn desired() -> StreamConfig {
    StreamConfig {
        name: "ODIN".into(),
        subjects: vec!["odin.b.>".into(), "odin.a.>".into()],
        max_age: Millis::from_secs(30),
        max_messages: 100,
        max_bytes: 0,
        max_message_size: 0,
        max_messages_per_subject: 0,
        storage: Storage::File,
        replicas: 1,
        duplicate_window: Millis::from_secs(30),
        compression: Compression::None,
    }
}

fn us() -> Owner {
    Owner::new("prod", "trading", "odin", "1-2-3")
}

/// The stream as we would have made it.
fn observed() -> Observed {
    let Plan::Create(config) = plan(&desired(), &us(), Adoption::Fail, None) else {
        unreachable!()
    };
    Observed {
        config: *config,
        epoch: "1".into(),
        messages: 0,
        bytes: 0,
        first_sequence: 0,
        last_sequence: 0,
        consumers: 0,
    }
}

fn planned(adoption: Adoption, change: impl FnOnce(&mut Observed)) -> Plan {
    let mut observed = observed();
    change(&mut observed);
    plan(&desired(), &us(), adoption, Some(&observed))
}

fn own(observed: &mut Observed, owner: &str) {
    observed.config.metadata.insert(OWNER_KEY.into(), owner.into());
}

#[test]
fn a_missing_stream_is_created_with_its_owner() {
    let Plan::Create(config) = plan(&desired(), &us(), Adoption::Fail, None) else {
        panic!("not created")
    };
    assert_eq!(config.metadata[OWNER_KEY], "prod/trading/odin/1-2-3");
    assert_eq!((config.max_bytes, config.max_message_size), (-1, -1));
}

#[test]
fn what_we_made_is_in_sync_however_the_server_words_it() {
    let plan = planned(Adoption::Fail, |observed| {
        observed.config.subjects.reverse();
        observed.config.compression = None;
        observed.config.max_message_size = 0;
        observed.config.metadata.insert("_nats.ver".into(), "2.12".into());
    });
    assert_eq!(plan, Plan::InSync);
}

#[test]
fn a_changed_limit_is_updated_and_nothing_else() {
    let plan = planned(Adoption::Fail, |observed| {
        observed.config.max_messages = 5;
        observed.config.description = Some("mine".into());
    });
    let Plan::Update { config, changes } = plan else { panic!("{plan:?}") };
    assert_eq!(
        changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["maxMessages: 5 -> 100"]
    );
    assert_eq!(config.description.as_deref(), Some("mine"));
}

#[test]
fn a_stream_that_nobody_claims_is_adopted_only_on_request() {
    let unclaim = |observed: &mut Observed| drop(observed.config.metadata.remove(OWNER_KEY));
    assert_eq!(planned(Adoption::Fail, unclaim), Plan::Refused(Refusal::Foreign));
    let plan = planned(Adoption::Adopt, unclaim);
    assert!(
        matches!(&plan, Plan::Update { changes, .. } if changes[0].field == "owner"),
        "{plan:?}"
    );
}

#[test]
fn a_stream_of_an_earlier_object_of_our_name_is_adopted_only_on_request() {
    let earlier = |observed: &mut Observed| own(observed, "prod/trading/odin/9-9-9");
    assert_eq!(planned(Adoption::Fail, earlier), Plan::Refused(Refusal::Foreign));
    assert!(matches!(planned(Adoption::Adopt, earlier), Plan::Update { .. }));
}

#[test]
fn a_stream_of_another_is_never_touched() {
    for other in ["prod/trading/thor/1-2-3", "test/trading/odin/1-2-3", "something else"] {
        let plan = planned(Adoption::Adopt, |observed| own(observed, other));
        assert_eq!(plan, Plan::Refused(Refusal::OwnedByOther { owner: other.into() }));
    }
}

#[test]
fn what_nats_cannot_change_is_refused_with_its_fields() {
    let plan = planned(Adoption::Fail, |observed| {
        observed.config.storage = StorageType::Memory;
        observed.config.retention = RetentionPolicy::WorkQueue;
        observed.config.compression = Some(NatsCompression::S2);
    });
    let Plan::Refused(refusal) = plan else { panic!("{plan:?}") };
    assert_eq!(refusal.reason(), "StreamImmutable");
    let message = refusal.to_string();
    assert!(
        message.contains("storage: Memory -> File, retention: WorkQueue -> Limits of"),
        "{message}"
    );
}
