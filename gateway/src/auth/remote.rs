//! Keys that an issuer publishes (JWKS, RFC 7517): when they are fetched, and what is kept of the answers.
//!
//! Fetching itself is [`super::fetch`]. What must hold: an issuer that is down, slow or talks rubbish takes no key away, and
//! tokens with unknown names lead to few requests however many they are.

use std::time::{Duration, Instant};

use wsgateway_access::{Keys, Origin};
use wsgateway_config::Jwks;

/// Least time between two requests of a pod, whoever sends tokens with names that nobody knows.
const LEAST: Duration = Duration::from_secs(10);

/// The pods of a gateway meet a new key at the same moment: they ask for it spread over this time.
const SPREAD_MS: u64 = 1_000;

/// The keys at an address.
#[derive(Debug)]
pub(super) struct Remote {
    pub jwks: Jwks,
    /// The last answer with keys, and these.
    text: Vec<u8>,
    good: Option<Keys>,
    /// Why the last answer was none.
    problem: Option<String>,
    /// When the last request began.
    asked: Option<Instant>,
    /// When the next one is due, and when one is because of a token with an unknown name.
    next: Instant,
    wanted: Option<Instant>,
    failures: u32,
}

impl Remote {
    /// Keys that were not fetched yet.
    pub(super) fn new(jwks: &Jwks, now: Instant) -> Self {
        Self {
            jwks: jwks.clone(),
            text: Vec::new(),
            good: None,
            problem: None,
            asked: None,
            next: now,
            wanted: None,
            failures: 0,
        }
    }

    /// The last good keys.
    pub(super) fn good(&self) -> Option<&Keys> {
        self.good.as_ref()
    }

    /// What is wrong with the address.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.as_ref().map(|why| format!("{}: {why}", self.jwks.url))
    }

    /// Somebody has a token with a name that nobody knows.
    pub(super) fn want(&mut self, now: Instant) {
        let spread = Duration::from_millis(fastrand::u64(0..SPREAD_MS));
        self.wanted.get_or_insert(now + spread);
    }

    /// Whether to ask now; then the request has begun.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let may = self.asked.is_none_or(|asked| now >= asked + LEAST);
        let is_due = may && (now >= self.next || self.wanted.is_some_and(|at| now >= at));
        if is_due {
            (self.asked, self.wanted) = (Some(now), None);
        }
        is_due
    }

    /// Takes an answer; true if other keys are to be used.
    pub(super) fn end(&mut self, answer: Result<Vec<u8>, String>, now: Instant) -> bool {
        let refresh = Duration::from(self.jwks.refresh);
        let read = answer.and_then(|text| match text == self.text {
            true => Ok(None),
            false => Keys::read(&text, None, Origin::Url)
                .map(|keys| Some((text, keys)))
                .map_err(|error| error.to_string()),
        });
        let (wait, is_new) = match read {
            Ok(fresh) => {
                (self.problem, self.failures) = (None, 0);
                let is_new = fresh.is_some();
                if let Some((text, keys)) = fresh {
                    (self.text, self.good) = (text, Some(keys));
                }
                (refresh, is_new)
            }
            Err(why) => {
                if self.problem.as_ref() != Some(&why) {
                    let url = &self.jwks.url;
                    tracing::warn!(
                        url,
                        why,
                        "keys of tokens cannot be fetched: the last good ones are used"
                    );
                }
                self.problem = Some(why);
                let wait = LEAST * 2_u32.saturating_pow(self.failures.min(10));
                self.failures += 1;
                (wait.min(refresh), false)
            }
        };
        // Pods that began together do not ask together for ever.
        self.next = now + wait.mul_f64(0.9 + 0.1 * fastrand::f64());
        is_new
    }
}

#[cfg(test)]
mod tests {
    use wsgateway_config::Millis;

    use super::*;

    const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;

    fn remote(now: Instant) -> Remote {
        let refresh = Millis::from_secs(300);
        Remote::new(&Jwks { url: "https://issuer/keys".into(), ca_file: None, refresh }, now)
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn keys_are_asked_for_at_the_start_now_and_then_and_when_a_name_is_unknown_but_rarely() {
        let now = Instant::now();
        let mut remote = remote(now);
        assert!(remote.begin(now) && !remote.begin(now));
        assert!(remote.end(Ok(KEY.into()), now));
        assert!(!remote.begin(now + seconds(60)));
        for second in 60..70 {
            remote.want(now + seconds(second));
        }
        assert!(remote.begin(now + seconds(61)), "within a second");
        assert!(!remote.end(Ok(KEY.into()), now + seconds(61)), "the same keys");
        remote.want(now + seconds(62));
        assert!(!remote.begin(now + seconds(70)) && remote.begin(now + seconds(71)));
        remote.end(Ok(KEY.into()), now + seconds(71));
        assert!(!remote.begin(now + seconds(71 + 269)) && remote.begin(now + seconds(71 + 300)));
    }

    #[test]
    fn an_issuer_that_fails_takes_no_key_away_and_is_asked_less_and_less() {
        let now = Instant::now();
        let mut remote = remote(now);
        assert!(remote.begin(now) && remote.end(Ok(KEY.into()), now));
        let mut at = now + seconds(300);
        let mut waits = Vec::new();
        for bad in [
            Err("connection refused"),
            Ok("<html>"),
            Ok(r#"{"keys":[]}"#),
            Err("late"),
            Err("late"),
            Err("late"),
            Err("late"),
        ] {
            assert!(remote.begin(at));
            assert!(!remote.end(bad.map(Into::into).map_err(Into::into), at));
            assert!(remote.good().is_some() && remote.problem().is_some());
            waits.push(remote.next - at);
            at = remote.next.max(at + LEAST);
        }
        for (wait, most) in waits.iter().zip([10, 20, 40, 80, 160, 300, 300]) {
            assert!(*wait <= seconds(most) && *wait >= seconds(most).mul_f64(0.9), "{waits:?}");
        }
        assert!(remote.begin(at) && !remote.end(Ok(KEY.into()), at));
        assert_eq!(remote.problem(), None);
    }
}
