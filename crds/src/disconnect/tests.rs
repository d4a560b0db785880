use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn user(name: &str) -> Whom {
    Whom::User(name.to_owned())
}

fn entry(name: &str, ban: Option<u64>) -> DisconnectEntry {
    DisconnectEntry::new(user(name), ban.map(Duration::from_secs)).unwrap()
}

const NOON: &str = "2026-11-29T12:00:00Z";

#[test]
fn what_is_asked_for_is_stamped_once_by_one_clock_and_gateways_act_on_what_is_stamped() {
    let mut asked = Disconnects::parse(r#"{"user":"ann","ban":"10m"}"#);
    asked.add(DisconnectEntry::new(Whom::Token("j-1".into()), None).unwrap()).unwrap();
    assert_eq!(asked.config(), [], "nobody has said since when");
    assert!(asked.settle(at(NOON)));
    let text = asked.render().unwrap();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            r#"{"user":"ann","at":"2026-11-29T12:00:00Z","until":"2026-11-29T12:10:00Z"}"#,
            r#"{"tokenId":"j-1","at":"2026-11-29T12:00:00Z"}"#
        ]
    );
    let mut read = Disconnects::parse(&text);
    assert_eq!(read, asked);
    assert!(!read.settle(at("2026-11-29T12:03:00Z")), "nothing is written in steady state");
    let noon = 1_795_953_600_000;
    let [ann, token] = read.config().try_into().unwrap();
    assert_eq!((ann.user.as_deref(), ann.at, ann.until), (Some("ann"), noon, Some(noon + 600_000)));
    assert_eq!((token.token_id.as_deref(), token.until), (Some("j-1"), None));
}

#[test]
fn a_disconnect_stands_until_every_pod_has_seen_it_and_a_ban_until_it_is_over() {
    for (ban, ends) in [
        (None, "2026-11-29T12:10:00Z"),
        (Some(5), "2026-11-29T12:10:00Z"),
        (Some(3_600), "2026-11-29T13:01:00Z"),
    ] {
        let mut all = Disconnects::default();
        all.add(entry("ann", ban)).unwrap();
        all.settle(at(NOON));
        let end = at(ends);
        assert_eq!(
            all.next(at(NOON)),
            Some(Duration::try_from(end - at(NOON)).unwrap()),
            "{ban:?}"
        );
        assert!(!all.settle(end - Duration::from_secs(1)), "{ban:?}");
        assert!(all.settle(end), "{ban:?}");
        assert_eq!((all.render(), all.next(end)), (None, None), "{ban:?}");
    }
}

