//! Steps in a cluster that is a model: controllers and kubelets act in any order, and clients connect where the Service
//! leads them.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use rstest::rstest;

use super::*;
use crate::fleet::{PodView, Report, Seen};

const CAPACITY: u32 = 40;

fn report(connections: u32) -> Report {
    Report { capacity: CAPACITY, ..Report::of_a_good_pod(connections) }
}

fn pod(name: &str, template: &str, ready: bool, connections: u32) -> PodFacts {
    let view = PodView {
        name: name.to_owned(),
        template: Some(template.to_owned()).filter(|template| !template.is_empty()),
        ready,
        address: Some([127, 0, 0, 1].into()),
        ..PodView::default()
    };
    PodFacts { view, seen: Seen::Answered(report(connections)), full: false, leaving: false }
}

fn set(template: &str, replicas: i32, owner: Owner) -> Set {
    let template = Some(template.to_owned()).filter(|template| !template.is_empty());
    let name = format!("set-{}", template.as_deref().unwrap_or("unlabelled"));
    Set { uid: name.clone(), name, template, replicas, owner }
}

fn running(template: &str) -> Current {
    Current { template: Some(template.to_owned()), is_observed: true, ..Current::default() }
}

fn wanted(template: &str, replicas: i32) -> Wanted<'_> {
    Wanted { template, replicas, per_minute: 600, may_begin: true, trial: Trial::Passed }
}

/// One of the random things that happen to a cluster.
struct Cluster {
    deployment: Current,
    replicas: i32,
    sets: Vec<Set>,
    pods: Vec<PodFacts>,
    pinned: Option<String>,
    /// Where each client is, and how often it had to go elsewhere.
    clients: Vec<(String, u32)>,
    /// Templates whose pods never become ready.
    broken: &'static str,
    /// Pods that the nodes have place for.
    places: usize,
    names: u32,
    random: fastrand::Rng,
    /// Clients that came to a pod of another template while the Service was limited to one.
    strayed: u32,
    trial: Trial,
}

impl Cluster {
    /// At rest, with pods of a template.
    fn new(template: &str, replicas: i32, clients: usize, seed: u64) -> Self {
        let mut cluster = Self {
            deployment: Current {
                template: Some(template.to_owned()).filter(|template| !template.is_empty()),
                is_observed: true,
                ..Current::default()
            },
            replicas,
            sets: vec![set(template, replicas, Owner::Deployment)],
            pods: Vec::new(),
            pinned: None,
            clients: Vec::new(),
            broken: "",
            places: 1_000,
            names: 0,
            random: fastrand::Rng::with_seed(seed),
            strayed: 0,
            trial: Trial::Passed,
        };
        cluster.scale_pods();
        for pod in &mut cluster.pods {
            pod.view.ready = true;
        }
        for _ in 0..clients {
            let name = cluster.endpoint().expect("a pod takes clients");
            cluster.clients.push((name, 0));
        }
        cluster.count();
        cluster
    }

    /// A pod that the Service leads to.
    fn endpoint(&mut self) -> Option<String> {
        let pinned = self.pinned.clone();
        let takes = self
            .pods
            .iter()
            .filter(|pod| pod.takes_clients() && (pinned.is_none() || pod.view.template == pinned));
        let names: Vec<String> = takes.map(|pod| pod.view.name.clone()).collect();
        self.random.choice(names)
    }

    /// What pods answer.
    fn count(&mut self) {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for (pod, _) in &self.clients {
            *counts.entry(pod).or_default() += 1;
        }
        for pod in &mut self.pods {
            let clients = counts.get(pod.view.name.as_str()).copied().unwrap_or_default();
            pod.seen = Seen::Answered(report(clients));
        }
    }

    /// The Deployment's controller.
    fn control(&mut self) {
        self.deployment.is_observed = true;
        let template = self.deployment.template.clone();
        if self.deployment.paused {
            return;
        }
        let replicas = self.replicas;
        let own = |set: &Set| set.owner == Owner::Deployment;
        match self.sets.iter_mut().find(|set| own(set) && set.template == template) {
            Some(set) => set.replicas = replicas,
            None => {
                let template = template.as_deref().unwrap_or_default();
                assert!(self.sets.iter().all(|set| set.template.as_deref() != Some(template)));
                self.sets.push(set(template, replicas, Owner::Deployment));
            }
        }
        let others = self.sets.iter().filter(|set| own(set) && set.template != template);
        assert!(
            others.map(|set| set.replicas).sum::<i32>() == 0,
            "Kubernetes would end their pods"
        );
    }

