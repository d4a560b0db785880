//! `docs/wsgw.md`, from the flags themselves (pure): `hack/generate` writes it.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use crate::cli::Cli;
use crate::error::Error;
use crate::output::print;

const HEAD: &str = include_str!("reference.md");

/// Prints the page.
pub(crate) fn run() -> Result<(), Error> {
    print(&page())
}

fn page() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = HEAD.to_owned();
    for command in root.get_subcommands().filter(|command| shown(command)) {
        section(command, "wsgw", &mut text);
    }
    text
}

fn shown(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

/// One command, then those below it.
fn section(command: &Command, above: &str, text: &mut String) {
    // Writing to a String cannot fail.
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let name = format!("{above} {}", command.get_name());
    let _ = writeln!(text, "\n## {name}\n\n{about}.\n");
    let mut usage = command.clone();
    let usage = usage.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = writeln!(text, "```\n{usage}\n```\n");
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
        .collect();
    if !arguments.is_empty() {
        text.push_str("| argument | meaning | default |\n|---|---|---|\n");
    }
    for argument in arguments {
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            argument_name(argument),
            meaning(argument),
            default(argument)
        );
    }
    if let Some(examples) = command.get_after_help() {
        let _ = writeln!(text, "\n```\n{examples}\n```");
    }
    for below in command.get_subcommands().filter(|command| shown(command)) {
        section(below, &name, text);
    }
}

fn argument_name(argument: &Arg) -> String {
    let value = || {
        let names = argument.get_value_names().unwrap_or_default();
        let takes = argument.get_action().takes_values();
        names.first().filter(|_| takes).map(|name| format!(" {name}")).unwrap_or_default()
    };
    match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("`-{short}`, `--{long}{}`", value()),
        (None, Some(long)) => format!("`--{long}{}`", value()),
        _ => format!("`{}`", value().trim()),
    }
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let (help, _) = split_default(&help);
    let values = argument.get_possible_values();
    let named: Vec<String> = values
        .iter()
        .filter(|_| argument.get_action().takes_values())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    let text =
        if named.is_empty() { help.to_owned() } else { format!("{help}: {}", named.join(", ")) };
    escaped(&text)
}

fn default(argument: &Arg) -> String {
    let values: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if !values.is_empty() && argument.get_action().takes_values() {
        return values.join(", ");
    }
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    escaped(split_default(&help).1)
}

/// A help text and the default that it ends with: `Port [default: 8080]`.
fn split_default(help: &str) -> (&str, &str) {
    match help.rsplit_once(" [default: ") {
        Some((help, default)) => (help, default.trim_end_matches(']')),
        None => (help, ""),
    }
}

/// In a cell of a table.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_is_in_the_page() {
        let page = page();
        for expected in [
            "## wsgw status",
            "## wsgw drain",
            "## wsgw token new",
            "`-A`, `--all-namespaces`",
            "`--interval DURATION`",
            "| `2s` |",
        ] {
            assert!(page.contains(expected), "{expected}");
        }
        assert!(!page.contains("__complete"));
    }
}
