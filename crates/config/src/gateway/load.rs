//! Reading the files of a gateway, also those that another version of the operator has written.

use super::GatewayConfig;
use crate::ConfigError;
use crate::yaml::Tree;

/// Keys that may be unknown before the file is taken for something else.
const MOST_UNKNOWN: usize = 32;

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
    /// [`ConfigError`] with the path of a field that cannot work. A key that is unknown is none: an operator that is newer
    /// or older than the gateway writes some. But one within `auth` is: without it a rule could allow more than it says.
    pub fn load(file: &str, live: Option<&str>) -> Result<Loaded, ConfigError> {
        let mut tree = Tree::parse(file)?;
        if let Some(live) = live {
            tree.put_over(Tree::parse(live)?);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Millis;

    const FILE: &str = "name: a\nsource: { memory: {} }\nchannels: { stripPrefix: 'a.' }\n";

    #[test]
    fn the_live_part_is_put_over_the_restart_part_field_by_field() {
        let live = "channels: { rules: [{ match: '>' }] }\nheartbeat: { interval: 7000 }\n";
        let Loaded { config, unknown } = GatewayConfig::load(FILE, Some(live)).unwrap();
        assert_eq!(
            (&*config.channels.strip_prefix, config.channels.rules.len()),
            ("a.", 1),
            "one section of both files"
        );
        assert_eq!(config.heartbeat.interval, Millis(7_000));
        assert_eq!(unknown, [""; 0]);
    }

    #[test]
    fn an_empty_live_part_leaves_every_default() {
        for live in ["", "# nothing\n", "{}\n", "null\n"] {
            let loaded = GatewayConfig::load(FILE, Some(live)).unwrap();
            assert_eq!(loaded, GatewayConfig::load(FILE, None).unwrap(), "{live:?}");
        }
    }

    #[test]
    fn keys_of_a_newer_operator_are_reported_with_their_path_and_left_out() {
        let file = format!("{FILE}listener: {{ prot: 1, port: 81 }}\nshiny: {{ new: [1, 2] }}\n");
        let live = "channels: { rules: [{ match: '>', colour: red }, { match: 'b' }] }\n";
        // The second rule is hidden by the first: what is wrong besides is still an error.
        let error = GatewayConfig::load(&file, Some(live)).unwrap_err().to_string();
        assert!(error.starts_with("channels.rules[1].match: "), "{error}");
        let live = "channels: { rules: [{ match: 'b', colour: red }, { match: '>' }] }\n";
        let Loaded { config, unknown } = GatewayConfig::load(&file, Some(live)).unwrap();
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
        let auth = "auth: { jwt: { keys: [{ file: /k }], algorithms: [RS256] }, \
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
