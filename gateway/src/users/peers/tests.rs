//! Pods that report to each other over a network that loses, in made-up time.

use proptest::prelude::*;

use super::super::roster::Policy;
use super::*;

struct Pod {
    peers: Peers,
    roster: Roster,
    held: Vec<Entry>,
    next: u32,
}

impl Pod {
    fn new(id: PodId, limit: u32) -> Self {
        let roster = Roster::new(id, limit, Policy::RejectNew);
        Self { peers: Peers::new(id), roster, held: Vec::new(), next: 0 }
    }

    fn open(&mut self, user: UserKey, at: u64) -> bool {
        if !self.roster.has_room(user) {
            return false;
        }
        let entry = self.roster.open(user, at, self.next);
        self.next += 1;
        self.peers.opens(entry);
        self.held.push(entry);
        true
    }

    fn close(&mut self, entry: Entry) {
        self.held.retain(|held| *held != entry);
        if self.roster.close(entry) {
            self.peers.closes(entry);
        }
    }

    fn hear(&mut self, report: Report, now: Now) {
        for user in self.peers.take(report, now, &mut self.roster) {
            for entry in self.roster.excess(user) {
                self.peers.closes(entry);
                self.held.retain(|held| *held != entry);
            }
        }
    }
}

/// One round: every pod sends what it has to say to all others; those that `loses` names lose it.
fn round(pods: &mut [Pod], now: Now, mut loses: impl FnMut() -> bool) -> usize {
    let mut sent = Vec::new();
    for pod in pods.iter_mut() {
        sent.extend(pod.peers.tick(now, &mut pod.roster));
    }
    let mut bytes = 0;
    for report in sent {
        let message = report.encode();
        bytes += message.len();
        let report = Report::decode(&message).expect("what is sent can be read");
        for pod in pods.iter_mut() {
            if !loses() {
                pod.hear(report.clone(), now);
            }
        }
    }
    bytes
}

fn begin(pods: &mut [Pod]) {
    let hellos: Vec<Report> = pods.iter_mut().map(|pod| pod.peers.begin()).collect();
    for hello in hellos {
        pods.iter_mut().for_each(|pod| pod.hear(hello.clone(), Duration::ZERO));
    }
}

fn ms(n: u64) -> Now {
    Duration::from_millis(n)
}

fn fleet(pods: u64, limit: u32) -> Vec<Pod> {
    let mut pods: Vec<Pod> = (0..pods).map(|id| Pod::new(id, limit)).collect();
    begin(&mut pods);
    for n in 0..20 {
        round(&mut pods, ms(n * 100), || false);
    }
    pods
}

#[test]
fn a_connection_counts_on_every_pod_after_one_round() {
    let mut pods = fleet(3, 2);
    assert!(pods[0].open(7, 1) && pods[1].open(7, 2));
    round(&mut pods, ms(3_000), || false);
    assert!(!pods[2].open(7, 3) && pods[2].open(8, 3));
    let first = pods[0].held[0];
    pods[0].close(first);
    round(&mut pods, ms(3_100), || false);
    assert!(pods[2].open(7, 4));
}

#[test]
fn of_those_that_open_everywhere_at_once_as_many_stay_as_may_be() {
    let mut pods = fleet(5, 3);
    for pod in &mut pods {
        assert!(pod.open(7, 50) && pod.open(7, 51));
    }
    for n in 0..3 {
        round(&mut pods, ms(3_000 + n * 100), || false);
    }
    assert_eq!(pods.iter().map(|pod| pod.held.len()).sum::<usize>(), 3);
    // All agree that there is no room, and that there is once one has left.
    assert!(pods.iter().all(|pod| !pod.roster.has_room(7)));
}

#[test]
fn a_pod_that_dies_gives_back_what_it_held() {
    let mut pods = fleet(2, 1);
    assert!(pods[0].open(7, 1));
    round(&mut pods, ms(2_100), || false);
    let mut alone = vec![pods.remove(1)];
    round(&mut alone, ms(3_900), || false);
    assert!(!alone[0].open(7, 2), "it may only be slow");
    round(&mut alone, ms(4_200), || false);
    assert!(alone[0].open(7, 3) && alone[0].peers.count() == 0);
}

