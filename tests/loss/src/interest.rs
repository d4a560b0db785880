//! Who listens to what: the channels of a run, and the patterns of each client.
//!
//! Pure: the same number gives the same patterns in every run.

/// Channels whose names begin with the same token.
const GROUP: usize = 20;

/// Every so many clients one listens to everything. It gets a hundred times as much as the others.
const ALL_EVERY: usize = 100;

/// The names of so many channels: `g00.s00`, `g00.s01`, ...
pub fn channels(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("g{:02}.s{:02}", index / GROUP, index % GROUP)).collect()
}

/// The patterns of a client: everything, a few channels by name, a pattern beside names, or patterns that overlap.
pub fn patterns(client: usize, channels: &[String]) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(client as u64);
    let mut name = || channels[random.usize(..channels.len())].clone();
    if client % ALL_EVERY == ALL_EVERY / 2 {
        return vec![">".to_owned()];
    }
    match client % 10 {
        0..=5 => {
            let mut names: Vec<String> = (0..8).map(|_| name()).collect();
            names.sort();
            names.dedup();
            names
        }
        6 | 7 => vec![format!("{}.*", first(&name())), name(), name()],
        _ => {
            let name = name();
            let (first, second) = name.split_once('.').unwrap_or((&name, "*"));
            vec![format!("{first}.*"), format!("*.{second}"), name.clone()]
        }
    }
}

fn first(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Whether a pattern with the wildcards of NATS covers a channel. Not the gateway's own code, on purpose.
pub fn covers(pattern: &str, channel: &str) -> bool {
    let mut tokens = channel.split('.');
    for want in pattern.split('.') {
        match (want, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (want, Some(token)) if want == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// The numbers of all channels that the patterns cover, rising.
pub fn covered(patterns: &[String], channels: &[String]) -> Vec<u16> {
    let wanted = |channel: &String| patterns.iter().any(|pattern| covers(pattern, channel));
    (0..).zip(channels).filter(|(_, channel)| wanted(channel)).map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_nats_says_they_do() {
        for (pattern, channel, want) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a", "a.b", false),
            ("a.b.c", "a.b", false),
            ("a.*", "a.b", true),
            ("*.b", "a.b", true),
            ("*.b", "a.c", false),
            ("*", "a.b", false),
            (">", "a.b", true),
            ("a.>", "a.b", true),
            ("a.b.>", "a.b", false),
        ] {
            assert_eq!(covers(pattern, channel), want, "{pattern} {channel}");
        }
    }

    #[test]
    fn interests_are_mixed_and_every_channel_is_heard() {
        let channels = channels(1_000);
        assert_eq!((channels[0].as_str(), channels[999].as_str()), ("g00.s00", "g49.s19"));
        let mut heard = vec![0; channels.len()];
        let mut all = 0;
        for client in 0..1_000 {
            let patterns = patterns(client, &channels);
            let covered = covered(&patterns, &channels);
            assert!(!covered.is_empty(), "{patterns:?}");
            all += usize::from(covered.len() == channels.len());
            covered.iter().for_each(|number| heard[usize::from(*number)] += 1);
        }
        assert_eq!(all, 10);
        assert!(heard.iter().all(|clients| *clients >= 10));
    }
}
