use rstest::rstest;

use super::*;

const TEMPLATE: &str = "new";

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

/// Clients that were sent away, recovered, lost and refused.
type Counts = (i64, i64, i64, i64);

fn current(kind: DisruptionKind, (clients, recovered, lost, refused): Counts) -> Current {
    let entry = DisruptionStatus {
        kind,
        template: Some(TEMPLATE.to_owned()),
        began: at(0),
        ended: None,
        clients,
        recovered,
        lost,
        refused,
        away_p99_ms: None,
    };
    Current { entry, is_quiet: false, is_passed: false }
}

fn halt(kind: DisruptionKind, continued: bool) -> HaltStatus {
    let template = TEMPLATE.to_owned();
    let (clients, recovered, lost, refused) = (100, 50, 50, 0);
    HaltStatus { kind, template, since: at(7), clients, recovered, lost, refused, continued }
}

fn seen<'a>(before: Option<&'a HaltStatus>, current: Option<&'a Current>) -> Seen<'a> {
    Seen { before, current, template: TEMPLATE, is_asked: false, now: at(9).0 }
}

#[rstest]
#[case::nobody_was_moved((0, 0, 0, 0), false)]
#[case::none_lost((5_000, 5_000, 0, 0), false)]
#[case::too_few_to_say((20, 0, 9, 0), false)]
#[case::ten((20, 0, 10, 0), true)]
#[case::one_percent((5_000, 4_950, 50, 0), false)]
#[case::more_than_one_percent((5_000, 4_949, 51, 0), true)]
#[case::of_the_first_who_are_back((5_000, 90, 10, 0), true)]
#[case::others_who_had_slept((9, 100, 900, 0), false)]
#[case::turned_away((5_000, 4_000, 0, 51), true)]
#[case::turned_away_once_in_a_while((5_000, 4_000, 0, 50), false)]
#[case::turned_away_with_nobody_moved((0, 10, 0, 5_000), false)]
#[case::lies((i64::MAX, i64::MAX, i64::MAX, i64::MAX), false)]
fn more_than_one_percent_and_at_least_ten_is_too_much(
    #[case] counts: Counts,
    #[case] is_beyond: bool,
) {
    let current = current(DisruptionKind::Rollout, counts);
    assert_eq!(super::is_beyond(&current.entry), is_beyond);
}

#[rstest]
#[case(DisruptionKind::Rollout, true)]
#[case(DisruptionKind::ScaleDown, true)]
#[case(DisruptionKind::Rebalance, true)]
#[case::not_ours_to_stop(DisruptionKind::PodStopped, false)]
fn what_we_do_ourselves_is_halted(#[case] kind: DisruptionKind, #[case] is_halted: bool) {
    let current = current(kind, (100, 50, 50, 0));
    let halt = judge(seen(None, Some(&current)));
    assert_eq!(halt.as_ref().map(|halt| halt.kind), is_halted.then_some(kind));
    assert!(halt.is_none_or(|halt| halt.since == at(9) && !halt.continued && halt.lost == 50));
}

#[test]
fn a_halt_stands_until_it_is_continued_and_then_loses_what_it_loses() {
    let kind = DisruptionKind::Rollout;
    let first = halt(kind, false);
    assert_eq!(judge(seen(Some(&first), None)).as_ref(), Some(&first), "its entry has ended");
    let late = current(kind, (100, 90, 60, 0));
    let told = judge(seen(Some(&first), Some(&late))).unwrap();
    assert_eq!((told.since, told.lost, told.continued), (at(7), 60, false));
    let asked = Seen { is_asked: true, ..seen(Some(&first), Some(&late)) };
    let told = judge(asked).unwrap();
    assert!(told.continued);
    let told = judge(seen(Some(&told), Some(&current(kind, (900, 90, 600, 0))))).unwrap();
    assert!(told.continued, "it is not halted twice");
    let mut later = current(kind, (30, 30, 0, 0));
    later.entry.began = at(8);
    assert_eq!(judge(seen(Some(&first), Some(&later))), Some(first), "these are others");
}

#[test]
fn an_annotation_from_before_continues_nothing_and_another_template_is_judged_anew() {
    let lossy = current(DisruptionKind::Rollout, (100, 50, 50, 0));
    let asked = Seen { is_asked: true, ..seen(None, Some(&lossy)) };
    assert!(!judge(asked).unwrap().continued);
    let first = halt(DisruptionKind::Rollout, false);
    let back = Seen { template: "old", ..seen(Some(&first), Some(&lossy)) };
    assert_eq!(judge(back), None);
}

