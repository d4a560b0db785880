//! Steps in a cluster that is a model: Kubernetes starts and ends pods, these hand over clients as told, and who is sent away
//! comes back where the Service leads it.

mod ending;

use rstest::rstest;
use wsgateway_crds::RebalanceMode;

use super::*;
use crate::fleet::{PodView, Report};

const TEMPLATE: &str = "t";
const CAPACITY: u32 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Balancer {
    Random,
    LeastConnections,
}

struct Member {
    facts: PodFacts,
    /// Indices of clients.
    clients: Vec<usize>,
    ready_at: i64,
    told_at: i64,
}

struct Cluster {
    replicas: i32,
    wanted: Wanted,
    pods: Vec<Member>,
    /// Pods that somebody else ends.
    ending: Vec<Member>,
    /// How often each client was moved.
    moved: Vec<u32>,
    /// Clients that were cut off by the end of a pod.
    cut: u32,
    now: i64,
    names: u32,
    balancer: Balancer,
    random: fastrand::Rng,
    last_rebalance: Option<i64>,
    /// Most clients sent away within a second.
    fastest: u64,
    stages: Vec<Stage>,
}

fn rebalance(mode: RebalanceMode) -> ValidRebalance {
    ValidRebalance { mode, tolerance_percent: 20, min_connections: 20, per_minute: 6_000 }
}

fn facts(name: &str, connections: u32) -> PodFacts {
    let view = PodView {
        name: name.to_owned(),
        template: Some(TEMPLATE.to_owned()),
        ready: true,
        accepts: true,
        address: Some([127, 0, 0, 1].into()),
        ..PodView::default()
    };
    let report = Report { capacity: CAPACITY, ..Report::of_a_good_pod(connections) };
    PodFacts { view, seen: Seen::Answered(report), full: connections >= CAPACITY, leaving: false }
}

fn look<'a>(pods: &'a [PodFacts], replicas: i32) -> Observed<'a> {
    Observed {
        replicas: Some(replicas),
        pods,
        template: TEMPLATE,
        is_rolling: false,
        is_pinned: false,
        is_fresh: true,
        is_steady: true,
        now: 1_000,
        since_rebalance: None,
        moved_enough_until: None,
    }
}

fn want(replicas: i32) -> Wanted {
    let rebalance = rebalance(RebalanceMode::Off);
    Wanted {
        replicas,
        per_minute: 6_000,
        rebalance,
        is_asked: false,
        min_age_seconds: 0,
        halted: None,
    }
}

impl Cluster {
    fn new(pods: i32, clients: usize, balancer: Balancer, mode: RebalanceMode, seed: u64) -> Self {
        let mut cluster = Self {
            replicas: pods,
            wanted: Wanted { rebalance: rebalance(mode), ..want(pods) },
            pods: Vec::new(),
            ending: Vec::new(),
            moved: vec![0; clients],
            cut: 0,
            now: 10_000,
            names: 0,
            balancer,
            random: fastrand::Rng::with_seed(seed),
            last_rebalance: None,
            fastest: 0,
            stages: Vec::new(),
        };
        cluster.kubernetes();
        cluster.pods.iter_mut().for_each(|pod| pod.ready_at = 0);
        cluster.kubernetes();
        (0..clients).for_each(|client| cluster.connect(client));
        cluster
    }

    /// Starts and ends pods, in the order in which a ReplicaSet does.
    fn kubernetes(&mut self) {
        let wanted = usize::try_from(self.replicas).unwrap();
        while self.pods.len() < wanted {
            self.names += 1;
            let mut facts = facts(&format!("pod-{:04}", self.names), 0);
            facts.view.ready = false;
            self.pods.push(Member {
                facts,
                clients: Vec::new(),
                ready_at: self.now + 3,
                told_at: 0,
            });
        }
        self.pods.sort_by_key(|pod| {
            let drains = pod.facts.view.shed.as_ref().is_some_and(|shed| shed.keep == 0);
            (pod.facts.view.ready, !drains)
        });
        for pod in self.pods.drain(..self.pods.len() - wanted).collect::<Vec<_>>() {
            self.cut += u32::try_from(pod.clients.len()).unwrap();
            pod.clients.into_iter().for_each(|client| self.connect(client));
        }
        for pod in &mut self.pods {
            pod.facts.view.ready = self.now >= pod.ready_at;
        }
    }