#[test]
fn a_line_that_is_none_is_named_with_what_to_do_and_takes_no_other_with_it() {
    for (line, why) in [
        ("ann", BadLine::Shape),
        (r#"["ann"]"#, BadLine::Shape),
        (r#"{"user":"ann","forever":true}"#, BadLine::Shape),
        (r#"{"user":"ann","ban":600}"#, BadLine::Shape),
        (r#"{"ban":"10m"}"#, BadLine::Whom),
        (r#"{"user":"ann","tokenId":"j"}"#, BadLine::Whom),
        (r#"{"user":""}"#, BadLine::Name),
        (r#"{"user":"ann","ban":"10 minutes"}"#, BadLine::Ban),
        (r#"{"user":"ann","ban":"0"}"#, BadLine::Ban),
        (r#"{"user":"ann","ban":"721h"}"#, BadLine::Ban),
        (r#"{"user":"ann","at":"yesterday"}"#, BadLine::Times),
        (r#"{"user":"ann","until":"2026-11-29T12:00:00Z"}"#, BadLine::Times),
        (
            r#"{"user":"ann","at":"2026-11-29T12:00:00Z","until":"2099-01-01T00:00:00Z"}"#,
            BadLine::Times,
        ),
        (
            r#"{"user":"ann","at":"2026-11-29T12:00:00Z","until":"2026-11-29T11:00:00Z"}"#,
            BadLine::Times,
        ),
        (
            r#"{"user":"ann","ban":"1m","at":"2026-11-29T12:00:00Z","until":"2026-11-29T12:01:00Z"}"#,
            BadLine::Times,
        ),
    ] {
        let text =
            format!("\n{{\"user\":\"bob\",\"ban\":\"1h\"}}\n  {line}\n{{\"tokenId\":\"j\"}}\n");
        let mut all = Disconnects::parse(&text);
        assert_eq!(all.bad().collect::<Vec<_>>(), [(2, why)], "{line}");
        assert!(!why.to_string().contains("bob"), "{why}");
        assert!(all.settle(at(NOON)));
        assert_eq!(all.config().len(), 2, "{line}");
        assert!(all.render().unwrap().lines().any(|kept| kept == line), "{line}");
    }
}

#[test]
fn the_list_is_bounded_and_only_what_is_over_makes_room() {
    let mut all = Disconnects::default();
    for n in 0..MAX_DISCONNECTS {
        all.add(entry(&n.to_string(), (n > 0).then_some(3_600))).unwrap();
    }
    assert_eq!(all.add(entry("more", None)), Err(Full));
    all.settle(at(NOON));
    assert_eq!(all.add(entry("more", None)), Err(Full), "all of them stand");
    // The operator has stamped another one since: the first is over by the same clock.
    assert_eq!(all.lift(&user("1")), 1);
    all.add(entry("late", None)).unwrap();
    all.settle(at("2026-11-29T12:09:59Z"));
    let text = all.render().unwrap();
    assert_eq!(all.add(entry("more", None)), Err(Full));
    let text = text.replace("12:09:59", "12:10:00");
    let mut all = Disconnects::parse(&text);
    all.add(entry("more", None)).unwrap();
    assert!(all.entries().all(|entry| entry.whom != user("0")));
    let many = vec![r#"{"user":"ann"}"#; MAX_DISCONNECTS + 2].join("\n");
    let all = Disconnects::parse(&many);
    assert_eq!(all.entries().count(), MAX_DISCONNECTS);
    let bad: Vec<_> = all.bad().collect();
    assert_eq!(bad, [(65, BadLine::TooMany), (66, BadLine::TooMany)]);
}

#[test]
fn names_of_every_kind_come_through_and_those_that_are_too_long_do_not() {
    for name in ["ann", "a\nb", "\u{1}\u{2028}\"\\", "名前", &"\u{1}".repeat(256), &"x".repeat(256)]
    {
        let mut all = Disconnects::default();
        all.add(entry(name, Some(720 * 3_600))).unwrap();
        all.settle(at("2026-11-29T12:00:00.123Z"));
        let read = Disconnects::parse(&all.render().unwrap());
        assert_eq!(read, all, "{name:?}");
        assert_eq!(read.config()[0].user.as_deref(), Some(name));
    }
    for name in ["", &"x".repeat(257), &"é".repeat(129)] {
        assert_eq!(DisconnectEntry::new(user(name), None), Err(BadLine::Name));
    }
    let ban = |ms| DisconnectEntry::new(user("ann"), Some(Duration::from_millis(ms)));
    assert_eq!((ban(999), ban(30 * 86_400_000 + 1)), (Err(BadLine::Ban), Err(BadLine::Ban)));
    let half = Disconnects { lines: vec![Line::Entry(ban(1_500).unwrap())] }.render().unwrap();
    assert_eq!(half, r#"{"user":"ann","ban":"1500ms"}"#);
    assert_eq!(Disconnects::parse(&half).entries().next(), ban(1_500).ok().as_ref());
}

#[test]
fn lifting_takes_back_all_that_stands_for_one_and_nothing_of_another() {
    let mut all = Disconnects::default();
    for (name, ban) in [("ann", None), ("bob", Some(60)), ("ann", Some(600))] {
        all.add(entry(name, ban)).unwrap();
    }
    all.add(DisconnectEntry::new(Whom::Token("ann".into()), None).unwrap()).unwrap();
    assert_eq!((all.lift(&user("ann")), all.lift(&user("ann"))), (2, 0));
    assert_eq!(all.entries().count(), 2);
}

#[test]
fn a_clock_that_was_far_ahead_keeps_nobody_out_for_longer_than_a_ban_may_last() {
    let mut all = Disconnects::default();
    all.add(entry("ann", Some(600))).unwrap();
    all.settle(at("2099-01-01T00:00:00Z"));
    assert!(all.settle(at(NOON)));
    let until = all.entries().next().unwrap().until.unwrap();
    assert!(until.duration_since(at(NOON)).unsigned_abs() <= MAX_BAN + Duration::from_secs(86_400));
    assert!(!all.settle(at(NOON)));
    // One that was set back a little changes nothing.
    let mut all = Disconnects::default();
    all.add(entry("ann", Some(600))).unwrap();
    all.settle(at(NOON));
    assert!(!all.settle(at("2026-11-29T11:00:00Z")));
}