    /// The controller of ReplicaSets.
    fn scale_pods(&mut self) {
        for set in self.sets.clone() {
            let of_set =
                |pod: &&mut PodFacts| pod.view.template == set.template && !pod.view.terminating;
            let count = self.pods.iter_mut().filter(of_set).count();
            let wanted = usize::try_from(set.replicas).unwrap();
            for _ in count..wanted {
                self.names += 1;
                let name = format!("pod-{}", self.names);
                self.pods.push(pod(&name, set.template.as_deref().unwrap_or_default(), false, 0));
            }
            // Those that are not ready first.
            let mut left = count.saturating_sub(wanted);
            for ready in [false, true] {
                for pod in self.pods.iter_mut().filter(of_set).filter(|pod| pod.view.ready == ready)
                {
                    pod.view.terminating = left > 0;
                    left = left.saturating_sub(1);
                }
            }
        }
    }

    /// A kubelet: a pod starts, or its clients are told to go elsewhere, one of them or all that are left.
    fn run_pods(&mut self) {
        let placed = self.pods.len().min(self.places);
        for (number, pod) in self.pods.iter_mut().enumerate() {
            let crowded = number >= placed;
            pod.view.unschedulable = crowded.then(|| "no node has place".to_owned());
            let is_broken = pod.view.template.as_deref() == Some(self.broken);
            pod.view.ready |= !crowded && !is_broken && self.random.bool();
        }
        let ends = |pod: &&PodFacts| pod.view.terminating;
        let ending: Vec<String> =
            self.pods.iter().filter(ends).map(|pod| pod.view.name.clone()).collect();
        for name in ending {
            match self.clients.iter().position(|(pod, _)| *pod == name) {
                Some(client) => self.reconnect(client),
                None => self.pods.retain(|pod| pod.view.name != name),
            }
        }
    }

    fn reconnect(&mut self, client: usize) {
        let Some(name) = self.endpoint() else { return };
        let found = self.pods.iter().find(|pod| pod.view.name == name).expect("an endpoint");
        let is_newest = found.view.template == self.deployment.template;
        self.strayed += u32::from(self.pinned.is_some() && !is_newest);
        self.clients[client].0 = name;
        self.clients[client].1 += 1;
        self.count();
        let most = self.pods.iter().filter_map(PodFacts::report).map(|report| report.connections);
        assert!(most.max() <= Some(CAPACITY), "a pod has more clients than places");
    }

    /// The operator, which remembers nothing.
    fn operate(&mut self, template: &str, may_begin: bool) -> Plan {
        let observed = Observed {
            deployment: Some(self.deployment.clone()),
            sets: &self.sets,
            pods: Some(&self.pods),
            pinned: self.pinned.clone(),
            now: 0,
        };
        let (replicas, trial) = (self.replicas, self.trial);
        let wanted = Wanted { template, replicas, per_minute: 60, may_begin, trial };
        if !observed.needs_steps(template) {
            return plan(&Observed { sets: &[], ..observed }, wanted);
        }
        let plan = plan(&observed, wanted);
        self.pinned.clone_from(&plan.pin);
        if let Template::Apply { paused } = plan.template {
            let before = self.deployment.clone();
            self.deployment.template = Some(template.to_owned());
            self.deployment.paused = paused;
            self.deployment.is_observed &= self.deployment == before;
        }
        for (step, action) in &plan.sets {
            let found = self.sets.iter_mut().find(|set| set.uid == step.uid).expect("a set");
            match action {
                Action::Detach => found.owner = Owner::Gateway,
                Action::Attach => found.owner = Owner::Deployment,
                Action::Scale(replicas) => found.replicas = *replicas,
                Action::Delete => {
                    // The garbage collector's work.
                    let template = found.template.clone();
                    let pods = self.pods.iter_mut().filter(|pod| pod.view.template == template);
                    pods.for_each(|pod| pod.view.terminating = true);
                    self.sets.retain(|set| set.uid != step.uid);
                }
            }
        }
        plan
    }

    /// Something happens.
    fn turn(&mut self, template: &str) -> Stage {
        match self.random.u8(0..4) {
            0 => self.control(),
            1 => self.scale_pods(),
            2 => self.run_pods(),
            _ => return self.operate(template, true).stage,
        }
        self.count();
        Stage::Starting(Moves::default())
    }

    fn turns(&mut self, count: usize, template: &str) {
        for _ in 0..count {
            self.turn(template);
        }
    }

