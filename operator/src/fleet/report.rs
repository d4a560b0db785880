//! What a gateway answers on its admin port at /status. Whoever has the pod's address may answer: texts are cut, unknown
//! states are no states.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::activity::Activity;
use crate::text::cut;

/// Longest message of a gateway that is shown.
const LONGEST_ERROR: usize = 200;
/// Bounds of times away that are kept.
const MOST_BOUNDS: usize = 16;
/// A hash is 16 hexadecimal digits today.
const LONGEST_HASH: usize = 64;

/// A gateway's account of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) connections: u32,
    pub(crate) capacity: u32,
    pub(crate) draining: bool,
    pub(crate) config_hash: Option<String>,
    /// Of the live part that runs; gateways before it was told apart have none.
    pub(crate) live_hash: Option<String>,
    /// Why the files are not what runs.
    pub(crate) config_problem: Option<String>,
    pub(crate) source: Source,
    pub(crate) lag_messages: u64,
    /// Why the source is not live.
    pub(crate) error: Option<String>,
    /// Keys that it verifies tokens with; gateways that ask for none, or are from before `auth`, say nothing.
    pub(crate) keys: Option<Keys>,
    /// CPU use in percent of what the pod may use; gateways of before say nothing.
    pub(crate) cpu_percent: Option<u32>,
    /// The instruction in force by which it takes no clients any more.
    pub(crate) shed: Option<String>,
    pub(crate) activity: Activity,
    /// Since its process started.
    pub(crate) tally: Box<Tally>,
}

/// Keys that a gateway verifies tokens with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    /// Whether it has any.
    pub(crate) is_empty: bool,
    /// Why some are not those that their file or address has now: the first reason.
    pub(crate) problem: Option<String>,
}

/// What became of clients that a gateway sent away, and of those that resumed at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) sent_away: u64,
    pub(crate) recovered: u64,
    pub(crate) with_gap: u64,
    /// Clients that it turned away though it should not have to.
    pub(crate) refused: u64,
    /// Clients that resumed, by how long they had been away at most (ms); without a bound the key is the largest number.
    pub(crate) away: BTreeMap<i64, u64>,
}

impl Tally {
    /// What was added since an earlier answer of the same gateway; all of it if that process has been replaced.
    pub(crate) fn since(&self, before: &Self) -> Self {
        if self.sent_away < before.sent_away || self.recovered < before.recovered {
            return self.clone();
        }
        let away = self.away.iter().map(|(bound, count)| {
            let earlier = before.away.get(bound).copied().unwrap_or_default();
            (*bound, count.saturating_sub(earlier))
        });
        Self {
            sent_away: self.sent_away - before.sent_away,
            recovered: self.recovered - before.recovered,
            with_gap: self.with_gap.saturating_sub(before.with_gap),
            refused: self.refused.saturating_sub(before.refused),
            away: away.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// Adds another one. Whoever answers on a pod's address may claim any number.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent_away = self.sent_away.saturating_add(other.sent_away);
        self.recovered = self.recovered.saturating_add(other.recovered);
        self.with_gap = self.with_gap.saturating_add(other.with_gap);
        self.refused = self.refused.saturating_add(other.refused);
        for (bound, count) in &other.away {
            let sum = self.away.entry(*bound).or_default();
            *sum = sum.saturating_add(*count);
        }
        while self.away.len() > MOST_BOUNDS {
            self.away.pop_first();
        }
    }

    /// How long 99 of 100 were away at most (ms), if anybody resumed.
    pub(crate) fn away_p99_ms(&self) -> Option<i64> {
        let all: u64 = self.away.values().fold(0, |sum, count| sum.saturating_add(*count));
        let mut left = all.saturating_sub(all / 100);
        self.away.iter().find_map(|(bound, count)| {
            left = left.saturating_sub(*count);
            (left == 0).then_some(*bound)
        })
    }
}

/// What a gateway's source does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    Connecting,
    Unauthorized,
    WaitingForStream,
    Warming,
    Live,
    Error,
    /// Of a gateway of another version.
    #[serde(other)]
    Unknown,
}

impl Source {
    /// As gateways write it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Unauthorized => "unauthorized",
            Self::WaitingForStream => "waiting_for_stream",
            Self::Warming => "warming",
            Self::Live => "live",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    connections: u32,
    capacity: u32,
    #[serde(default)]
    draining: bool,
    #[serde(default)]
    config_hash: Option<String>,
    #[serde(default)]
    live_hash: Option<String>,
    #[serde(default)]
    config_problem: Option<String>,
    #[serde(default)]
    unknown_keys: Vec<String>,
    source: SourceAnswer,
    #[serde(default)]
    tls: Option<TlsAnswer>,
    #[serde(default)]
    cpu_percent: Option<f64>,
    #[serde(default)]
    shed: Option<ShedAnswer>,
    #[serde(default)]
    auth: Option<AuthAnswer>,
    #[serde(default)]
    sent_away: u64,
    #[serde(default)]
    refused: u64,
    #[serde(default)]
    resumes: ResumesAnswer,
    #[serde(flatten)]
    activity: Activity,
}

