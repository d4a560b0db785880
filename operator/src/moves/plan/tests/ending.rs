//! Pods that somebody else ends have the pace for themselves.

use k8s_openapi::jiff::Timestamp;
use rstest::rstest;

use super::*;

#[rstest]
fn clients_of_pods_that_somebody_evicts_and_ours_together_are_moved_at_one_pace(
    #[values(Balancer::Random, Balancer::LeastConnections)] balancer: Balancer,
    #[values((4, 3, 1_500), (3, 5, 2_000), (40, 30, 9_000))] size: (i32, i32, usize),
    #[values(6, 9, 12)] begins: i64,
    #[values(1, 2)] evicted: u64,
    #[values(1, 2)] seed: u64,
) {
    let (from, to, clients) = size;
    let mut cluster = Cluster::new(from, clients, balancer, RebalanceMode::Auto, seed);
    cluster.wanted.replicas = to;
    cluster.run(begins);
    cluster.fastest = 0;
    (0..evicted).for_each(|_| cluster.evict());
    while !cluster.ending.is_empty() {
        cluster.run(1);
    }
    // Two at once are twice as fast, which nobody can help; ours wait for both.
    let pace = u64::from(cluster.wanted.per_minute / 60);
    let by_chance = cluster.pods.len() as u64;
    assert!(cluster.fastest <= evicted * pace + by_chance, "{} a second", cluster.fastest);
    cluster.fastest = 0;
    let settled = |cluster: &Cluster| {
        cluster.stages.iter().rev().take(60).all(|stage| *stage == Stage::Settled)
    };
    while !settled(&cluster) {
        assert!(cluster.now < 20_000, "{:?}", cluster.stages.last());
        cluster.run(2);
    }
    assert_eq!(cluster.pods.len(), usize::try_from(to).unwrap());
    cluster.check_rest();
}

#[rstest]
#[case::nobody(&[], None, false)]
#[case::one(&[40], None, true)]
#[case::two(&[40, 3], None, true)]
#[case::empty_ones(&[0, 0], None, false)]
#[case::one_of_them_is_empty(&[0, 1], None, true)]
#[case::within_its_grace_period(&[40], Some(990), true)]
#[case::held_by_somebody_long_after_it(&[40], Some(900), false)]
fn pods_that_hand_clients_over_wait_for_those_that_somebody_else_ends(
    #[values(ShedReason::Drain, ShedReason::Rebalance)] reason: ShedReason,
    #[case] evicted: &[u32],
    #[case] grace_ends: Option<i64>,
    #[case] waits: bool,
) {
    let keep = if reason == ShedReason::Drain { 0 } else { 400 };
    let begun = instruct(reason, 990, (keep, 500), 500, 6_000);
    let mut marked = facts("a", 900 - u32::try_from(keep).unwrap());
    (marked.view.accepts, marked.view.shed) = (false, Some(begun.clone()));
    let others = [facts("b", 300), facts("c", 300)];
    let ends = evicted.iter().map(|clients| {
        let mut pod = facts(&format!("evicted-{clients}"), *clients);
        (pod.view.terminating, pod.view.ready) = (true, false);
        pod.view.ends = grace_ends.map(|at| Timestamp::from_second(at).unwrap());
        pod
    });
    let pods: Vec<PodFacts> = [marked].into_iter().chain(others).chain(ends).collect();
    let wanted = if reason == ShedReason::Drain { want(2) } else { want(3) };
    let wanted = Wanted { rebalance: rebalance(RebalanceMode::Auto), ..wanted };
    let now = plan(&look(&pods, 3), wanted);
    if !waits {
        assert!(now.changes.is_empty() && !matches!(now.stage, Stage::Yielding { .. }), "{now:?}");
        return;
    }
    let ending = evicted.iter().filter(|clients| **clients > 0).count();
    assert!(matches!(now.stage, Stage::Yielding { ending: found, .. } if found == ending));
    assert_eq!(now.stage.is_shrinking(), reason == ShedReason::Drain);
    assert!(now.is_busy() && now.replicas == 3);
    let rests = now.changes[0].1.shed.clone().unwrap();
    assert_eq!((&rests.id, rests.keep, rests.per_minute), (&begun.id, keep, 1), "the same");
    assert!(!now.changes[0].1.accepts, "its entrance stays closed");

    // Its deadline does not pass meanwhile, and it is told once.
    let mut pods = pods;
    pods[0].view.shed = Some(rests);
    let later = plan(&Observed { now: 1_004, ..look(&pods, 3) }, wanted);
    assert_eq!((later.changes, later.replicas), (vec![], 3));
    // They are gone: it goes on, with a deadline of its own.
    pods.truncate(3);
    let again = plan(&Observed { now: 90_000, ..look(&pods, 3) }, wanted);
    let goes_on = again.changes[0].1.shed.clone().unwrap();
    assert_eq!((goes_on.id, goes_on.keep, goes_on.per_minute), (begun.id, keep, 6_000));
    assert!(goes_on.until > 90_000 && goes_on.until < 91_000 && !again.changes[0].1.accepts);
    // Or it is called off, if it is wanted meanwhile.
    let back =
        plan(&look(&pods, 3), Wanted { rebalance: rebalance(RebalanceMode::Off), ..want(3) });
    assert_eq!(back.changes, [("a".to_owned(), Stance { accepts: true, shed: None })]);
}