    fn settle(&mut self, template: &str) {
        for _ in 0..20_000 {
            if self.turn(template) == Stage::Settled && self.is_settled(template) {
                return;
            }
        }
        panic!("not settled: {:?} {:#?} {:?}", self.deployment, self.sets, self.pods);
    }

    fn is_settled(&self, template: &str) -> bool {
        let ready = self.pods.iter().filter(|pod| pod.takes_clients()).count();
        self.sets.len() == 1
            && !self.deployment.paused
            && self.pinned.is_none()
            && self.pods.len() == ready
            && self.pods.iter().all(|pod| pod.view.template.as_deref() == Some(template))
            && ready == usize::try_from(self.replicas).unwrap()
    }
}

#[rstest]
#[case::of_an_earlier_operator("")]
#[case::of_a_template_before("a")]
fn in_whatever_order_pods_become_ready_a_client_is_cut_once_and_lands_on_a_new_pod(
    #[case] before: &str,
) {
    for seed in 0..300 {
        let mut cluster = Cluster::new(before, 4, 60, seed);
        cluster.settle("b");
        let cuts: Vec<u32> = cluster.clients.iter().map(|(_, cuts)| *cuts).collect();
        assert!(cuts.iter().all(|cuts| *cuts == 1), "seed {seed}: {cuts:?}");
        assert_eq!(cluster.strayed, 0);
    }
}

#[test]
fn a_change_back_half_way_moves_only_those_who_were_moved() {
    for seed in 0..300 {
        let mut cluster = Cluster::new("a", 4, 60, seed);
        let steps = cluster.random.usize(0..400);
        cluster.turns(steps, "b");
        let moved: Vec<u32> = cluster.clients.iter().map(|(_, cuts)| *cuts).collect();
        cluster.settle("a");
        for ((_, cuts), before) in cluster.clients.iter().zip(moved) {
            assert!(*cuts <= 2 * before.max(1), "seed {seed}: {cuts} after {before}");
        }
    }
}

#[test]
fn a_third_template_half_way_moves_each_client_once_more_at_most() {
    for seed in 0..300 {
        let mut cluster = Cluster::new("a", 4, 60, seed);
        let steps = cluster.random.usize(0..400);
        cluster.turns(steps, "b");
        cluster.settle("c");
        assert!(cluster.clients.iter().all(|(_, cuts)| *cuts <= 2), "seed {seed}");
    }
}

#[test]
fn pods_that_never_become_ready_move_nobody_and_their_successors_replace_them() {
    for seed in 0..100 {
        let mut cluster = Cluster::new("a", 4, 60, seed);
        cluster.broken = "b";
        cluster.turns(2_000, "b");
        assert!(cluster.clients.iter().all(|(_, cuts)| *cuts == 0) && cluster.pinned.is_none());
        cluster.settle("c");
        assert!(cluster.clients.iter().all(|(_, cuts)| *cuts == 1));
    }
}

#[test]
fn a_cluster_without_place_for_twice_the_pods_replaces_them_all_the_same() {
    for seed in 0..100 {
        let mut cluster = Cluster::new("a", 4, 30, seed);
        cluster.places = 5;
        cluster.settle("b");
        assert!(cluster.clients.iter().all(|(_, cuts)| *cuts == 1), "seed {seed}");
    }
}

#[test]
fn a_fleet_is_scaled_while_it_is_replaced() {
    for seed in 0..100 {
        let mut cluster = Cluster::new("a", 4, 60, seed);
        let steps = cluster.random.usize(0..200);
        cluster.turns(steps, "b");
        cluster.replicas = cluster.random.i32(2..8);
        // As Kubernetes does in any Deployment that is not paused by a rollout.
        if !cluster.deployment.paused && cluster.deployment.template.as_deref() == Some("a") {
            cluster.control();
        }
        cluster.settle("b");
    }
}

#[test]
fn a_pod_goes_only_if_there_is_room_for_its_clients() {
    let sets = [set("b", 2, Owner::Deployment), set("a", 2, Owner::Gateway)];
    let pods = |free: u32| {
        let new = CAPACITY - free;
        [
            pod("n1", "b", true, new),
            pod("n2", "b", true, CAPACITY),
            pod("o1", "a", true, 12),
            pod("o2", "a", true, 1),
        ]
    };
    let stage = |free| {
        let pods = pods(free);
        let observed = Observed {
            deployment: Some(running("b")),
            sets: &sets,
            pods: Some(&pods),
            pinned: Some("b".to_owned()),
            now: 0,
        };
        let plan = plan(&observed, wanted("b", 2));
        (plan.stage, plan.sets)
    };
    let (blocked, steps) = stage(11);
    assert!(matches!(blocked, Stage::NoRoom { room: 11, needed: 12, .. }) && steps.is_empty());
    let (moving, steps) = stage(12);
    assert!(matches!(moving, Stage::Moving(moves) if moves.left == 13 && moves.old_pods == 2));
    assert_eq!(steps, [(sets[1].clone(), Action::Scale(1))]);
    assert_eq!(stage(13).1, [(sets[1].clone(), Action::Scale(0))], "both within ten seconds");
}

