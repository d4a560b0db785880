//! Completion for shells: `wsgw completion`, and what kubectl asks of a plugin (`kubectl_complete-wsgw`).

use std::time::Duration;

use clap::{Command, CommandFactory as _};
use kube::ResourceExt;
use wsgateway_crds::WsGateway;

use crate::cli::{Cli, CompletionArgs, Reach, Shell};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::output::print;
use crate::top::gateway_pods;

/// A script for kubectl: it looks on PATH for kubectl_complete-PLUGIN, and runs it with the words so far.
const KUBECTL: &str = "#!/bin/sh\n# As kubectl_complete-wsgw on PATH: completion of kubectl wsgw.\nexec kubectl-wsgw __complete -- \"$@\"\n";
/// A shell that waits longer seems to hang.
const PATIENCE: Duration = Duration::from_secs(2);
/// What kubectl's completion reads at the end: names of files are no candidates (4 of Cobra's directives).
const NO_FILES: &str = ":4\n";
/// Names of files are candidates (0 of Cobra's directives).
const FILES: &str = ":0\n";

/// Prints the script of a shell.
pub(crate) fn run(options: &CompletionArgs) -> Result<(), Error> {
    let shell = match options.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Kubectl => return print(KUBECTL),
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(), "wsgw", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// The command line without what is not for people: scripts of shells would name it.
fn shown() -> Command {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    Command::new("wsgw").version(env!("CARGO_PKG_VERSION")).subcommands(shown)
}

/// Prints candidates for the last of these words, as Cobra's programs do.
pub(crate) async fn candidates(words: &[String]) -> Result<(), Error> {
    let mut command = Cli::command();
    command.build();
    let wanted = wanted(&command, words);
    let (mut lines, directive) = match &wanted {
        Wanted::Words(words) => (words.clone(), NO_FILES),
        Wanted::Files => (Vec::new(), FILES),
        Wanted::Gateways | Wanted::Pods => {
            let asked = names(&wanted, words);
            // No cluster, no names: a shell has no place for errors.
            (tokio::time::timeout(PATIENCE, asked).await.unwrap_or_default(), NO_FILES)
        }
    };
    let begun = words.last().map(String::as_str).unwrap_or_default();
    lines.retain(|line| line.starts_with(begun));
    lines.iter_mut().for_each(|line| line.push('\n'));
    print(&(lines.concat() + directive))
}

/// What may stand in a place.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// One of these, each with a tab and its meaning.
    Words(Vec<String>),
    Files,
    /// A name of a WsGateway.
    Gateways,
    /// A name of a gateway pod.
    Pods,
}

/// What may stand in the place of the last word.
fn wanted(root: &Command, words: &[String]) -> Wanted {
    let Some((begun, before)) = words.split_last() else { return subcommands(root) };
    let Some(command) = before.first().and_then(|name| root.find_subcommand(name)) else {
        return if before.is_empty() { subcommands(root) } else { Wanted::Words(Vec::new()) };
    };
    if command.has_subcommands() {
        return wanted(command, words.get(1..).unwrap_or_default());
    }
    if let Some(flag) = before.last().and_then(|word| flag(command, word)) {
        return value_of(flag);
    }
    if begun.starts_with('-') {
        return flags(command);
    }
    let mut positional = command.get_positionals().map(|argument| argument.get_id().as_str());
    match positional.next() {
        Some("name") => Wanted::Gateways,
        Some("pod") => Wanted::Pods,
        Some("shell") => command.get_positionals().next().map_or(Wanted::Files, value_of),
        _ => flags(command),
    }
}

/// The flag of a word that waits for its value.
fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a clap::Arg> {
    let is_it = |argument: &&clap::Arg| {
        let long = argument.get_long().is_some_and(|long| word == format!("--{long}"));
        long || argument.get_short().is_some_and(|short| word == format!("-{short}"))
    };
    command.get_arguments().filter(|argument| argument.get_action().takes_values()).find(is_it)
}