#[test]
fn a_pod_that_says_goodbye_gives_back_what_it_held_at_once() {
    let mut pods = fleet(2, 1);
    assert!(pods[0].open(7, 1));
    round(&mut pods, ms(2_100), || false);
    let bye = pods[0].peers.end();
    pods[1].hear(bye, ms(2_200));
    assert!(pods[1].open(7, 2));
}

#[test]
fn a_pod_that_comes_later_learns_what_there_is() {
    let mut pods = fleet(2, 1);
    for user in 0..4_000 {
        assert!(pods[0].open(user, 1));
    }
    round(&mut pods, ms(2_100), || false);
    let mut late = Pod::new(9, 1);
    let hello = late.peers.begin();
    pods.push(late);
    pods.iter_mut().for_each(|pod| pod.hear(hello.clone(), ms(3_200)));
    round(&mut pods, ms(3_300), || false);
    assert_eq!(pods[2].roster.reported(), 4_000);
    assert!(!pods[2].open(3_999, 2));
}

#[test]
fn idle_pods_cost_two_short_messages_a_second_each() {
    let mut pods = fleet(4, 1);
    let bytes: usize = (0..20).map(|n| round(&mut pods, ms(2_000 + n * 100), || false)).sum();
    // Four pods, two seconds, two beats a second of 18 bytes.
    assert_eq!(bytes, 4 * 2 * 2 * 18);
}

#[test]
fn a_connection_that_opens_and_closes_between_two_reports_is_not_reported() {
    let mut pods = fleet(2, 1);
    pods[0].open(7, 1);
    let entry = pods[0].held[0];
    pods[0].close(entry);
    let reports = pods[0].peers.changes();
    assert_eq!(reports, []);
}

#[test]
fn more_changes_than_may_wait_become_a_snapshot() {
    let mut pods = fleet(2, 0);
    for user in 0..MOST_WAITING as u64 + 10 {
        pods[0].open(user, 1);
    }
    round(&mut pods, ms(5_000), || false);
    round(&mut pods, ms(5_500), || false);
    round(&mut pods, ms(6_600), || false);
    assert_eq!(pods[1].roster.reported(), MOST_WAITING + 10);
    assert!(pods[0].peers.opened.is_empty());
}

#[test]
fn more_pods_than_there_can_be_are_not_listened_to() {
    let mut pod = Pod::new(0, 1);
    for id in 1..=MOST_PEERS as u64 + 100 {
        pod.hear(Report { pod: id, news: News::Hello }, ms(1));
    }
    assert_eq!(pod.peers.count(), MOST_PEERS);
    // One that lies about a sequence leads to one question a second at most.
    let asked = |pod: &mut Pod, now| {
        let reports = pod.peers.tick(now, &mut pod.roster);
        reports.iter().filter(|report| matches!(report.news, News::Ask { .. })).count()
    };
    assert_eq!((asked(&mut pod, ms(2)), asked(&mut pod, ms(3))), (MOST_PEERS, 0));
}

proptest! {
    /// Whatever is lost, once nothing more is lost every pod knows what every other pod holds.
    #[test]
    fn pods_know_the_truth_soon_after_the_last_loss(
        steps in prop::collection::vec((0..3_usize, 0..6_u64, any::<bool>()), 0..60),
        losses in prop::collection::vec(any::<bool>(), 400),
    ) {
        let mut pods = fleet(3, 2);
        let mut losses = losses.into_iter();
        for (n, (pod, user, opens)) in steps.into_iter().enumerate() {
            let now = ms(3_000 + n as u64 * 100);
            if opens {
                pods[pod].open(user, now.as_millis() as u64);
            } else if let Some(entry) = pods[pod].held.first().copied() {
                pods[pod].close(entry);
            }
            round(&mut pods, now, || losses.next().unwrap_or_default());
        }
        for n in 0..40 {
            round(&mut pods, ms(10_000 + n * 100), || false);
        }
        let held: BTreeSet<Entry> = pods.iter().flat_map(|pod| pod.held.iter().copied()).collect();
        for pod in &pods {
            let known: BTreeSet<Entry> =
                (0..6).flat_map(|user| pod.roster.of_user(user)).collect();
            prop_assert_eq!(&known, &held);
        }
        for user in 0..6 {
            prop_assert!(held.iter().filter(|entry| entry.user == user).count() <= 2);
        }
    }
}