#[test]
fn the_next_pods_wait_for_those_that_hand_their_clients_over() {
    let sets = [set("b", 2, Owner::Deployment), set("a", 1, Owner::Gateway)];
    let mut pods = [
        pod("n1", "b", true, 0),
        pod("n2", "b", true, 0),
        pod("o1", "a", true, 9),
        pod("o2", "a", true, 9),
    ];
    let steps = |pods: &[PodFacts]| {
        let observed = Observed {
            deployment: Some(running("b")),
            sets: &sets,
            pods: Some(pods),
            pinned: Some("b".to_owned()),
            now: 0,
        };
        plan(&observed, wanted("b", 2)).sets
    };
    assert_eq!(steps(&pods), [], "its ReplicaSet has not chosen one yet");
    pods[2].view.terminating = true;
    assert_eq!(steps(&pods), []);
    pods[2].view.ready = false;
    assert_eq!(steps(&pods), []);
    pods[2].seen = Seen::Silent;
    assert_eq!(steps(&pods), [(sets[1].clone(), Action::Scale(0))], "it has ended, or its node");
}

#[rstest]
#[case::an_old_one("a", Some(9), None, true)]
#[case::a_new_one("b", Some(9), None, true)]
#[case::a_new_one_that_is_empty("b", Some(0), None, false)]
#[case::within_its_grace_period("b", Some(9), Some(80), true)]
#[case::held_by_somebody_long_after_it("b", Some(9), Some(60), false)]
#[case::on_a_node_that_is_down("b", None, None, false)]
fn no_pod_goes_while_somebody_else_ends_one_with_clients(
    #[case] template: &str,
    #[case] clients: Option<u32>,
    #[case] grace_ends: Option<i64>,
    #[case] waits: bool,
) {
    let sets = [set("b", 2, Owner::Deployment), set("a", 1, Owner::Gateway)];
    let mut evicted = pod("e", template, false, clients.unwrap_or_default());
    evicted.view.terminating = true;
    evicted.view.ends = grace_ends.map(|at| Timestamp::from_second(at).unwrap());
    evicted.seen = if clients.is_none() { Seen::Silent } else { evicted.seen };
    let pods = [pod("n1", "b", true, 0), pod("n2", "b", true, 0), pod("o1", "a", true, 9), evicted];
    let observed = Observed {
        deployment: Some(running("b")),
        sets: &sets,
        pods: Some(&pods),
        pinned: Some("b".to_owned()),
        now: 100,
    };
    let next = plan(&observed, wanted("b", 2)).sets;
    let goes = vec![(sets[1].clone(), Action::Scale(0))];
    assert_eq!(next, if waits { Vec::new() } else { goes });
    assert!(!observed.is_choosing());
    let chosen = [set("b", 2, Owner::Deployment), set("a", 0, Owner::Gateway)];
    assert!(Observed { sets: &chosen, ..observed }.is_choosing(), "before one is chosen");
}

#[test]
fn before_the_pods_are_known_no_set_is_touched() {
    let sets = [set("b", 2, Owner::Deployment), set("a", 0, Owner::Gateway)];
    let observed = Observed {
        deployment: Some(running("b")),
        sets: &sets,
        pods: None,
        pinned: Some("b".to_owned()),
        now: 0,
    };
    let plan = plan(&observed, wanted("b", 2));
    assert_eq!((plan.sets.len(), plan.pin.as_deref()), (0, Some("b")));
}

#[test]
fn without_a_ready_new_pod_the_old_ones_serve_again() {
    let sets = [set("b", 2, Owner::Deployment), set("a", 1, Owner::Gateway)];
    let pods = [pod("n1", "b", false, 0), pod("o1", "a", true, 9)];
    let observed = Observed {
        deployment: Some(running("b")),
        sets: &sets,
        pods: Some(&pods),
        pinned: Some("b".to_owned()),
        now: 0,
    };
    let plan = plan(&observed, wanted("b", 2));
    assert_eq!((plan.pin, plan.sets.len()), (None, 0));
}