    fn is_open(&self, pod: &Member) -> bool {
        let closed = pod.facts.view.shed.is_some() && self.now >= pod.told_at + DELAY_SECONDS;
        pod.facts.view.ready
            && pod.facts.view.accepts
            && !closed
            && pod.clients.len() < CAPACITY as usize
    }

    fn connect(&mut self, client: usize) {
        let mut open: Vec<usize> =
            (0..self.pods.len()).filter(|at| self.is_open(&self.pods[*at])).collect();
        if open.is_empty() {
            // It tries again, until one is.
            open.extend((0..self.pods.len()).filter(|at| self.pods[*at].facts.view.ready));
        }
        let chosen = match self.balancer {
            Balancer::Random => open[self.random.usize(..open.len())],
            Balancer::LeastConnections => {
                *open.iter().min_by_key(|at| self.pods[**at].clients.len()).unwrap()
            }
        };
        self.pods[chosen].clients.push(client);
    }

    /// Gateways send clients away for a second.
    fn gateways(&mut self) {
        let mut away = Vec::new();
        for pod in self.ending.iter_mut().filter(|pod| self.now >= pod.told_at + DELAY_SECONDS) {
            let count =
                pod.clients.len().min(usize::try_from(self.wanted.per_minute / 60).unwrap());
            away.extend(pod.clients.drain(..count));
        }
        self.ending.retain(|pod| !pod.clients.is_empty());
        for pod in &mut self.pods {
            let Some(shed) = pod.facts.view.shed.clone() else { continue };
            if self.now < pod.told_at + DELAY_SECONDS {
                continue;
            }
            let beyond = pod.clients.len().saturating_sub(usize::try_from(shed.keep).unwrap());
            // At least one a second, but for those at rest: one a minute is as good as none.
            let pace = if shed.per_minute == 1 { 0 } else { (shed.per_minute / 60).max(1) };
            let count = beyond.min(usize::try_from(pace).unwrap());
            away.extend(pod.clients.drain(..count));
        }
        self.fastest = self.fastest.max(away.len() as u64);
        for client in away {
            self.moved[client] += 1;
            self.connect(client);
        }
    }

    fn operator(&mut self) {
        for pod in self.pods.iter_mut().chain(&mut self.ending) {
            let connections = u32::try_from(pod.clients.len()).unwrap();
            let closed = self.now >= pod.told_at + DELAY_SECONDS;
            let shed = pod.facts.view.shed.as_ref().filter(|_| closed).map(|shed| shed.id.clone());
            let report = Report { capacity: CAPACITY, shed, ..Report::of_a_good_pod(connections) };
            pod.facts.seen = Seen::Answered(report);
            pod.facts.full = connections >= CAPACITY;
        }
        let pods = self.pods.iter().chain(&self.ending).map(|pod| pod.facts.clone());
        let pods: Vec<PodFacts> = pods.collect();
        let since_rebalance = self.last_rebalance.map(|last| self.now - last);
        let observed = Observed { now: self.now, since_rebalance, ..look(&pods, self.replicas) };
        let plan = plan(&observed, self.wanted);
        self.replicas = plan.replicas;
        if let Stage::Rebalancing(_) = plan.stage {
            self.last_rebalance = Some(self.now);
        }
        self.stages.push(plan.stage);
        for (name, stance) in plan.changes {
            let pod = self.pods.iter_mut().find(|pod| pod.facts.view.name == name).unwrap();
            if pod.facts.view.shed.is_none() && stance.shed.is_some() {
                pod.told_at = self.now;
            }
            (pod.facts.view.accepts, pod.facts.view.shed) = (stance.accepts, stance.shed);
        }
    }

