//! Reading the files of a gateway, also those that another version of the operator has written.

use super::GatewayConfig;
use crate::ConfigError;
use crate::yaml::Tree;

/// Keys that may be unknown before the file is taken for something else.
const MOST_UNKNOWN: usize = 32;

/// What every operator that writes a live part has written into it: the limit whose default would be another pod, and the end
/// of the file.
const ALWAYS_LIVE: [&str; 2] = ["capacity.connections", "log.level"];

/// A configuration as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What can run.
    pub config: GatewayConfig,
    /// Keys that were left out because this version does not know them, each with its path and what is known there.
    pub unknown: Vec<String>,
}

impl GatewayConfig {
    /// Reads and checks what a gateway is given: one file with everything, or one with the restart part and another with
    /// the live part, which is put over the first.
    ///
    /// # Errors
    /// [`ConfigError`] with the path of a field that cannot work. A key that is unknown is none, nor one that is missing: an
    /// operator that is newer or older than the gateway writes others. A live part without those that every operator writes is
    /// empty, cut off or something else, and would put defaults in the place of what was specified. And within `auth` a key that is
    /// unknown is an error: without it a rule could allow more than it says.
    pub fn load(file: &str, live: Option<&str>) -> Result<Loaded, ConfigError> {
        let mut tree = Tree::parse(file)?;
        if let Some(live) = live {
            tree.put_over(live_part(live)?);
        }
        let (config, unknown): (Self, Vec<String>) = tree.read_known(MOST_UNKNOWN)?;
        let narrows = |key: &&String| key.starts_with("auth.");
        if let Some((path, message)) =
            unknown.iter().find(narrows).and_then(|key| key.split_once(": "))
        {
            let (path, message) = (path.to_owned(), message.to_owned());
            return Err(ConfigError::Shape { path, message });
        }
        config.check()?;
        Ok(Loaded { config, unknown })
    }
}

