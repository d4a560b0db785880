use super::*;
use crate::simulate::market::tests::market;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// What was done at which time.
type History = Vec<(Duration, Action)>;

/// A crowd of so many places, stepped through a time in steps.
fn lived(market: Market, places: u32, (until, step): (Duration, Duration)) -> (Crowd, History) {
    let (mut crowd, mut history) = (Crowd::new(market, places, 0), Vec::new());
    let mut now = Duration::ZERO;
    while now <= until {
        let mut actions = Vec::new();
        crowd.step(now, &mut actions);
        history.extend(actions.into_iter().map(|action| (now, action)));
        now += step;
    }
    (crowd, history)
}

#[test]
fn of_those_who_are_there_each_type_has_its_share_at_all_times() {
    for seed in 0..5 {
        let mut crowd = Crowd::new(market(seed), 2_000, 0);
        for minute in 0..180 {
            crowd.step(minute * MINUTE, &mut Vec::new());
            let totals = crowd.totals();
            assert_eq!(totals.aim, 2_000);
            let occupied = Kind::ALL.map(|kind| totals.occupied(kind));
            assert_eq!(occupied, [400, 700, 600, 200, 100], "{seed} {minute}");
            // Quick traders are away for some seconds of some minutes; nobody else is missed.
            assert!(totals.all().present > 1_900, "{seed} {minute} {totals:?}");
        }
    }
}

#[test]
fn seven_of_ten_who_leave_come_back_and_four_of_five_of_these_resume() {
    for seed in 0..5 {
        let (crowd, _) = lived(market(seed), 1_000, (4 * HOUR, MINUTE));
        let all = crowd.totals().all();
        assert!(all.ended > 10_000, "{all:?}");
        // Five standard deviations: 0.46 / √10,000 and 0.4 / √7,000.
        let back = all.return_percent().unwrap();
        assert!((67.7..72.3).contains(&back), "{seed} {back}");
        let resumed = all.resumed as f64 / (all.resumed + all.anew) as f64;
        assert!((0.776..0.824).contains(&resumed), "{seed} {resumed}");
        assert_eq!(all.ended, all.resumed + all.anew + u64::from(all.away) + all.gone);
        assert_eq!(all.sessions, all.traders + all.resumed + all.anew);
        assert_eq!(all.sessions, all.ended + u64::from(all.present));
    }
}

#[test]
fn sessions_and_absences_keep_their_bounds_however_the_time_is_cut() {
    for step in [Duration::from_millis(500), Duration::from_secs(7)] {
        let (_, history) = lived(market(3), 100, (HOUR, step));
        let mut since = vec![None; 100];
        let mut left = vec![None; 100];
        for (at, action) in &history {
            match *action {
                Action::Come { place, trader, .. } => {
                    since[place as usize] = Some(*at);
                    if let Some((when, who)) = left[place as usize].take()
                        && who == trader
                    {
                        let away: Duration = *at - when;
                        assert!(away + step >= AWAY.0 && away <= AWAY.1 + step, "{away:?}");
                    }
                    left[place as usize] = Some((Duration::ZERO, trader));
                }
                Action::Leave { place } => {
                    let stayed = *at - since[place as usize].take().unwrap();
                    assert!(stayed + step >= Duration::from_secs(30), "{stayed:?}");
                    let who = left[place as usize].unwrap().1;
                    left[place as usize] = Some((*at, who));
                }
            }
        }
    }
}

#[test]
fn the_mean_session_of_a_type_lies_within_its_bounds() {
    let market = Market { length: 200 * HOUR, ..market(7) };
    let (crowd, _) = lived(market, 500, (200 * HOUR, 5 * MINUTE));
    for (kind, totals) in Kind::ALL.into_iter().zip(crowd.totals().kinds) {
        let (shortest, longest) = kind.session();
        let (low, high) = (shortest.as_secs_f64(), longest.as_secs_f64());
        // Of a length whose ratios are all as likely.
        let expected = (high - low) / (high / low).ln();
        let mean = totals.mean_seconds().unwrap();
        let tolerance = if totals.ended > 1_000 { 0.1 } else { 0.3 };
        assert!((mean / expected - 1.0).abs() < tolerance, "{kind:?} {mean} {expected} {totals:?}");
    }
}