#[test]
fn nobody_keeps_pods_when_none_are_wanted() {
    let mut cluster = Cluster::new("a", 3, 0, 7);
    cluster.turns(40, "b");
    cluster.replicas = 0;
    cluster.settle("b");
    assert!(cluster.pods.is_empty());
}

#[test]
fn one_that_waits_for_its_turn_keeps_its_template_and_ends_what_it_had_begun() {
    let mut cluster = Cluster::new("a", 3, 30, 3);
    let waiting = cluster.operate("b", false);
    assert_eq!((waiting.template, waiting.stage), (Template::Keep, Stage::WaitsForTurn));
    let mut cluster = Cluster::new("a", 3, 30, 3);
    while cluster.pinned.is_none() {
        cluster.turn("b");
    }
    for _ in 0..20_000 {
        match cluster.random.u8(0..4) {
            0 => cluster.control(),
            1 => cluster.scale_pods(),
            2 => cluster.run_pods(),
            _ => assert_eq!(cluster.operate("c", false).template, Template::Keep),
        }
        cluster.count();
    }
    assert!(cluster.is_settled("b"));
    assert_eq!(cluster.operate("c", false).stage, Stage::WaitsForTurn);
}

/// Two old pods with clients, which may go together, and what is planned for them after such a trial.
fn tried(trial: Trial, clients: u32) -> Plan {
    let sets = [set("b", 2, Owner::Deployment), set("a", 2, Owner::Gateway)];
    let pods = [
        pod("n1", "b", true, 0),
        pod("n2", "b", true, 0),
        pod("o1", "a", true, clients),
        pod("o2", "a", true, clients),
    ];
    let observed = Observed {
        deployment: Some(running("b")),
        sets: &sets,
        pods: Some(&pods),
        pinned: Some("b".to_owned()),
        now: 0,
    };
    plan(&observed, Wanted { trial, ..wanted("b", 2) })
}

#[rstest]
#[case::the_first_alone(Trial::Untested, 20, Some(1))]
#[case::too_few_to_learn_from(Trial::Untested, 4, Some(0))]
#[case::the_others_wait(Trial::Measuring, 20, None)]
#[case::both(Trial::Passed, 20, Some(0))]
#[case::nobody_else(Trial::Failed, 20, None)]
fn one_pod_goes_first_and_the_others_once_its_clients_are_back(
    #[case] trial: Trial,
    #[case] clients: u32,
    #[case] left: Option<i32>,
) {
    let plan = tried(trial, clients);
    let scaled = |(_, action): &(Set, Action)| match action {
        Action::Scale(left) => Some(*left),
        _ => None,
    };
    assert_eq!(plan.sets.iter().find_map(scaled), left);
    assert_eq!(plan.ends_pods(), left.is_some());
    assert_eq!(matches!(plan.stage, Stage::Halted(_)), trial == Trial::Failed);
    assert!(plan.stage.is_rolling(), "nothing else begins meanwhile");
    assert_eq!(plan.stage.is_moving(), trial != Trial::Failed);
}

#[test]
fn a_rollout_that_is_halted_moves_nobody_and_goes_on_from_there_or_back() {
    for seed in 0..100 {
        let mut cluster = Cluster::new("a", 4, 60, seed);
        while cluster.pods.iter().all(|pod| !pod.view.terminating) {
            cluster.turn("b");
        }
        cluster.trial = Trial::Failed;
        // Those of the pod that had been told to go.
        cluster.turns(1_000, "b");
        let cuts = |cluster: &Cluster| cluster.clients.iter().map(|(_, cuts)| *cuts).sum::<u32>();
        let moved = cuts(&cluster);
        cluster.turns(1_000, "b");
        assert_eq!(cuts(&cluster), moved, "seed {seed}");
        assert!(moved > 0 && moved <= 30, "seed {seed}: {moved} of 60");
        let old = cluster.pods.iter().filter(|pod| pod.view.template.as_deref() == Some("a"));
        assert!(old.clone().count() >= 2 && old.clone().all(PodFacts::takes_clients));
        assert!(matches!(cluster.operate("b", true).stage, Stage::Halted(_)));
        cluster.trial = Trial::Passed;
        if seed % 2 == 0 {
            cluster.settle("b");
            assert!(cluster.clients.iter().all(|(_, cuts)| *cuts == 1), "seed {seed}");
        } else {
            cluster.settle("a");
            assert_eq!(cuts(&cluster), 2 * moved, "seed {seed}: those who had been moved");
        }
    }
}