    /// The process of a pod is killed: its clients go to the others, and it starts again.
    fn kill(&mut self, at: usize) {
        let pod = &mut self.pods[at];
        pod.facts.view.ready = false;
        pod.ready_at = self.now + 5;
        for client in std::mem::take(&mut pod.clients) {
            self.connect(client);
        }
    }

    /// Somebody evicts a pod, if possible one that hands no clients over: it does so now, and another one is started in its
    /// place.
    fn evict(&mut self) {
        let (pods, marked) =
            (self.pods.iter().enumerate(), |pod: &Member| pod.facts.view.shed.is_some());
        let chosen =
            pods.filter(|(_, pod)| !pod.clients.is_empty()).min_by_key(|(_, pod)| marked(pod));
        let mut pod = self.pods.remove(chosen.unwrap().0);
        (pod.facts.view.terminating, pod.facts.view.ready) = (true, false);
        pod.told_at = self.now;
        self.ending.push(pod);
    }

    fn run(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now += 1;
            self.kubernetes();
            self.gateways();
            if self.now % 2 == 0 {
                self.operator();
            }
        }
    }

    fn counts(&self) -> Vec<usize> {
        let mut counts: Vec<usize> = self.pods.iter().map(|pod| pod.clients.len()).collect();
        counts.sort_unstable();
        counts
    }

    /// Nothing is under way any more, and nobody is left out.
    fn check_rest(&self) {
        assert_eq!(self.counts().iter().sum::<usize>(), self.moved.len());
        assert!(
            self.pods.iter().all(|pod| pod.facts.view.shed.is_none() && pod.facts.view.accepts)
        );
        assert_eq!(self.cut, 0, "a pod ended with clients");
        assert!(self.fastest <= 100 + self.pods.len() as u64, "{} a second", self.fastest);
    }
}

#[rstest]
fn fewer_pods_cut_nobody_off_and_move_each_client_once(
    #[values(Balancer::Random, Balancer::LeastConnections)] balancer: Balancer,
    #[values((4, 2, 1_500), (5, 1, 600), (3, 2, 0), (40, 11, 9_000))] size: (i32, i32, usize),
    #[values(1, 2, 3)] seed: u64,
) {
    let (from, to, clients) = size;
    let mut cluster = Cluster::new(from, clients, balancer, RebalanceMode::Auto, seed);
    cluster.wanted.replicas = to;
    cluster.run(40 * i64::from(from) + 60);
    assert_eq!(cluster.pods.len(), usize::try_from(to).unwrap());
    cluster.check_rest();
    let most = cluster.moved.iter().max().copied().unwrap_or_default();
    // Emptied one after the other, some clients meet a pod that goes next; never the one that has just taken them.
    assert!(most <= u32::try_from(from - to).unwrap(), "{most}");
    let all: u32 = cluster.moved.iter().sum();
    let least = clients - clients * usize::try_from(to).unwrap() / usize::try_from(from).unwrap();
    assert!(u64::from(all) <= least as u64 * 2 + 50, "{all} moves, {least} needed");
}