fn live_part(text: &str) -> Result<Tree, ConfigError> {
    let tree = Tree::parse(text)?;
    match ALWAYS_LIVE.into_iter().find(|path| !tree.has(path)) {
        Some(path) => Err(ConfigError::Shape {
            path: path.to_owned(),
            message: "missing in the live part: that file is empty, cut off or something else"
                .to_owned(),
        }),
        None => Ok(tree),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogLevel, MemorySource, Millis, Source};

    /// The least that a live part has.
    const LIVE: &str = "capacity: { connections: 7 }\nlog: { level: warn }\n";
    const FILE: &str = "name: a\nsource: { memory: {} }\nchannels: { stripPrefix: 'a.' }\n";

    #[test]
    fn the_live_part_is_put_over_the_restart_part_field_by_field() {
        let live = format!(
            "channels: {{ rules: [{{ match: '>' }}] }}\nheartbeat: {{ interval: 7000 }}\n{LIVE}"
        );
        let Loaded { config, unknown } = GatewayConfig::load(FILE, Some(&live)).unwrap();
        assert_eq!(
            (&*config.channels.strip_prefix, config.channels.rules.len()),
            ("a.", 1),
            "one section of both files"
        );
        assert_eq!(config.heartbeat.interval, Millis(7_000));
        assert_eq!(unknown, [""; 0]);
    }

    #[test]
    fn a_live_part_that_is_empty_or_of_something_else_is_refused() {
        let others = ["kind: Service\nspec: {}\n", "[]", "words", FILE, "capacity: 7\n"];
        for live in ["", "# nothing\n", "{}\n", "null\n"].into_iter().chain(others) {
            let error = GatewayConfig::load(FILE, Some(live)).unwrap_err().to_string();
            assert!(error.starts_with("capacity.connections: missing in the live"), "{error}");
        }
    }

    #[test]
    fn a_live_part_that_is_cut_off_anywhere_is_refused() {
        let source = Source::Memory(MemorySource::default());
        let parts = GatewayConfig::new("a", source).parts().unwrap();
        let whole = parts.live.trim_end();
        assert!(GatewayConfig::load(&parts.restart, Some(whole)).is_ok());
        for end in 0..whole.len() {
            let cut = whole.get(..end).unwrap();
            assert!(GatewayConfig::load(&parts.restart, Some(cut)).is_err(), "{cut}");
        }
    }

    #[test]
    fn keys_that_an_older_operator_does_not_know_have_their_defaults() {
        let Loaded { config, unknown } = GatewayConfig::load(FILE, Some(LIVE)).unwrap();
        assert_eq!((config.capacity.connections, config.log.level), (7, LogLevel::Warn));
        assert_eq!((config.heartbeat, unknown.len()), (crate::Heartbeat::default(), 0));
    }

    #[test]
    fn keys_of_a_newer_operator_are_reported_with_their_path_and_left_out() {
        let file = format!("{FILE}listener: {{ prot: 1, port: 81 }}\nshiny: {{ new: [1, 2] }}\n");
        let live = format!(
            "channels: {{ rules: [{{ match: '>', colour: red }}, {{ match: b }}] }}\n{LIVE}"
        );
        // The second rule is hidden by the first: what is wrong besides is still an error.
        let error = GatewayConfig::load(&file, Some(&live)).unwrap_err().to_string();
        assert!(error.starts_with("channels.rules[1].match: "), "{error}");
        let live = format!(
            "channels: {{ rules: [{{ match: b, colour: red }}, {{ match: '>' }}] }}\n{LIVE}"
        );
        let Loaded { config, unknown } = GatewayConfig::load(&file, Some(&live)).unwrap();
        assert_eq!((config.listener.port, config.channels.rules.len()), (81, 2));
        let paths = ["channels.rules[0].colour: ", "listener.prot: ", "shiny: "];
        assert_eq!(unknown.len(), 3, "{unknown:?}");
        for path in paths {
            let found = unknown.iter().find(|key| key.starts_with(path));
            let found = found.unwrap_or_else(|| panic!("{path} in {unknown:?}"));
            assert!(found.contains("unknown field"), "{found}");
        }
        assert!(unknown.iter().any(|key| key.contains("`prot`") && key.contains("`port`")));
    }

    #[test]
    fn a_rule_of_auth_that_is_not_understood_whole_is_refused_since_it_could_allow_too_much() {
        let auth = "capacity: { connections: 7 }\nlog: { level: warn }\nauth: { jwt: { keys: [{ file: /k }], algorithms: [RS256] }, \
                    channels: [{ match: '>', onlyOn: monday }] }\n";
        let error = GatewayConfig::load(FILE, Some(auth)).unwrap_err().to_string();
        assert!(error.starts_with("auth.channels[0].onlyOn: unknown field"), "{error}");
        let known = auth.replace(", onlyOn: monday", "");
        assert!(GatewayConfig::load(FILE, Some(&known)).unwrap().config.auth.is_some());
    }

    #[test]
    fn a_file_of_something_else_is_refused_although_keys_may_be_unknown() {
        for text in ["", "[]", "words", "kind: Service\nspec: {}\n", "name: a\n"] {
            assert!(GatewayConfig::load(text, None).is_err(), "{text:?}");
        }
        let many: String = (0..=MOST_UNKNOWN).map(|n| format!("key{n}: 1\n")).collect();
        let error = GatewayConfig::load(&format!("{FILE}{many}"), None).unwrap_err().to_string();
        assert!(error.contains("more than 32 unknown keys"), "{error}");
    }

    #[test]
    fn a_key_that_stands_there_twice_and_a_wrong_type_are_errors_with_their_path() {
        for (text, expected) in [
            (format!("{FILE}name: b\n"), "duplicate"),
            (format!("{FILE}listener: {{ port: http }}\n"), "listener.port: "),
            (format!("{FILE}heartbeat: {{ interval: -1 }}\n"), "heartbeat.interval"),
            (format!("{FILE}listener: {{ port: 70000 }}\n"), "listener.port"),
        ] {
            let error = GatewayConfig::load(&text, None).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
