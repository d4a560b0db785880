//! The files of a gateway: read at the start, and watched from then on.
//!
//! In: the text of one file, or of two. Out: a configuration that can run, or what is wrong with it. What comes out is
//! taken up by [`crate::app::Running::reload`], whole or not at all.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use wsgateway_config::{ConfigError, GatewayConfig, Loaded, fingerprint};

use crate::settle::Settle;

/// The largest ConfigMap that Kubernetes keeps.
const LARGEST: u64 = 1 << 20;

/// Longest report of what is wrong with the files (bytes).
const LONGEST_PROBLEM: usize = 500;

/// Longest report of an unknown key (bytes).
const LONGEST_KEY: usize = 200;

/// Where a gateway's configuration is.
#[derive(Clone, Debug)]
pub struct Files {
    /// Everything, or the restart part.
    pub config: PathBuf,
    /// The live part, which is put over the other one.
    pub live: Option<PathBuf>,
    /// Address of the client port instead of the file's.
    pub listen: Option<SocketAddr>,
    /// Address of the admin port instead of the file's.
    pub admin: Option<SocketAddr>,
}

/// The texts of the files at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    config: String,
    live: Option<String>,
}

/// A configuration that can run, and which one it is.
#[derive(Clone, Debug)]
pub struct Given {
    pub(crate) config: GatewayConfig,
    pub(crate) unknown: Vec<String>,
    pub(crate) hash: String,
    pub(crate) live_hash: String,
}

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// A file is not there, or is something else.
    #[error("cannot read {path}: {why}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// What the files say cannot run.
    #[error("{path}: {source}")]
    Parse {
        /// The file, or the one that has the restart part.
        path: PathBuf,
        /// The field and what is wrong with it.
        source: ConfigError,
    },
}

impl Files {
    /// Reads the files.
    ///
    /// # Errors
    /// [`FileError::Read`]
    pub fn read(&self) -> Result<Texts, FileError> {
        Ok(Texts { config: read(&self.config)?, live: self.live.as_deref().map(read).transpose()? })
    }

    /// The configuration that texts of these files hold.
    ///
    /// # Errors
    /// [`FileError::Parse`]
    pub fn parse(&self, texts: &Texts) -> Result<Given, FileError> {
        let mut given = Given::of_texts(&texts.config, texts.live.as_deref())
            .map_err(|source| FileError::Parse { path: self.config.clone(), source })?;
        let config = &mut given.config;
        if let Some(listen) = self.listen {
            (config.listener.address, config.listener.port) = (listen.ip(), listen.port());
        }
        if let Some(admin) = self.admin {
            (config.admin.address, config.admin.port) = (admin.ip(), admin.port());
        }
        Ok(given)
    }
}

/// Reads a file that is no larger than a ConfigMap may be.
pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    let mut text = String::new();
    let whole = File::open(path).and_then(|file| {
        file.take(LARGEST + 1).read_to_string(&mut text)?;
        match text.len() as u64 > LARGEST {
            true => Err(io::Error::other("it is larger than 1 MiB, so it is something else")),
            false => Ok(()),
        }
    });
    match whole {
        Ok(()) => Ok(text),
        Err(error) => Err(FileError::Read { path: path.to_owned(), why: error.to_string() }),
    }
}

impl Given {
    /// A configuration of this process's own, without files.
    ///
    /// # Errors
    /// When it cannot be written as a file.
    pub fn of(config: GatewayConfig) -> Result<Self, ConfigError> {
        let hash = fingerprint(&[&config.render()?]);
        Ok(Self { config, unknown: Vec::new(), live_hash: hash.clone(), hash })
    }

    /// What is in the text of one file, or of two.
    ///
    /// # Errors
    /// [`ConfigError`] with the path of a field that cannot work.
    pub fn of_texts(config: &str, live: Option<&str>) -> Result<Self, ConfigError> {
        let (hash, live_hash) = match live {
            Some(live) => (fingerprint(&[config, live]), fingerprint(&[live])),
            None => (fingerprint(&[config]), fingerprint(&[config])),
        };
        let Loaded { config, unknown } = GatewayConfig::load(config, live)?;
        Ok(Self { config, unknown, hash, live_hash })
    }
}

/// Looks at the files again and again.
#[derive(Debug)]
pub struct Watcher {
    files: Files,
    texts: Settle<Result<Texts, FileError>>,
}

impl Watcher {
    /// A watcher of files that had these texts when the gateway started.
    pub fn new(files: Files, texts: Texts) -> Self {
        Self { files, texts: Settle::of(Ok(texts)) }
    }

    /// Looks once: what the files say if that has changed, and if they said the same the time before. An editor may be
    /// half through with them: less than a whole file can be valid.
    pub fn look(&mut self) -> Option<Result<Given, FileError>> {
        let read = self.texts.look(self.files.read())?;
        Some(read.as_ref().map_err(Clone::clone).and_then(|texts| self.files.parse(texts)))
    }
}

/// Which configuration runs, and what of the files does not: for /status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigState {
    /// Of both files, or of the one.
    pub hash: String,
    /// Of the file with the live part.
    pub live_hash: String,
    /// Why the files are not what runs; bounded.
    pub problem: Option<String>,
    /// Keys that this version does not know; bounded.
    pub unknown: Vec<String>,
}