#[test]
fn the_emptiest_goes_first_and_of_equals_the_newest() {
    let mut pods = [facts("a", 50), facts("b", 7), facts("c", 30), facts("d", 7)];
    pods[1].view.created = Some("2026-01-01T00:00:00Z".parse().unwrap());
    pods[3].view.created = Some("2026-01-02T00:00:00Z".parse().unwrap());
    let marked = |replicas| {
        let plan = plan(&look(&pods, 4), want(replicas));
        assert_eq!(plan.replicas, 4, "not before they are empty");
        let of = |(name, stance): (String, Stance)| {
            assert!(!stance.accepts && stance.shed.is_some_and(|shed| shed.keep == 0));
            name
        };
        plan.changes.into_iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(marked(3), ["d"]);
    assert_eq!(marked(2), ["b", "d"], "few clients: both at once");
    assert_eq!(marked(4), [] as [String; 0]);
}

#[test]
fn pods_are_asked_once_more_before_one_is_told_anything() {
    let pods = [facts("a", 900), facts("b", 0), facts("c", 0)];
    let wanted = Wanted { rebalance: rebalance(RebalanceMode::Auto), ..want(2) };
    let stale = plan(&Observed { is_fresh: false, ..look(&pods, 3) }, wanted);
    assert_eq!((stale.changes, stale.is_waiting), (vec![], true));
    assert_eq!(stale.stage, Stage::Settled, "nobody moves yet");
    let spread = Wanted { replicas: 3, is_asked: true, ..wanted };
    let stale = plan(&Observed { is_fresh: false, ..look(&pods, 3) }, spread);
    assert_eq!((stale.changes, stale.is_waiting, stale.is_answered), (vec![], true, false));
    let crowd = plan(&Observed { is_steady: false, ..look(&pods, 3) }, spread);
    assert_eq!((crowd.changes, crowd.is_waiting, crowd.is_answered), (vec![], true, false));
    assert_eq!(plan(&Observed { is_steady: false, ..look(&pods, 3) }, wanted).changes.len(), 1);
    let even = [facts("a", 300), facts("b", 300)];
    let rest = plan(&Observed { is_fresh: false, ..look(&even, 2) }, want(2));
    assert!(!rest.is_waiting, "or pods at rest were asked all the time");
    let empty = [facts("a", 0), facts("b", 0)];
    let all = plan(&look(&empty, 2), want(1)).changes.remove(0).1.shed.unwrap();
    assert_eq!(all.per_minute, 6_000, "whoever comes at the last moment need not wait");
}

#[test]
fn pods_that_go_together_share_the_pace() {
    let pods = [facts("a", 500), facts("b", 60), facts("c", 20), facts("d", 100)];
    let plan = plan(&look(&pods, 4), want(2));
    let paces: Vec<u32> =
        plan.changes.iter().map(|(_, stance)| stance.shed.as_ref().unwrap().per_minute).collect();
    assert_eq!(paces, [4_500, 1_500]);
    assert_eq!(plan.stage, Stage::Shrinking(Moves { pods: 2, of: 2, left: 80, seconds_left: 0 }));
}

#[test]
fn a_pod_stays_if_the_others_have_no_room_for_its_clients() {
    let pods = [facts("a", 900), facts("b", 800), facts("c", 350)];
    let before = plan(&look(&pods, 3), want(2));
    assert_eq!(before.stage, Stage::NoRoom { room: 300, needed: 350, surplus: 1 });
    assert_eq!((before.replicas, before.changes), (3, vec![]));
    let pods = [facts("a", 900), facts("b", 700), facts("c", 350)];
    assert!(matches!(plan(&look(&pods, 3), want(2)).stage, Stage::Shrinking(_)));
}

#[test]
fn pods_wanted_again_go_on_serving_and_those_with_most_clients_first() {
    let mut cluster = Cluster::new(4, 800, Balancer::LeastConnections, RebalanceMode::Off, 7);
    cluster.wanted.replicas = 2;
    cluster.run(7);
    assert_eq!(cluster.pods.iter().filter(|pod| pod.facts.view.shed.is_some()).count(), 2);
    cluster.wanted.replicas = 3;
    cluster.run(2);
    let marked: Vec<usize> =
        (0..4).filter(|at| cluster.pods[*at].facts.view.shed.is_some()).collect();
    assert_eq!(marked.len(), 1);
    cluster.wanted.replicas = 4;
    cluster.run(60);
    assert_eq!((cluster.pods.len(), cluster.names), (4, 4), "none was replaced");
    cluster.check_rest();
}

#[test]
fn what_loses_messages_is_called_off_and_does_not_begin_again() {
    let mut leaving = facts("b", 70);
    leaving.view.shed = Some(instruct(ShedReason::Drain, 1_000, (0, 90), 90, 6_000));
    leaving.view.accepts = false;
    let pods = [facts("a", 90), leaving, facts("c", 200)];
    let halted = Some(DisruptionKind::ScaleDown);
    let called_off = plan(&look(&pods, 3), Wanted { halted, ..want(2) });
    assert_eq!(called_off.changes, [("b".to_owned(), Stance { accepts: true, shed: None })]);
    assert_eq!(called_off.stage, Stage::Halted(DisruptionKind::ScaleDown));
    assert!(called_off.replicas == 3 && called_off.stage.is_shrinking());
    let rest = plan(&look(&pods, 3), Wanted { halted, ..want(3) });
    assert_eq!(rest.stage, Stage::Settled, "they are wanted again");

    let mut full = facts("a", 500);
    full.view.shed = Some(instruct(ShedReason::Rebalance, 1_000, (300, 200), 200, 6_000));
    full.view.accepts = false;
    let pods = [full, facts("b", 100)];
    let even = Wanted { rebalance: rebalance(RebalanceMode::Auto), is_asked: true, ..want(2) };
    assert!(matches!(plan(&look(&pods, 2), even).stage, Stage::Rebalancing(_)));
    let halted = Some(DisruptionKind::Rebalance);
    let called_off = plan(&look(&pods, 2), Wanted { halted, ..even });
    assert_eq!(called_off.changes, [("a".to_owned(), Stance { accepts: true, shed: None })]);
    assert_eq!(called_off.stage, Stage::Halted(DisruptionKind::Rebalance));
    assert!(!called_off.is_answered);
    let down = plan(&look(&pods, 2), Wanted { halted, replicas: 1, ..even });
    assert!(matches!(down.stage, Stage::Shrinking(_)), "the other kind is judged by itself");
}

#[test]
fn clients_that_were_moved_often_enough_keep_their_pods() {
    let pods = [facts("a", 90), facts("b", 70), facts("c", 200)];
    let enough = Observed { moved_enough_until: Some(9_000), ..look(&pods, 3) };
    let rests = plan(&enough, want(1));
    assert_eq!(rests.stage, Stage::Resting { surplus: 2, until: 9_000 });
    assert!(rests.changes.is_empty() && rests.replicas == 3 && !rests.is_busy());
    let mut begun = pods.clone();
    begun[1].view.shed = Some(instruct(ShedReason::Drain, 1_000, (0, 90), 90, 6_000));
    let goes_on = plan(&Observed { pods: &begun, ..enough }, want(2));
    assert!(matches!(goes_on.stage, Stage::Shrinking(_)), "what has begun ends");
    let mut idle = pods.clone();
    (idle[1].view.ready, idle[1].seen) = (false, Seen::Silent);
    assert_eq!(plan(&Observed { pods: &idle, ..enough }, want(2)).replicas, 2, "it has nobody");

    let pods = [facts("a", 500), facts("b", 100)];
    let even =
        Wanted { rebalance: rebalance(RebalanceMode::Auto), min_age_seconds: 900, ..want(2) };
    let told = plan(&look(&pods, 2), even).changes.remove(0).1.shed.unwrap();
    assert_eq!((told.reason, told.min_age_seconds), (ShedReason::Rebalance, 900));
    let told = plan(&look(&pods, 2), Wanted { replicas: 1, ..even }).changes.remove(0).1;
    assert_eq!(told.shed.unwrap().min_age_seconds, 0, "all clients of a pod that goes go");
}

#[test]
fn a_pod_that_is_told_and_does_not_do_it_goes_in_the_end() {
    let mut old = facts("b", 7);
    old.view.shed = Some(instruct(ShedReason::Drain, 1_000, (0, 7), 7, 6_000));
    let pods = [facts("a", 9), old];
    let replicas = |now| plan(&Observed { now, ..look(&pods, 2) }, want(1)).replicas;
    assert_eq!((replicas(1_060), replicas(1_065)), (2, 1));
}

#[test]
fn while_one_that_has_clients_is_not_ready_no_pod_is_ended() {
    let mut done = facts("b", 0);
    done.view.accepts = false;
    done.view.shed = Some(instruct(ShedReason::Drain, 1_000, (0, 7), 7, 6_000));
    let id = done.view.shed.as_ref().map(|shed| shed.id.clone());
    done.seen = Seen::Answered(Report { shed: id, ..Report::of_a_good_pod(0) });
    let mut pods = [facts("a", 9), done, facts("c", 3)];
    pods[2].view.ready = false;
    assert_eq!(plan(&look(&pods, 3), want(2)).replicas, 3, "Kubernetes would choose it");
    pods[2].view.ready = true;
    assert_eq!(plan(&look(&pods, 3), want(2)).replicas, 2);
    // Kubernetes is about to end it: it is not called back.
    let plan = plan(&look(&pods, 2), want(2));
    assert_eq!((plan.replicas, plan.changes), (2, vec![]));
}

#[test]
fn pods_that_never_served_go_at_once_and_missing_ones_need_not_come() {
    let mut starting = facts("c", 0);
    (starting.view.ready, starting.seen) = (false, Seen::Silent);
    let pods = [facts("a", 9), facts("b", 3), starting];
    let plan_of = |replicas, wanted| plan(&look(&pods, replicas), want(wanted));
    assert_eq!((plan_of(3, 2).replicas, plan_of(3, 2).changes), (2, vec![]));
    assert_eq!(plan_of(5, 2).replicas, 3, "two that Kubernetes has not made");
    assert_eq!(plan_of(3, 0).replicas, 0, "everything stops");
}

#[test]
fn nothing_begins_while_pods_are_replaced_or_a_node_is_emptied() {
    let mut leaving = facts("c", 3);
    leaving.view.terminating = true;
    let pods = [facts("a", 9), facts("b", 3), leaving];
    let disturbed = plan(&look(&pods, 2), want(1));
    assert_eq!((disturbed.replicas, disturbed.changes), (2, vec![]));
    let mut marked = facts("b", 3);
    marked.view.shed = Some(instruct(ShedReason::Drain, 1_000, (0, 3), 3, 60));
    marked.view.accepts = false;
    let pods = [facts("a", 9), marked];
    let rolling = plan(&Observed { is_rolling: true, ..look(&pods, 2) }, want(1));
    assert_eq!(rolling.changes, [("b".to_owned(), Stance { accepts: true, shed: None })]);
    assert_eq!((rolling.replicas, rolling.stage), (2, Stage::Settled));
}

#[test]
fn new_clients_are_led_to_pods_that_have_room_and_somebody_takes_them_in_any_case() {
    let stances = |counts: [u32; 3]| {
        let pods = [facts("a", counts[0]), facts("b", counts[1]), facts("c", counts[2])];
        let plan = plan(&look(&pods, 3), want(3));
        plan.changes.into_iter().map(|(name, stance)| (name, stance.accepts)).collect::<Vec<_>>()
    };
    assert_eq!(stances([1_000, 5, 1_000]), [("a".to_owned(), false), ("c".to_owned(), false)]);
    assert_eq!(stances([1_000; 3]), []);
    let mut back = facts("a", 5);
    back.view.accepts = false;
    let mut pods = [back, facts("b", 5)];
    let plan_of = |pods: &[PodFacts]| plan(&look(pods, 2), want(2));
    assert_eq!(plan_of(&pods).changes, [("a".to_owned(), Stance { accepts: true, shed: None })]);
    // An operator that has just started leaves it as it is, and asks.
    pods[0].seen = Seen::NotAsked;
    assert_eq!(plan_of(&pods).changes, []);
    // It does not know yet that it was called back.
    let closed = Some("drain-1".to_owned());
    pods[0].seen = Seen::Answered(Report { shed: closed, ..Report::of_a_good_pod(5) });
    let waiting = plan_of(&pods);
    assert_eq!((waiting.changes, waiting.is_waiting), (vec![], true));
}

#[test]
fn pods_of_a_node_that_is_taken_out_of_service_get_no_clients_and_go_first() {
    let on_the_node = |name, clients| PodFacts { leaving: true, ..facts(name, clients) };
    let accepts = |plan: Plan| {
        plan.changes.into_iter().map(|(name, stance)| (name, stance.accepts)).collect::<Vec<_>>()
    };
    let mut pods = [on_the_node("a", 40), on_the_node("b", 9), facts("c", 5)];
    let away = [("a".to_owned(), false), ("b".to_owned(), false)];
    assert_eq!(accepts(plan(&look(&pods, 3), want(3))), away);
    // Nobody else has room, and nobody else is there.
    pods[2] = facts("c", CAPACITY);
    assert_eq!(accepts(plan(&look(&pods, 3), want(3))), [("c".to_owned(), false)]);
    assert_eq!(accepts(plan(&look(&pods[..2], 2), want(2))), []);
    // Others have room, and the Service does not lead to them, in the middle of a rollout.
    let mut old = facts("c", 5);
    old.view.template = Some("before".to_owned());
    pods[2] = old;
    let pinned = Observed { is_rolling: true, is_pinned: true, ..look(&pods, 3) };
    assert_eq!(accepts(plan(&pinned, want(3))), []);
    // The emptiest of those whose clients have to go anyway.
    pods[2] = facts("c", 5);
    let plan_of = |wanted| plan(&look(&pods, 3), wanted);
    let drains = |plan: Plan| {
        let marked = |(name, stance): (String, Stance)| stance.shed.map(|_| name);
        plan.changes.into_iter().filter_map(marked).collect::<Vec<_>>()
    };
    assert_eq!(drains(plan_of(want(2))), ["b"]);
    let auto = Wanted { rebalance: rebalance(RebalanceMode::Auto), ..want(3) };
    assert_eq!(plan_of(auto).stage, Stage::Settled, "evictions move them");
    pods.iter_mut().for_each(|pod| pod.leaving = false);
    assert!(matches!(plan(&look(&pods, 3), auto).stage, Stage::Rebalancing(_)));
}

#[rstest]
fn after_a_rise_clients_spread_without_a_swing_and_each_is_moved_once(
    #[values(Balancer::Random, Balancer::LeastConnections)] balancer: Balancer,
    #[values((3, 5, 2_000), (2, 4, 1_600), (100, 130, 20_000), (800, 1_000, 40_000))] size: (
        i32,
        i32,
        usize,
    ),
    #[values(1, 2)] seed: u64,
) {
    let (from, to, clients) = size;
    let mut cluster = Cluster::new(from, clients, balancer, RebalanceMode::Auto, seed);
    cluster.moved.fill(0);
    cluster.wanted.replicas = to;
    let to_move = clients as i64 / 100 + 60;
    cluster.run(3 * to_move);
    // By chance somebody may be above the mean once more.
    let is_done =
        |cluster: &Cluster| cluster.stages.iter().rev().take(60).all(|it| *it == Stage::Settled);
    while !is_done(&cluster) {
        assert!(cluster.now < 20_000, "a swing");
        cluster.run(2);
    }
    let after = cluster.moved.clone();
    cluster.check_rest();
    let mean = clients / usize::try_from(to).unwrap();
    let counts = cluster.counts();
    let limit = (mean + 1) * 120 / 100 + 3 * (mean + 1).isqrt();
    assert!(*counts.last().unwrap() <= limit, "{counts:?}");
    // Whoever balances at random makes pods above the mean of its own.
    let twice = after.iter().filter(|times| **times > 1).count();
    assert!(twice * 50 <= clients, "{twice} of {clients} were moved again");
    cluster.run(600);
    assert_eq!(after, cluster.moved, "nobody is moved any more");
}

