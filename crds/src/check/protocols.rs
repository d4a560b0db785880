//! Rules of the protocols.

use wsgateway_config::{
    MAX_INITIAL_CHANNELS, MAX_SYMBOLS, Odin, Protocol as Spoken, Symbols, is_pattern, is_template,
};

use super::errors::Errors;
use crate::spec::Protocol;
use crate::{ValidProtocols, WsGatewaySpec};

pub(super) fn protocols(spec: &WsGatewaySpec, errors: &mut Errors) -> ValidProtocols {
    const PATH: &str = "spec.listener.protocols";
    let protocols = &spec.listener.protocols;
    errors.ensure(
        !protocols.is_empty(),
        PATH,
        "name at least one, or no client could be served: wsgateway.v1 is this gateway's own",
    );
    let twice = protocols.iter().enumerate().any(|(at, name)| protocols[..at].contains(name));
    errors.ensure(!twice, PATH, "names a protocol twice");
    errors.ensure(
        protocols.is_empty() || protocols.contains(&spec.listener.default_protocol),
        "spec.listener.defaultProtocol",
        "must be one of listener.protocols, since clients that name no protocol get it: add it there, or choose another",
    );
    ValidProtocols {
        served: protocols.iter().map(|name| spoken(*name)).collect(),
        default: spoken(spec.listener.default_protocol),
        odin: odin(spec, errors),
        symbols: symbols(spec, errors),
    }
}

fn spoken(protocol: Protocol) -> Spoken {
    match protocol {
        Protocol::WsGateway => Spoken::WsGateway,
        Protocol::Odin => Spoken::Odin,
        Protocol::Symbols => Spoken::Symbols,
    }
}

fn odin(spec: &WsGatewaySpec, errors: &mut Errors) -> Odin {
    const CHANNELS: &str = "spec.odin.initialChannels";
    let odin = &spec.odin;
    errors.ensure(
        is_template(&odin.template, "{token}"),
        "spec.odin.template",
        "write a channel or pattern with {token} in it once, such as {token}.> or {token}.update",
    );
    errors.ensure(
        odin.initial_channels.len() <= MAX_INITIAL_CHANNELS,
        CHANNELS,
        "must be at most 64 channels: use wildcards, such as *.price or >",
    );
    for (at, channel) in odin.initial_channels.iter().enumerate() {
        errors.ensure(
            is_pattern(channel),
            &format!("{CHANNELS}[{at}]"),
            "write a channel as clients name it, with * for one token and > only as the last one, such as *.price or >",
        );
    }
    Odin {
        template: odin.template.clone(),
        initial_channels: odin.initial_channels.clone(),
        greeting: odin.greeting,
    }
}

fn symbols(spec: &WsGatewaySpec, errors: &mut Errors) -> Symbols {
    let template = &spec.symbols.template;
    errors.ensure(
        template
            .as_ref()
            .is_none_or(|text| is_template(text, "{symbol}") && !text.contains(['*', '>'])),
        "spec.symbols.template",
        "write a channel without wildcards and with {symbol} in it once, such as {symbol}.trade",
    );
    let most = i32::try_from(MAX_SYMBOLS).unwrap_or(i32::MAX);
    Symbols {
        template: template.clone(),
        max_symbols: errors.number("spec.symbols.maxSymbols", spec.symbols.max_symbols, 1..=most),
    }
}
