//! What `wsgw disconnect` says (pure).

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;
use wsgateway_crds::{DisconnectEntry, Whom, WsGateway};

use super::disconnects;
use crate::cli::{Format, Show};
use crate::error::Error;
use crate::output::document;
use crate::screen::{Column, Table, Terminal, Tone};

/// Where nobody has a name.
pub(super) const NO_AUTH: &str = "spec.auth is missing: unless the operator's defaults have it, clients show no tokens and \
    have no names, so that this ends no connection";

/// A disconnect, or a line that is none, as `-o json` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    gateway: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Shown {
    fn of(gateway: &str, entry: &DisconnectEntry) -> Self {
        let (user, token_id) = match &entry.whom {
            Whom::User(user) => (Some(user.clone()), None),
            Whom::Token(id) => (None, Some(id.clone())),
        };
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let problem = entry.at.is_none().then(|| "the operator has not taken it up".to_owned());
        let (at, until) = (time(entry.at), time(entry.until));
        Self { gateway: gateway.to_owned(), user, token_id, at, until, problem }
    }
}

/// What stands, of these WsGateways.
pub(super) fn list(gateways: &[WsGateway], show: Show) -> Result<String, Error> {
    let shown: Vec<Shown> = gateways.iter().flat_map(of_gateway).collect();
    if matches!(show.output, Format::Json | Format::Yaml) {
        return document(&shown, show.output, false);
    }
    if shown.is_empty() {
        return Ok("nobody is disconnected or banned\n".to_owned());
    }
    let columns = [
        Column::text("GATEWAY"),
        Column::text("WHOM"),
        Column::flexible("NAME"),
        Column::text("SINCE"),
        Column::text("BANNED UNTIL"),
        Column::flexible("PROBLEM"),
    ];
    let mut table = Table::new(&columns);
    for one in shown {
        let kind = match (&one.user, &one.token_id) {
            (Some(_), _) => "user",
            (None, Some(_)) => "token",
            (None, None) => "",
        };
        let plain = |text: Option<String>| (text.unwrap_or_default(), Tone::Plain);
        table.row([
            plain(Some(one.gateway)),
            plain(Some(kind.to_owned())),
            plain(one.user.or(one.token_id)),
            plain(one.at),
            plain(one.until),
            (one.problem.unwrap_or_default(), Tone::Warn),
        ]);
    }
    Ok(table.render(Terminal::new(show.color)))
}

fn of_gateway(gateway: &WsGateway) -> Vec<Shown> {
    let (all, name) = (disconnects(gateway), gateway.name_any());
    let mut shown: Vec<Shown> = all.entries().map(|entry| Shown::of(&name, entry)).collect();
    shown.extend(all.bad().map(|(line, why)| Shown {
        gateway: name.clone(),
        problem: Some(format!("line {line} of the annotation counts for nothing: {why}")),
        ..Shown::default()
    }));
    shown
}

fn words(whom: &Whom) -> String {
    match whom {
        Whom::User(user) => format!("user {user}"),
        Whom::Token(id) => format!("token {id}"),
    }
}

pub(super) fn nothing_stands(whom: &Whom) -> String {
    format!("{}: nothing stands", words(whom))
}

pub(super) fn lifted(whom: &Whom) -> String {
    format!("{}: may connect again as soon as the pods know, within seconds", words(whom))
}

/// The operator has taken it up.
pub(super) fn done(whom: &Whom, until: Option<Timestamp>) -> String {
    let next = match until {
        Some(until) => format!("and is banned until {until}"),
        None => "and may come back with a token that is good".to_owned(),
    };
    format!("{}: is disconnected as soon as the pods know, within seconds, {next}", words(whom))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Color;

    fn gateway(annotation: &str) -> WsGateway {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway",
            "metadata": { "name": "odin", "annotations": { "wsgateway.dev/disconnect": annotation } },
            "spec": { "nats": { "servers": ["nats://n:4222"] }, "stream": { "name": "S", "subjects": ["s.>"] } },
        }))
        .unwrap()
    }

    #[test]
    fn the_list_has_what_stands_what_waits_and_what_counts_for_nothing() {
        let lines = [
            r#"{"user":"ann","at":"2026-11-29T12:00:00Z","until":"2026-11-29T12:10:00Z"}"#,
            r#"{"tokenId":"j-1"}"#,
            "bob",
        ];
        let gateways = [gateway(&lines.join("\n"))];
        let show = |output| Show { output, color: Color::Never };
        let table = list(&gateways, show(Format::Table)).unwrap();
        let rows: Vec<&str> = table.lines().collect();
        assert_eq!(rows.len(), 4, "{table}");
        assert!(rows[1].contains("user") && rows[1].contains("2026-11-29T12:10:00Z"), "{table}");
        assert!(rows[2].contains("j-1") && rows[2].contains("has not taken it up"), "{table}");
        assert!(rows[3].contains("line 3 of the annotation counts for nothing"), "{table}");
        let json = list(&gateways, show(Format::Json)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["items"][0]["user"], "ann");
        assert_eq!(
            json["items"][1],
            serde_json::json!({
                "gateway": "odin", "tokenId": "j-1", "problem": "the operator has not taken it up",
            })
        );
        assert!(list(&[gateway("")], show(Format::Table)).unwrap().contains("nobody is"));
    }
}
