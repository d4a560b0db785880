//! Every way that a stream can be found, and what is done about it.

use serde_json::json;
use wsgateway_config::{Compression, Millis, Storage};

use super::*;
use crate::{EPOCH_KEY, OWNER_KEY};

const FRESH: &str = "fresh1";

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
    let Plan::Create(config) = plan(&desired(), &us(), Adoption::Fail, None, FRESH) else {
        unreachable!()
    };
    Observed {
        config: *config,
        epoch: FRESH.into(),
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
    plan(&desired(), &us(), adoption, Some(&observed), FRESH)
}

fn own(observed: &mut Observed, owner: &str) {
    observed.config.note(OWNER_KEY, owner);
}

#[test]
fn a_missing_stream_is_created_with_its_owner() {
    let Plan::Create(config) = plan(&desired(), &us(), Adoption::Fail, None, FRESH) else {
        panic!("not created")
    };
    assert_eq!(config.metadata()[OWNER_KEY], "prod/trading/odin/1-2-3");
    assert_eq!((config.number("max_bytes"), config.number("max_msg_size")), (-1, -1));
}

#[test]
fn what_we_made_is_in_sync_however_the_server_words_it() {
    let plan = planned(Adoption::Fail, |observed| {
        observed.config.set("subjects", json!(["odin.a.>", "odin.b.>"]));
        observed.config.set("compression", json!(null));
        observed.config.set("max_msg_size", 0);
        observed.config.note("_nats.ver", "2.12");
    });
    assert_eq!(plan, Plan::InSync);
}

#[test]
fn a_changed_limit_is_updated_and_nothing_else() {
    let plan = planned(Adoption::Fail, |observed| {
        observed.config.set("max_msgs", 5);
        observed.config.set("description", "mine");
    });
    let Plan::Update { config, changes } = plan else { panic!("{plan:?}") };
    assert_eq!(
        changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["maxMessages: 5 -> 100"]
    );
    assert_eq!(config.text("description"), "mine");
}

#[test]
fn a_stream_that_nobody_claims_is_adopted_only_on_request() {
    let unclaim = |observed: &mut Observed| observed.config.forget(OWNER_KEY);
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
        observed.config.set("storage", "memory");
        observed.config.set("retention", "workqueue");
        observed.config.set("compression", "s2");
    });
    let Plan::Refused(refusal) = plan else { panic!("{plan:?}") };
    assert_eq!(refusal.reason(), "StreamImmutable");
    let message = refusal.to_string();
    assert!(
        message.contains("storage: Memory -> File, retention: Workqueue -> Limits of"),
        "{message}"
    );
}

#[test]
fn a_created_stream_has_a_fresh_epoch_and_keeps_it() {
    let Plan::Create(config) = plan(&desired(), &us(), Adoption::Fail, None, FRESH) else {
        panic!("not created")
    };
    assert_eq!(config.metadata()[EPOCH_KEY], FRESH);
    let plan = planned(Adoption::Fail, |observed| {
        observed.config.note(EPOCH_KEY, "older");
        observed.epoch = "older".into();
        observed.config.set("max_msgs", 5);
    });
    let Plan::Update { config, .. } = plan else { panic!("{plan:?}") };
    assert_eq!(config.metadata()[EPOCH_KEY], "older");
}

#[test]
fn a_stream_without_an_epoch_gets_the_one_that_its_readers_know() {
    for wrong in [None, Some(""), Some("a-1")] {
        let plan = planned(Adoption::Fail, |observed| {
            observed.config.forget(EPOCH_KEY);
            wrong.into_iter().for_each(|wrong| observed.config.note(EPOCH_KEY, wrong));
            observed.epoch = "known".into();
        });
        let Plan::Update { config, changes } = plan else { panic!("{plan:?}") };
        assert_eq!(config.metadata()[EPOCH_KEY], "known");
        assert_eq!(changes.len(), 1, "{changes:?}");
    }
}

#[test]
fn what_is_not_declared_is_kept() {
    let extras = [
        ("republish", json!({ "src": ">", "dest": "copy.>" })),
        ("discard", json!("new")),
        ("placement", json!({ "cluster": "eu" })),
        ("field_of_a_newer_server", json!({ "x": [1, 2] })),
    ];
    let plan = planned(Adoption::Fail, |observed| {
        observed.config.set("max_msgs", 5);
        extras.clone().into_iter().for_each(|(field, value)| observed.config.set(field, value));
    });
    let Plan::Update { config, changes } = plan else { panic!("{plan:?}") };
    assert_eq!(changes.len(), 1, "{changes:?}");
    let config = serde_json::to_value(config).unwrap();
    for (field, value) in extras {
        assert_eq!(config[field], value, "{field}");
    }
}

#[test]
fn what_excludes_a_declared_field_is_refused_with_its_name_and_what_to_do() {
    type Change = fn(&mut Observed);
    let cases: [(Change, &str, &str); 4] = [
        (
            |observed| observed.config.set("mirror", json!({ "name": "FAR" })),
            "StreamFedByOthers",
            "has mirror FAR, so it takes no subjects of its own: set stream.adoptionPolicy to Observe",
        ),
        (
            |observed| {
                observed.config.set("subjects", json!([]));
                observed.config.set("sources", json!([{ "name": "FAR" }]));
            },
            "StreamFedByOthers",
            "has sources, so it takes no subjects",
        ),
        (
            |observed| observed.config.set("discard_new_per_subject", true),
            "StreamConflict",
            "discard_new_per_subject, which needs a limit for each subject: set stream.maxMessagesPerSubject",
        ),
        (
            |observed| {
                observed.config.set("sealed", true);
                observed.config.set("max_age", 0);
            },
            "StreamSealed",
            "sealed, so NATS does not change maxAge: 0ns -> 30s: set stream.adoptionPolicy to Observe",
        ),
    ];
    for (change, reason, words) in cases {
        let plan = planned(Adoption::Adopt, change);
        let Plan::Refused(refusal) = plan else { panic!("{reason}: {plan:?}") };
        assert_eq!(refusal.reason(), reason);
        assert!(refusal.to_string().contains(words), "{words}: {refusal}");
    }
}

#[test]
fn sources_beside_subjects_are_kept() {
    let plan = planned(Adoption::Fail, |observed| {
        observed.config.set("sources", json!([{ "name": "FAR" }]));
    });
    assert_eq!(plan, Plan::InSync);
}

#[test]
fn an_observed_stream_is_never_changed_whoever_keeps_it_and_whatever_it_is_like() {
    let plan = planned(Adoption::Observe, |observed| {
        own(observed, "prod/trading/thor/1-2-3");
        observed.config.set("subjects", json!([]));
        observed.config.set("mirror", json!({ "name": "FAR" }));
        observed.config.set("storage", "memory");
        observed.config.set("sealed", true);
    });
    assert_eq!(plan, Plan::InSync);
}

#[test]
fn a_stream_is_not_observed_if_there_is_none_or_reading_empties_it() {
    let none = plan(&desired(), &us(), Adoption::Observe, None, FRESH);
    assert_eq!(none, Plan::Refused(Refusal::Missing));
    for retention in ["workqueue", "interest"] {
        let plan =
            planned(Adoption::Observe, |observed| observed.config.set("retention", retention));
        let Plan::Refused(refusal) = plan else { panic!("{plan:?}") };
        assert_eq!(refusal.reason(), "StreamReadOnce");
        assert!(refusal.to_string().contains(&format!("retention {retention}")), "{refusal}");
    }
}