#[rstest]
fn after_the_death_of_a_pod_clients_are_spread_once_and_those_who_move_stay(
    #[values(Balancer::Random, Balancer::LeastConnections)] balancer: Balancer,
    #[values((4, 2_000), (8, 4_000), (40, 20_000))] size: (i32, usize),
    #[values(1, 2, 3, 4, 5, 6, 7, 8)] seed: u64,
) {
    let (pods, clients) = size;
    let mut cluster = Cluster::new(pods, clients, Balancer::Random, RebalanceMode::Auto, seed);
    cluster.balancer = balancer;
    cluster.run(60);
    cluster.moved.fill(0);
    cluster.stages.clear();
    cluster.kill(0);
    cluster.run(1_000);
    cluster.check_rest();
    let begins = cluster.stages.chunk_by(|a, b| a.word() == b.word());
    let times = begins.filter(|run| matches!(run[0], Stage::Rebalancing(_))).count();
    let most = cluster.moved.iter().max().copied().unwrap_or_default();
    assert!(times <= 1 && most <= 1, "{times} times, {most} for one: {:?}", cluster.counts());
}

#[rstest]
#[case::too_few([19, 0, 0], RebalanceMode::Auto, false, false)]
#[case::enough([50, 0, 0], RebalanceMode::Auto, false, true)]
#[case::by_chance([440, 310, 310], RebalanceMode::Auto, false, false)]
#[case::within_tolerance([360, 300, 300], RebalanceMode::Auto, false, false)]
#[case::beyond([500, 300, 300], RebalanceMode::Auto, false, true)]
#[case::off([600, 300, 0], RebalanceMode::Off, true, false)]
#[case::by_hand_only([600, 300, 0], RebalanceMode::Manual, false, false)]
#[case::by_hand([600, 300, 0], RebalanceMode::Manual, true, true)]
#[case::nobody([0, 0, 0], RebalanceMode::Auto, false, false)]
#[case::all_full([1_000, 1_000, 1_000], RebalanceMode::Auto, false, false)]
fn clients_are_spread_only_where_it_is_worth_it(
    #[case] counts: [u32; 3],
    #[case] mode: RebalanceMode,
    #[case] is_asked: bool,
    #[case] moves: bool,
) {
    let pods = [facts("a", counts[0]), facts("b", counts[1]), facts("c", counts[2])];
    let wanted = Wanted { rebalance: rebalance(mode), is_asked, ..want(3) };
    let plan = plan(&look(&pods, 3), wanted);
    assert_eq!(matches!(plan.stage, Stage::Rebalancing(_)), moves, "{plan:?}");
    assert_eq!(
        plan.is_answered,
        mode == RebalanceMode::Auto || is_asked && mode != RebalanceMode::Off
    );
}