impl ConfigState {
    pub(crate) fn of(given: &Given) -> Self {
        let unknown = given.unknown.iter().map(|key| cut(key, LONGEST_KEY)).collect();
        let (hash, live_hash) = (given.hash.clone(), given.live_hash.clone());
        Self { hash, live_hash, problem: None, unknown }
    }

    /// The same, with a reason why the files are not what runs.
    pub(crate) fn with_problem(&self, problem: &str) -> Self {
        Self { problem: Some(cut(problem, LONGEST_PROBLEM)), ..self.clone() }
    }
}

fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

/// What became of the files.
#[derive(Clone, Debug)]
pub(crate) struct ReloadMetrics {
    reloads: IntCounterVec,
    differs: IntGauge,
    unknown: IntGauge,
}

impl ReloadMetrics {
    /// Registers all of them.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options = Opts::new(
            "wsgateway_config_reloads_total",
            "Changes of the configuration's files, by what became of them",
        );
        let metrics = Self {
            reloads: IntCounterVec::new(options, &["outcome"])?,
            differs: IntGauge::new(
                "wsgateway_config_refused",
                "1 while the configuration's files are not what runs",
            )?,
            unknown: IntGauge::new(
                "wsgateway_config_unknown_keys",
                "Keys of the configuration's files that this version does not know",
            )?,
        };
        for outcome in ["applied", "refused"] {
            metrics.reloads.with_label_values(&[outcome]);
        }
        registry.register(Box::new(metrics.reloads.clone()))?;
        registry.register(Box::new(metrics.differs.clone()))?;
        registry.register(Box::new(metrics.unknown.clone()))?;
        Ok(metrics)
    }

    /// This runs from now on.
    pub(crate) fn applied(&self, is_change: bool, state: &ConfigState) {
        if is_change {
            self.reloads.with_label_values(&["applied"]).inc();
        }
        self.differs.set(0);
        self.unknown.set(i64::try_from(state.unknown.len()).unwrap_or(i64::MAX));
    }

    /// What ran before goes on.
    pub(crate) fn refused(&self) {
        self.reloads.with_label_values(&["refused"]).inc();
        self.differs.set(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        Files { config: "/f".into(), live: Some("/l".into()), listen: None, admin: None }
    }

    /// The least that a live part has.
    const LIVE: &str = "capacity: { connections: 7 }\nlog: { level: info }\n";

    fn texts(live: &str) -> Texts {
        let config = "name: a\nsource: { memory: {} }\n".to_owned();
        Texts { config, live: Some(live.to_owned()) }
    }

    #[test]
    fn a_change_counts_once_and_only_when_it_was_seen_twice() {
        let mut watcher = Watcher::new(files(), texts("1"));
        let mut settles = |live: &str| watcher.texts.look(Ok(texts(live))).is_some();
        assert!(!settles("1"));
        // Half of a file, then all of it.
        assert!(!settles("2") && !settles("22") && settles("22"));
        assert!(!settles("22") && !settles("22"));
        // There and back between two looks.
        assert!(!settles("3") && !settles("22") && !settles("3") && settles("3"));
        let gone = || Err(FileError::Read { path: "/l".into(), why: "gone".into() });
        let mut settles = |read| watcher.texts.look(read).is_some();
        assert!(!settles(gone()) && settles(gone()) && !settles(gone()));
        assert!(!settles(Ok(texts("3"))) && settles(Ok(texts("3"))));
    }

    #[test]
    fn hashes_are_those_of_the_texts_so_that_who_wrote_them_knows_them() {
        let live = format!("heartbeat: {{ interval: 5000 }}\nnewer: 1\n{LIVE}");
        let given = files().parse(&texts(&live)).unwrap();
        assert_eq!(given.live_hash, fingerprint(&[&live]));
        let other = files().parse(&texts(LIVE)).unwrap();
        assert_ne!((&given.hash, &given.live_hash), (&other.hash, &other.live_hash));
        assert_eq!((given.unknown.len(), other.unknown.len()), (1, 0));
    }

    #[test]
    fn addresses_of_the_command_line_come_before_those_of_the_file() {
        let address = SocketAddr::from(([127, 0, 0, 1], 4_000));
        let files = Files { listen: Some(address), ..files() };
        let live = format!("listener: {{ port: 81 }}\n{LIVE}");
        let config = files.parse(&texts(&live)).unwrap().config;
        assert_eq!((config.listener.address, config.listener.port), (address.ip(), 4_000));
        assert_eq!(config.admin.port, 9_090);
    }

    #[test]
    fn what_is_reported_is_bounded_whatever_the_files_hold() {
        let given =
            Given { unknown: vec!["ü".repeat(10_000)], ..files().parse(&texts(LIVE)).unwrap() };
        let state = ConfigState::of(&given).with_problem(&"ü".repeat(10_000));
        assert!(state.unknown[0].len() <= LONGEST_KEY);
        assert!(state.problem.is_some_and(|problem| problem.len() <= LONGEST_PROBLEM));
    }
}
