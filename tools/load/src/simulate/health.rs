//! What a gateway says of itself at `/health`.

use serde::Deserialize;

/// Warnings and errors that are kept of an answer, and characters of each.
const MOST_TEXTS: usize = 8;
const MOST_CHARS: usize = 120;

/// How a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Healthy,
    /// It serves, and warns.
    Degraded,
    /// It reports an error.
    Unhealthy,
    /// It did not answer, or what it answered is no health.
    Silent,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// In one word.
    pub verdict: Verdict,
    /// Its warnings and errors.
    pub texts: Vec<String>,
}

/// Why an answer is no health.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HealthError {
    /// Another page.
    #[error("it answers {0}")]
    Status(u16),
    /// No HTTP.
    #[error("the answer is not HTTP")]
    Http,
    /// No such JSON.
    #[error("the answer is not the health of a gateway: it needs status and healthy")]
    Other,
}

#[derive(Deserialize)]
struct Body {
    status: String,
    healthy: bool,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    errors: Vec<String>,
}

impl Health {
    /// Reads an answer of HTTP/1.1, whatever the framing of its body: the body is one JSON object.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(answer: &str) -> Result<Self, HealthError> {
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(HealthError::Http)?;
        let mut words = head.split(' ');
        let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
        let status = words.next().and_then(|word| word.get(..3)?.parse().ok());
        let status: u16 = status.filter(|_| is_http).ok_or(HealthError::Http)?;
        // 503 is how a gateway says that it is unhealthy.
        if !matches!(status, 200 | 503) {
            return Err(HealthError::Status(status));
        }
        let json = body.find('{').zip(body.rfind('}')).and_then(|(from, to)| body.get(from..=to));
        let body: Option<Body> = json.and_then(|json| serde_json::from_str(json).ok());
        let Some(body) = body else {
            return Err(if status == 200 {
                HealthError::Other
            } else {
                HealthError::Status(status)
            });
        };
        let warns = !body.warnings.is_empty() || body.status != "healthy";
        let verdict = match (body.healthy && body.errors.is_empty() && status == 200, warns) {
            (false, _) => Verdict::Unhealthy,
            (true, true) => Verdict::Degraded,
            (true, false) => Verdict::Healthy,
        };
        let texts = body.errors.iter().chain(&body.warnings).take(MOST_TEXTS).map(|text| cut(text));
        Ok(Self { verdict, texts: texts.collect() })
    }
}

fn cut(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, body: &str) -> Result<Verdict, HealthError> {
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n\r\n{body}");
        Health::parse(&answer).map(|health| health.verdict)
    }

    #[test]
    fn a_gateway_is_well_warns_or_fails() {
        let well = r#"{"status":"healthy","healthy":true,"checks":{},"warnings":[],"errors":[]}"#;
        assert_eq!(verdict(200, well), Ok(Verdict::Healthy));
        let warns =
            r#"{"status":"degraded","healthy":true,"warnings":["cpu at 95 %"],"errors":[]}"#;
        assert_eq!(verdict(200, warns), Ok(Verdict::Degraded));
        let fails = r#"{"status":"unhealthy","healthy":false,"errors":["draining"]}"#;
        assert_eq!(verdict(503, fails), Ok(Verdict::Unhealthy));
        let chunked = format!("5c\r\n{well}\r\n0\r\n\r\n");
        assert_eq!(verdict(200, &chunked), Ok(Verdict::Healthy));
    }

    #[test]
    fn an_answer_that_contradicts_itself_is_taken_at_its_worst() {
        let lies = r#"{"status":"healthy","healthy":true,"warnings":["cpu at 95 %"]}"#;
        assert_eq!(verdict(200, lies), Ok(Verdict::Degraded));
        assert_eq!(verdict(503, lies), Ok(Verdict::Unhealthy));
        let lies = r#"{"status":"healthy","healthy":true,"errors":["x"]}"#;
        assert_eq!(verdict(200, lies), Ok(Verdict::Unhealthy));
    }

    #[test]
    fn other_pages_are_no_health() {
        for body in ["", "ok", "{}", "}{", "[]", r#"{"status":1,"healthy":true}"#] {
            assert_eq!(verdict(200, body), Err(HealthError::Other), "{body}");
        }
        assert_eq!(verdict(404, "{}"), Err(HealthError::Status(404)));
        assert_eq!(verdict(503, "busy"), Err(HealthError::Status(503)));
        for answer in ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 20\u{e9}\r\n\r\n{}"] {
            assert_eq!(Health::parse(answer), Err(HealthError::Http), "{answer}");
        }
    }

    #[test]
    fn what_a_target_says_is_cut_and_commands_no_terminal() {
        let texts = vec![format!("\u{1b}[2J{}", "x".repeat(10_000)); 1_000];
        let body = serde_json::json!({ "status": "degraded", "healthy": true, "warnings": texts });
        let health = Health::parse(&format!("HTTP/1.1 200 OK\r\n\r\n{body}")).unwrap();
        assert_eq!(health.texts.len(), MOST_TEXTS);
        assert!(health.texts.iter().all(|text| text.chars().count() == MOST_CHARS));
        assert!(!health.texts.concat().contains('\u{1b}'));
    }
}
