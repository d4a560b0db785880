//! Whether the pods verify tokens with the keys of now (pure): KeysReady.

use super::Verdict;
use super::judge::{Facts, named};
use crate::fleet::{Keys, PodFacts, Seen};

/// KeysReady, where clients show tokens; `None` if nothing new is known.
pub(super) fn verdict(facts: &Facts<'_>) -> Option<Verdict> {
    let pods: Vec<&PodFacts> = facts.pods.iter().filter(|pod| pod.takes_clients()).collect();
    // Those that have just started to fetch their keys have neither some nor a problem.
    let reporting = pods
        .iter()
        .filter(|pod| keys(pod).is_some_and(|keys| !keys.is_empty || keys.problem.is_some()));
    let failing: Vec<&PodFacts> =
        pods.iter().copied().filter(|pod| problem(pod).is_some()).collect();
    let of = format!("{} of {} pods", failing.len(), pods.len());
    if let Some(empty) = failing.iter().find(|pod| keys(pod).is_some_and(|keys| keys.is_empty)) {
        let why = named(&failing, |pod| problem(pod).unwrap_or_default().to_owned());
        return Some(Verdict::no(
            "KeysMissing",
            format!(
                "{of} cannot read or fetch keys, and some, such as {}, have none at all and answer tokens with 503: correct \
                 what auth.jwt.keys and auth.jwt.jwks name; {why}",
                empty.view.name
            ),
        ));
    }
    if !failing.is_empty() {
        let why = named(&failing, |pod| problem(pod).unwrap_or_default().to_owned());
        return Some(Verdict::no(
            "KeysOutdated",
            format!(
                "{of} cannot read or fetch keys, and verify tokens with the last good ones, so that a rotation has no effect: \
                 correct what auth.jwt.keys and auth.jwt.jwks name; {why}"
            ),
        ));
    }
    match (reporting.count(), pods.iter().any(|pod| pod.seen == Seen::NotAsked)) {
        // The others are about to be asked.
        (_, true) => None,
        (0, false) => Some(Verdict::unknown(
            "KeysUnknown",
            "no pod that takes clients says which keys it has: they start, do not answer the operator, or are from before auth",
        )),
        (count, false) => {
            let all = pods.len();
            let message = format!("{count} of {all} pods verify tokens with the keys of now");
            Some(Verdict::yes("KeysCurrent", message))
        }
    }
}

fn keys(pod: &PodFacts) -> Option<&Keys> {
    pod.report()?.keys.as_ref()
}

fn problem(pod: &PodFacts) -> Option<&str> {
    keys(pod)?.problem.as_deref()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use rstest::rstest;

    use super::*;
    use crate::fleet::{PodView, Report};
    use crate::metrics_api::Registered;

    fn seen(keys: Option<Keys>) -> Seen {
        Seen::Answered(Report { keys, ..Report::of_a_good_pod(1) })
    }

    fn good() -> Seen {
        seen(Some(Keys { is_empty: false, problem: None }))
    }

    fn failing(is_empty: bool) -> Seen {
        seen(Some(Keys { is_empty, problem: Some("https://issuer: the answer is 500".into()) }))
    }

    fn said(pods: impl IntoIterator<Item = Seen>) -> Option<Verdict> {
        let pods: Vec<PodFacts> = pods
            .into_iter()
            .zip('a'..)
            .map(|(seen, name)| {
                let view = PodView { name: name.into(), ready: true, ..PodView::default() };
                PodFacts { view, seen, full: false, leaving: false }
            })
            .collect();
        verdict(&Facts {
            deployment: None,
            wanted: 2,
            pods: &pods,
            halted: None,
            rollout: None,
            moves: None,
            metric: Registered::Off,
            now: Timestamp::UNIX_EPOCH,
        })
    }

    #[rstest]
    #[case::all_good([good(), good()], Some("KeysCurrent"))]
    #[case::one_fails([good(), failing(false)], Some("KeysOutdated"))]
    #[case::one_has_none([failing(true), failing(false)], Some("KeysMissing"))]
    #[case::a_failure_is_said_before_all_are_asked([failing(false), Seen::NotAsked], Some("KeysOutdated"))]
    #[case::not_asked([good(), Seen::NotAsked], None)]
    #[case::one_silent([good(), Seen::Silent], Some("KeysCurrent"))]
    #[case::all_silent([Seen::Silent, Seen::Silent], Some("KeysUnknown"))]
    #[case::from_before_auth([seen(None), Seen::Silent], Some("KeysUnknown"))]
    #[case::fetching([seen(Some(Keys { is_empty: true, problem: None })), Seen::Silent], Some("KeysUnknown"))]
    fn keys_are_what_most_trouble_any_pod_has(
        #[case] pods: [Seen; 2],
        #[case] reason: Option<&str>,
    ) {
        let said = said(pods);
        assert_eq!(said.as_ref().map(|verdict| verdict.reason), reason, "{said:?}");
    }

    #[test]
    fn a_message_counts_the_pods_names_some_and_says_what_to_do() {
        let verdict = said([good(), failing(false), failing(false)]).unwrap();
        for words in ["2 of 3 pods", "pod b: https://issuer: the answer is 500", "correct what"] {
            assert!(verdict.message.contains(words), "{verdict:?}");
        }
        assert!(!verdict.is_planned && !verdict.is_unknown);
        let unknown = said([]).unwrap();
        assert!(unknown.is_unknown && unknown.is_planned, "no pods: {unknown:?}");
    }
}