#[derive(Deserialize)]
struct ShedAnswer {
    id: String,
    #[serde(default)]
    closed: bool,
}

#[derive(Deserialize)]
struct AuthAnswer {
    keys: u64,
    #[serde(default)]
    problems: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResumesAnswer {
    recovered: u64,
    with_gap: u64,
    away_ms: Vec<(Option<i64>, u64)>,
}

#[derive(Deserialize)]
struct TlsAnswer {
    #[serde(default)]
    problem: Option<String>,
}

/// What is to be done about a gateway from before `auth`, which is open to everybody, or from before `listener.tls`.
fn ignores(unknown_keys: &[String]) -> Option<String> {
    let ignored = [
        ("auth: ", "auth, and asks nobody for a token"),
        ("listener.tls: ", "listener.tls, and speaks without TLS"),
    ];
    let is_unknown = |field: &str| unknown_keys.iter().any(|key| key.starts_with(field));
    let (_, what) = ignored.into_iter().find(|(field, _)| is_unknown(field))?;
    Some(format!(
        "this version of the gateway knows no {what}: leave pod.image out, or name an image of the operator's version"
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceAnswer {
    state: Source,
    #[serde(default)]
    lag_messages: u64,
    #[serde(default)]
    error: Option<String>,
}

impl Report {
    /// Reads an answer.
    pub(super) fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        let answer: Answer = serde_json::from_slice(body)?;
        let shown = |text: String, most| Some(cut(&text, most)).filter(|text| !text.is_empty());
        Ok(Self {
            connections: answer.connections,
            capacity: answer.capacity,
            draining: answer.draining,
            config_hash: answer.config_hash.and_then(|hash| shown(hash, LONGEST_HASH)),
            live_hash: answer.live_hash.and_then(|hash| shown(hash, LONGEST_HASH)),
            config_problem: answer
                .config_problem
                .or_else(|| ignores(&answer.unknown_keys))
                .or_else(|| answer.tls.and_then(|tls| tls.problem))
                .and_then(|problem| shown(problem, LONGEST_ERROR)),
            source: answer.source.state,
            lag_messages: answer.source.lag_messages,
            error: answer.source.error.and_then(|error| shown(error, LONGEST_ERROR)),
            keys: answer.auth.map(|auth| Keys {
                is_empty: auth.keys == 0,
                problem: auth
                    .problems
                    .into_iter()
                    .find_map(|problem| shown(problem, LONGEST_ERROR)),
            }),
            // A share is at most the whole.
            cpu_percent: answer.cpu_percent.map(|percent| percent.clamp(0.0, 100.0) as u32),
            shed: answer
                .shed
                .filter(|shed| shed.closed)
                .and_then(|shed| shown(shed.id, LONGEST_HASH)),
            activity: answer.activity,
            tally: Box::new(Tally {
                refused: answer.refused,
                ..answer.resumes.tally(answer.sent_away)
            }),
        })
    }

    /// Whether new messages reach its clients.
    pub(crate) fn is_live(&self) -> bool {
        self.source == Source::Live && !self.draining
    }

    /// Whether it turns clients away. One that was full stays so until a twentieth of its places is free, so that the
    /// state does not follow every client who comes or goes.
    pub(super) fn is_full(&self, was_full: bool) -> bool {
        let (connections, capacity) = (u64::from(self.connections), u64::from(self.capacity));
        capacity > 0 && (connections >= capacity || (was_full && connections * 20 >= capacity * 19))
    }
}

impl ResumesAnswer {
    fn tally(self, sent_away: u64) -> Tally {
        let away = self.away_ms.into_iter().take(MOST_BOUNDS);
        let away = away.map(|(bound, count)| (bound.unwrap_or(i64::MAX), count)).collect();
        let (recovered, with_gap) = (self.recovered, self.with_gap);
        Tally { sent_away, recovered, with_gap, away, ..Tally::default() }
    }
}

#[cfg(test)]
impl Report {
    /// Of a pod for a hundred clients with nothing wrong.
    pub(crate) fn of_a_good_pod(connections: u32) -> Self {
        Self {
            connections,
            capacity: 100,
            draining: false,
            config_hash: None,
            live_hash: None,
            config_problem: None,
            source: Source::Live,
            lag_messages: 0,
            error: None,
            keys: None,
            cpu_percent: None,
            shed: None,
            activity: Activity::default(),
            tally: Box::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_another_version_or_of_a_stranger_is_read_with_care() {
        let answer = r#"{"connections":3,"capacity":10,"new":{},"configHash":"abc","liveHash":"def",
            "configProblem":null,"slowClients":2,"memoryBytes":9000,"source":{"state":"live","stream":"S","epoch":"e","lastSequence":4,"lagMessages":7}}"#;
        let report = Report::parse(answer.as_bytes()).unwrap();
        assert!(report.is_live());
        assert_eq!((report.lag_messages, report.config_hash.as_deref()), (7, Some("abc")));
        let activity = &report.activity;
        assert_eq!((activity.slow_clients, activity.memory_bytes), (Some(2), Some(9_000)));
        assert_eq!((report.live_hash.as_deref(), report.config_problem), (Some("def"), None));

        let long = "x".repeat(9_999);
        let hostile = format!(
            r#"{{"connections":1,"capacity":0,"configHash":"{long}","source":{{"state":"dancing","error":"a\nb{long}"}}}}"#
        );
        let report = Report::parse(hostile.as_bytes()).unwrap();
        assert_eq!(report.source, Source::Unknown);
        assert!(report.config_hash.unwrap().len() <= LONGEST_HASH);
        let error = report.error.unwrap();
        assert!(error.len() <= LONGEST_ERROR && !error.contains('\n'), "{error}");
        for bad in ["", "{}", "[]", r#"{"connections":-1,"capacity":1,"source":{"state":"live"}}"#]
        {
            assert!(Report::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_gateway_from_before_auth_that_is_given_some_has_a_problem() {
        let answer = |keys: &str| {
            let text = format!(
                r#"{{"connections":0,"capacity":1,"unknownKeys":[{keys}],"source":{{"state":"live"}}}}"#
            );
            Report::parse(text.as_bytes()).unwrap().config_problem
        };
        let problem = answer(r#""shiny: unknown field","auth: unknown field `auth`""#).unwrap();
        assert!(problem.contains("asks nobody for a token"), "{problem}");
        assert_eq!((answer(""), answer(r#""listener.authors: unknown""#)), (None, None));
    }

    #[test]
    fn a_gateway_that_speaks_without_tls_or_with_an_old_certificate_has_a_problem() {
        let answer = |fields: &str| {
            let text =
                format!(r#"{{"connections":0,"capacity":1,{fields},"source":{{"state":"live"}}}}"#);
            Report::parse(text.as_bytes()).unwrap().config_problem
        };
        let problem = answer(r#""unknownKeys":["listener.tls: unknown field `tls`"]"#).unwrap();
        assert!(problem.contains("speaks without TLS"), "{problem}");
        let problem = answer(r#""tls":{"notAfter":1,"problem":"no key"}"#);
        assert_eq!(problem.as_deref(), Some("no key"));
        assert_eq!(answer(r#""tls":{"notAfter":1,"problem":null}"#), None);
        assert_eq!(answer(r#""tls":null"#), None);
    }

    #[test]
    fn the_first_problem_with_keys_is_kept_and_gateways_without_tokens_have_none() {
        let keys = |auth: &str| {
            let text = format!(
                r#"{{"connections":0,"capacity":1,"auth":{auth},"source":{{"state":"live"}}}}"#
            );
            Report::parse(text.as_bytes()).unwrap().keys
        };
        let said = keys(r#"{"keys":0,"problems":["","/keys/a: no key\nat all","b"]}"#).unwrap();
        assert!(said.is_empty, "{said:?}");
        assert_eq!(said.problem.as_deref(), Some("/keys/a: no key at all"));
        assert_eq!(keys(r#"{"keys":2}"#), Some(Keys { is_empty: false, problem: None }));
        assert_eq!(keys("null"), None);
    }

    #[test]
    fn every_state_has_the_name_by_which_it_is_read() {
        for source in [
            Source::Connecting,
            Source::Unauthorized,
            Source::WaitingForStream,
            Source::Warming,
            Source::Live,
            Source::Error,
        ] {
            let text = format!("\"{}\"", source.as_str());
            assert_eq!(serde_json::from_str::<Source>(&text).unwrap(), source);
        }
    }

    #[test]
    fn a_pod_that_was_full_stays_so_until_there_is_some_room() {
        let report = Report::of_a_good_pod;
        assert!(report(100).is_full(false) && !report(99).is_full(false));
        assert!(report(95).is_full(true) && !report(94).is_full(true));
    }
}