#[test]
fn a_pod_below_a_mean_that_has_grown_meanwhile_serves_everybody_again() {
    let mut marked = facts("a", 90);
    marked.view.shed = Some(instruct(ShedReason::Rebalance, 1_000, (50, 40), 40, 60));
    let wanted = Wanted { rebalance: rebalance(RebalanceMode::Auto), ..want(2) };
    let changes = |other| plan(&look(&[marked.clone(), facts("b", other)], 2), wanted).changes;
    assert!(changes(20).iter().all(|(_, stance)| stance.shed.is_some()));
    assert_eq!(changes(400), [("a".to_owned(), Stance { accepts: true, shed: None })]);
}

#[test]
fn one_rebalance_follows_another_only_after_a_while_and_none_while_a_pod_says_nothing() {
    let wanted = Wanted { rebalance: rebalance(RebalanceMode::Auto), ..want(2) };
    let mut pods = [facts("a", 400), facts("b", 0)];
    let begins = |pods: &[PodFacts], since_rebalance| {
        let plan = plan(&Observed { since_rebalance, ..look(pods, 2) }, wanted);
        matches!(plan.stage, Stage::Rebalancing(_))
    };
    assert!(!begins(&pods, Some(REST - 1)) && begins(&pods, Some(REST)) && begins(&pods, None));
    pods[1].seen = Seen::Silent;
    assert!(!begins(&pods, None));
    // Called off by a pod too many.
    let mut marked = facts("a", 400);
    marked.view.shed = Some(instruct(ShedReason::Rebalance, 1_000, (200, 200), 200, 60));
    let pods = [marked, facts("b", 0)];
    let plan = plan(&look(&pods, 2), Wanted { replicas: 1, ..wanted });
    assert!(plan.changes.iter().any(|(name, stance)| name == "a" && stance.shed.is_none()));
    assert!(matches!(plan.stage, Stage::Shrinking(_)));
}

const REST: i64 = 60;