#[test]
fn each_place_comes_and_leaves_in_turn_and_only_its_own_trader_resumes() {
    for seed in 0..10 {
        let (crowd, history) = lived(market(seed), 200, (2 * HOUR, Duration::from_secs(45)));
        let mut places: Vec<(bool, Option<u32>)> = vec![(false, None); 200];
        for (_, action) in &history {
            match *action {
                Action::Come { place, trader, resume } => {
                    let known = &mut places[place as usize];
                    assert!(!known.0, "{place} comes twice");
                    assert!(!resume || known.1 == Some(trader), "{place} resumes another one");
                    *known = (true, Some(trader));
                }
                Action::Leave { place } => {
                    assert!(std::mem::replace(&mut places[place as usize].0, false), "{place}");
                }
            }
        }
        for (place, (here, _)) in (0..).zip(&places) {
            assert_eq!(crowd.is_here(place), *here);
        }
    }
}

#[test]
fn the_same_seed_is_the_same_crowd_and_another_seed_is_another_one() {
    let of = |seed| lived(market(seed), 100, (HOUR, MINUTE)).1;
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    let (mut one, mut two) = (Crowd::new(market(1), 50, 0), Crowd::new(market(1), 50, 1));
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for minute in 0..60 {
        one.step(minute * MINUTE, &mut first);
        two.step(minute * MINUTE, &mut second);
    }
    assert_ne!(first, second, "workers of one run are not copies of each other");
}

#[test]
fn without_resuming_everybody_begins_anew() {
    let (crowd, _) = lived(Market { resumes: false, ..market(1) }, 100, (HOUR, MINUTE));
    let all = crowd.totals().all();
    assert!(all.resumed == 0 && all.anew > 100, "{all:?}");
}

#[test]
fn they_come_gradually_and_never_more_than_there_are_places() {
    let market = Market { ramp: HOUR, ..market(1) };
    let mut crowd = Crowd::new(market, 600, 0);
    for minute in 0..=60 {
        crowd.step(minute * MINUTE, &mut Vec::new());
        let here = crowd.totals().all();
        assert_eq!(here.present + here.away, minute * 10, "{minute}");
    }
}

#[test]
fn after_peak_hours_fewer_are_there() {
    // From 13:00 on: at 20:00 two thirds should be there. Those who left by themselves were not replaced.
    let (crowd, _) = lived(market(1), 1_000, (7 * HOUR, MINUTE));
    let all = crowd.totals().all();
    assert_eq!((crowd.totals().aim, all.sent_away), (667, 0));
    let humans: u32 = crowd.totals().kinds[..3].iter().map(|kind| kind.present).sum();
    assert!((500..700).contains(&humans), "{all:?}");
}

#[test]
fn a_target_that_warns_is_left_at_once_and_gets_its_traders_back() {
    let (mut crowd, _) = lived(market(1), 1_000, (HOUR, MINUTE));
    let mut actions = Vec::new();
    crowd.pace(50);
    crowd.step(HOUR + MINUTE, &mut actions);
    let all = crowd.totals().all();
    assert_eq!(all.present + all.away, 500);
    assert!((400..=500).contains(&all.sent_away), "{all:?}");
    assert_eq!(Kind::ALL.map(|kind| crowd.totals().occupied(kind)), [100, 175, 150, 50, 25]);
    crowd.pace(100);
    crowd.step(HOUR + 2 * MINUTE, &mut actions);
    let all = crowd.totals().all();
    assert_eq!(all.present + all.away, 1_000);
}

#[test]
fn nobody_at_all_and_an_enormous_step_are_no_trouble() {
    let mut crowd = Crowd::new(market(1), 0, 0);
    crowd.pace(0);
    crowd.step(HOUR, &mut Vec::new());
    assert_eq!((crowd.next_due(), crowd.totals().all().sessions), (None, 0));
    let mut crowd = Crowd::new(market(1), 10, 0);
    crowd.step(Duration::ZERO, &mut Vec::new());
    crowd.step(10_000 * HOUR, &mut Vec::new());
    // Everybody has left for good meanwhile, and others have come.
    assert!(crowd.totals().all().sessions >= 20, "{crowd:?}");
}