fn value_of(argument: &clap::Arg) -> Wanted {
    let values = argument.get_possible_values();
    if !values.is_empty() {
        let word =
            |value: &clap::builder::PossibleValue| described(value.get_name(), value.get_help());
        return Wanted::Words(values.iter().map(word).collect());
    }
    match argument.get_id().as_str() {
        "kubeconfig" | "file" | "before" | "creds" | "key" | "keys" | "jwks" | "manifest"
        | "out" => Wanted::Files,
        _ => Wanted::Words(Vec::new()),
    }
}

fn subcommands(root: &Command) -> Wanted {
    let visible = root.get_subcommands().filter(|command| !command.is_hide_set());
    Wanted::Words(
        visible.map(|command| described(command.get_name(), command.get_about())).collect(),
    )
}

fn flags(command: &Command) -> Wanted {
    let named = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let word = |argument: &clap::Arg| {
        Some(described(&format!("--{}", argument.get_long()?), argument.get_help()))
    };
    Wanted::Words(named.filter_map(word).collect())
}

/// A candidate with the first line of its meaning, as Cobra writes both.
fn described(name: &str, help: Option<&clap::builder::StyledStr>) -> String {
    let help = help.map(ToString::to_string).unwrap_or_default();
    match help.lines().next() {
        Some(line) if !line.is_empty() => format!("{name}\t{line}"),
        _ => name.to_owned(),
    }
}

/// Names in the cluster and namespace that the words so far name.
async fn names(wanted: &Wanted, words: &[String]) -> Vec<String> {
    let value = |names: [&str; 2]| {
        let at = words.iter().position(|word| names.contains(&word.as_str()))?;
        words.get(at + 1).cloned()
    };
    let reach = Reach {
        kubeconfig: value(["--kubeconfig", ""]).map(Into::into),
        context: value(["--context", ""]),
        namespace: value(["-n", "--namespace"]),
    };
    let Ok(cluster) = Cluster::new(&reach).await else { return Vec::new() };
    if *wanted == Wanted::Pods {
        let pods = gateway_pods(&cluster).await.unwrap_or_default();
        return pods.iter().map(ResourceExt::name_any).collect();
    }
    let list = cluster.list::<WsGateway>(
        false,
        kube::api::ListParams::default(),
        crate::cluster::GATEWAYS,
    );
    list.await
        .map(|list| list.items.iter().map(ResourceExt::name_any).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Wanted {
        let mut command = Cli::command();
        command.build();
        wanted(&command, &words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    fn names(wanted: Wanted) -> Vec<String> {
        let Wanted::Words(words) = wanted else { return Vec::new() };
        words.iter().map(|word| word.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn scripts_name_what_is_for_people_alone() {
        for shell in
            [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish]
        {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut shown(), "wsgw", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("connections") && !script.contains("__complete"), "{shell}");
        }
    }

    #[test]
    fn each_place_has_its_candidates() {
        let all = names(of(&[""]));
        assert!(
            all.contains(&"status".to_owned()) && !all.iter().any(|name| name.starts_with('_')),
            "{all:?}"
        );
        assert!(names(of(&["status", "--"])).contains(&"--watch".to_owned()));
        assert_eq!(names(of(&["status", "-o", ""])), ["table", "wide", "json", "yaml"]);
        assert_eq!(of(&["status", ""]), Wanted::Gateways);
        assert_eq!(of(&["drain", "-n", "trading", "od"]), Wanted::Pods);
        assert_eq!(of(&["plan", "-f", ""]), Wanted::Files);
        assert_eq!(names(of(&["completion", ""])), ["bash", "zsh", "fish", "kubectl"]);
        assert!(names(of(&["token", ""])).contains(&"verify".to_owned()));
        assert_eq!(of(&["token", "new", "--key", ""]), Wanted::Files);
        assert!(names(of(&["token", "new", "--"])).contains(&"--sub".to_owned()));
        assert_eq!(of(&["nothing", ""]), Wanted::Words(Vec::new()));
    }
}
