//! What a gateway answers on its admin port at /status. Whoever has the pod's address may answer: texts are cut, unknown
//! states are no states.

use serde::Deserialize;

use crate::text::cut;

/// Longest message of a gateway that is shown.
const LONGEST_ERROR: usize = 200;
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
    source: SourceAnswer,
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
            config_problem: answer.config_problem.and_then(|problem| shown(problem, LONGEST_ERROR)),
            source: answer.source.state,
            lag_messages: answer.source.lag_messages,
            error: answer.source.error.and_then(|error| shown(error, LONGEST_ERROR)),
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_another_version_or_of_a_stranger_is_read_with_care() {
        let answer = r#"{"connections":3,"capacity":10,"new":{},"configHash":"abc","liveHash":"def",
            "configProblem":null,"source":{"state":"live","stream":"S","epoch":"e","lastSequence":4,"lagMessages":7}}"#;
        let report = Report::parse(answer.as_bytes()).unwrap();
        assert!(report.is_live());
        assert_eq!((report.lag_messages, report.config_hash.as_deref()), (7, Some("abc")));
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