#[test]
fn another_kind_that_loses_messages_is_halted_instead() {
    let first = halt(DisruptionKind::Rebalance, false);
    let fine = current(DisruptionKind::ScaleDown, (100, 100, 0, 0));
    assert_eq!(judge(seen(Some(&first), Some(&fine))), Some(first.clone()));
    let lossy = current(DisruptionKind::ScaleDown, (100, 50, 50, 0));
    let told = judge(seen(Some(&first), Some(&lossy))).unwrap();
    assert_eq!(told.kind, DisruptionKind::ScaleDown);
}

#[rstest]
#[case::nobody_yet((0, 0, 0, 0), Trial::Untested)]
#[case::too_few((9, 9, 0, 0), Trial::Untested)]
#[case::on_their_way((100, 99, 0, 0), Trial::Measuring)]
#[case::back((100, 98, 2, 0), Trial::Passed)]
fn the_first_ones_are_waited_for(#[case] counts: Counts, #[case] trial: Trial) {
    let first = current(DisruptionKind::Rollout, counts);
    assert_eq!(super::trial(None, Some(&first), TEMPLATE), trial);
    let noted = Current { is_passed: true, ..first.clone() };
    assert_eq!(super::trial(None, Some(&noted), TEMPLATE), Trial::Passed);
    let quiet = Current { is_quiet: true, ..first.clone() };
    let waits_no_more = if trial == Trial::Untested { trial } else { Trial::Passed };
    assert_eq!(super::trial(None, Some(&quiet), TEMPLATE), waits_no_more);
    assert_eq!(super::trial(None, Some(&noted), "other"), Trial::Untested);
    for (continued, expected) in [(false, Trial::Failed), (true, Trial::Passed)] {
        let halt = halt(DisruptionKind::Rollout, continued);
        assert_eq!(super::trial(Some(&halt), Some(&first), TEMPLATE), expected);
    }
}

#[test]
fn the_other_kinds_hold_no_rollout_up() {
    let other = current(DisruptionKind::PodStopped, (100, 0, 0, 0));
    let halt = halt(DisruptionKind::Rebalance, false);
    assert_eq!(trial(Some(&halt), Some(&other), TEMPLATE), Trial::Untested);
}

#[test]
fn a_halt_ends_with_what_was_halted() {
    let settled = |kind, continued, rollout: rollout::Stage, moves: moves::Stage| {
        let mut contract = Contract { halt: Some(halt(kind, continued)), ..Contract::default() };
        contract.settle(&rollout, &moves);
        contract.halt.is_some()
    };
    let (calm, still) = (rollout::Stage::Settled, moves::Stage::Settled);
    let halted = |kind| moves::Stage::Halted(kind);
    let moving = || rollout::Stage::Moving(Default::default());
    for continued in [false, true] {
        assert!(settled(DisruptionKind::Rollout, continued, moving(), still));
        assert!(!settled(DisruptionKind::Rollout, continued, calm, still));
        let shrinking = moves::Stage::Shrinking(Default::default());
        assert!(settled(DisruptionKind::ScaleDown, continued, calm, shrinking));
        assert!(!settled(DisruptionKind::ScaleDown, continued, calm, still));
        assert!(!settled(DisruptionKind::Rebalance, continued, calm, still));
    }
    let (down, even) = (DisruptionKind::ScaleDown, DisruptionKind::Rebalance);
    assert!(settled(down, false, calm, halted(down)));
    assert!(settled(even, false, calm, halted(even)));
    assert!(!settled(even, true, calm, halted(even)), "the next one is judged anew");
}

#[test]
fn words_name_the_numbers_and_what_to_do_and_a_halt_that_was_continued_is_over() {
    let told = words(Some(&halt(DisruptionKind::Rollout, false)), "odin").unwrap();
    assert_eq!((told.reason, told.holds), ("RolloutHalted", false));
    for part in ["100 clients", "50 of these", "wsgateway odin wsgateway.dev/continue="] {
        assert!(told.message.contains(part), "{}", told.message);
    }
    assert_eq!(words(Some(&halt(DisruptionKind::Rollout, true)), "odin"), None);
    assert_eq!(words(None, "odin"), None);
}
