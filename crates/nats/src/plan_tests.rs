//! Every way that a stream can be found, and what is done about it.

use serde_json::json;
use wsgateway_config::{Compression, Millis, Storage};

use super::*;
use crate::{EPOCH_KEY, OWNER_KEY, RELEASED_BY_KEY};

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
    let Plan::Create(config) = planned_for(Adoption::Fail, Rival::Unknown, None) else {
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
    planned_for(adoption, Rival::Unknown, Some(&observed))
}

fn planned_for(adoption: Adoption, rival: Rival<'_>, observed: Option<&Observed>) -> Plan {
    let owner = us();
    plan(&desired(), &Claim { owner: &owner, adoption, rival }, observed, FRESH)
}

/// Their stream, with a limit that is not ours.
fn theirs(mark: &str) -> Observed {
    let mut observed = observed();
    own(&mut observed, mark);
    observed.config.set("max_msgs", 5);
    observed
}

fn own(observed: &mut Observed, owner: &str) {
    observed.config.note(OWNER_KEY, owner);
}

#[test]
fn a_missing_stream_is_created_with_its_owner() {
    let Plan::Create(config) = planned_for(Adoption::Fail, Rival::Unknown, None) else {
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
    assert_eq!(plan, Plan::Noop(Vec::new()));
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
    assert_eq!(
        planned(Adoption::Fail, unclaim),
        Plan::Refuse(Refusal::Foreign { released_by: None })
    );
    let plan = planned(Adoption::Adopt, unclaim);
    assert!(
        matches!(&plan, Plan::Update { changes, .. } if changes[0].field == "owner"),
        "{plan:?}"
    );
}

#[test]
fn a_stream_of_an_earlier_object_of_our_cluster_and_name_is_ours_without_a_word() {
    for adoption in [Adoption::Fail, Adoption::Adopt] {
        let earlier = planned(adoption, |observed| own(observed, "prod/trading/odin/9-9-9"));
        assert!(
            matches!(&earlier, Plan::Update { changes, .. } if changes[0].field == "owner"),
            "{earlier:?}"
        );
        let released = planned(adoption, |observed| {
            observed.config.forget(OWNER_KEY);
            observed.config.note(RELEASED_BY_KEY, "prod/trading/odin");
        });
        let Plan::Update { config, .. } = released else { panic!("{released:?}") };
        assert!(!config.metadata().contains_key(RELEASED_BY_KEY));
    }
}

#[test]
fn a_stream_that_another_released_is_adopted_only_on_request_and_the_refusal_names_him() {
    let released = |observed: &mut Observed| {
        observed.config.forget(OWNER_KEY);
        observed.config.note(RELEASED_BY_KEY, "prod/trading/thor");
    };
    let Plan::Refuse(refusal) = planned(Adoption::Fail, released) else { panic!("not refused") };
    assert_eq!(refusal.reason(), "StreamForeign");
    assert!(refusal.to_string().contains("its last owner was prod/trading/thor"), "{refusal}");
    assert!(matches!(planned(Adoption::Adopt, released), Plan::Update { .. }));
}

#[test]
fn a_mark_of_an_earlier_version_is_renewed_for_the_same_object_and_asked_about_for_another() {
    let same = planned(Adoption::Fail, |observed| own(observed, "default/trading/odin/1-2-3"));
    let Plan::Update { config, changes } = same else { panic!("{same:?}") };
    assert_eq!((changes.len(), changes[0].field), (1, "owner"));
    assert_eq!(config.metadata()[OWNER_KEY], us().to_string());

    let another = |observed: &mut Observed| own(observed, "default/trading/odin/9-9-9");
    let Plan::Refuse(refusal) = planned(Adoption::Fail, another) else { panic!("not refused") };
    assert_eq!(refusal.reason(), "StreamForeign");
    assert!(refusal.to_string().contains("if that was this cluster"), "{refusal}");
    assert!(matches!(planned(Adoption::Adopt, another), Plan::Update { .. }));
}

#[test]
fn a_stream_whose_owner_is_gone_is_nobodys_and_one_that_a_person_gives_is_ours() {
    let thor = "prod/trading/thor/9-9-9";
    let with = |adoption, rival| planned_for(adoption, rival, Some(&theirs(thor)));
    let Plan::Refuse(refusal) = with(Adoption::Fail, Rival::Gone(thor)) else {
        panic!("not refused")
    };
    assert_eq!(refusal.reason(), "StreamForeign");
    assert!(matches!(with(Adoption::Adopt, Rival::Gone(thor)), Plan::StepWise { .. }));
    assert!(matches!(with(Adoption::Fail, Rival::Yields(thor)), Plan::StepWise { .. }));
    // What is known of another mark says nothing about this one.
    for rival in [Rival::Gone("prod/trading/thor/8"), Rival::Yields("prod/trading/thor/8")] {
        assert!(matches!(with(Adoption::Adopt, rival), Plan::Refuse(_)), "{rival:?}");
    }
}

#[test]
fn a_stream_that_is_taken_over_is_claimed_before_a_limit_of_ours_discards_anything() {
    let mine =
        planned_for(Adoption::Fail, Rival::Unknown, Some(&theirs("prod/trading/odin/9-9-9")));
    let Plan::StepWise { claim, config, changes } = mine else { panic!("{mine:?}") };
    assert_eq!((claim.number("max_msgs"), config.number("max_msgs")), (5, 100));
    for settings in [claim, config] {
        assert_eq!(settings.metadata()[OWNER_KEY], us().to_string());
    }
    assert_eq!(changes.len(), 2, "{changes:?}");
}

#[test]
fn the_mark_alone_does_not_make_a_sealed_stream_of_ours_a_refusal() {
    let plan = planned(Adoption::Fail, |observed| {
        own(observed, "default/trading/odin/1-2-3");
        observed.config.set("sealed", true);
    });
    assert_eq!(plan, Plan::Noop(Vec::new()));
}

#[test]
fn a_stream_of_another_is_never_touched() {
    for other in ["prod/trading/thor/1-2-3", "test/trading/odin/1-2-3", "something else"] {
        let plan = planned(Adoption::Adopt, |observed| own(observed, other));
        assert_eq!(plan, Plan::Refuse(Refusal::OwnedByOther { owner: other.into() }));
    }
}

#[test]
fn what_nats_cannot_change_is_refused_with_its_fields() {
    let plan = planned(Adoption::Fail, |observed| {
        observed.config.set("storage", "memory");
        observed.config.set("retention", "workqueue");
        observed.config.set("compression", "s2");
    });
    let Plan::Refuse(refusal) = plan else { panic!("{plan:?}") };
    assert_eq!(refusal.reason(), "StreamImmutable");
    let message = refusal.to_string();
    assert!(
        message.contains("storage: Memory -> File, retention: Workqueue -> Limits of"),
        "{message}"
    );
}

#[test]
fn a_created_stream_has_a_fresh_epoch_and_keeps_it() {
    let Plan::Create(config) = planned_for(Adoption::Fail, Rival::Unknown, None) else {
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
        let Plan::Refuse(refusal) = plan else { panic!("{reason}: {plan:?}") };
        assert_eq!(refusal.reason(), reason);
        assert!(refusal.to_string().contains(words), "{words}: {refusal}");
    }
}

#[test]
fn sources_beside_subjects_are_kept() {
    let plan = planned(Adoption::Fail, |observed| {
        observed.config.set("sources", json!([{ "name": "FAR" }]));
    });
    assert_eq!(plan, Plan::Noop(Vec::new()));
}

#[test]
fn an_observed_stream_is_never_changed_whoever_keeps_it_and_whatever_it_is_like() {
    let plan = planned(Adoption::Observe, |observed| {
        own(observed, "prod/trading/thor/1-2-3");
        observed.config.set("subjects", json!([]));
        observed.config.set("mirror", json!({ "name": "FAR" }));
        observed.config.set("storage", "memory");
        observed.config.set("sealed", true);
        observed.config.set("allow_direct", false);
    });
    let Plan::Noop(differing) = plan else { panic!("{plan:?}") };
    let differing: Vec<String> = differing.iter().map(ToString::to_string).collect();
    assert_eq!(differing, ["subjects:  -> odin.a.> odin.b.>", "storage: Memory -> File"]);
}

#[test]
fn a_stream_is_not_observed_if_there_is_none_or_reading_empties_it() {
    let none = planned_for(Adoption::Observe, Rival::Unknown, None);
    assert_eq!(none, Plan::Refuse(Refusal::Missing));
    for retention in ["workqueue", "interest"] {
        let plan =
            planned(Adoption::Observe, |observed| observed.config.set("retention", retention));
        let Plan::Refuse(refusal) = plan else { panic!("{plan:?}") };
        assert_eq!(refusal.reason(), "StreamReadOnce");
        assert!(refusal.to_string().contains(&format!("retention {retention}")), "{refusal}");
    }
}
