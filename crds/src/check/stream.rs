//! Rules of the stream and of the servers that hold it.

use std::collections::BTreeSet;

use wsgateway_config::{Millis, StreamConfig};

use super::errors::Errors;
use crate::spec::{AdoptionPolicy, Compression, DeletionPolicy, Nats, Storage, Stream};
use crate::{subject, units};

/// NATS refuses shorter ages and windows.
const SHORTEST: Millis = Millis(100);
/// NATS cannot carry more in one message.
const LARGEST_MESSAGE: u64 = 64 << 20;
const DEFAULT_WINDOW: Millis = Millis::from_secs(30);

pub(super) fn servers(nats: &Nats, errors: &mut Errors) -> Vec<String> {
    const PATH: &str = "spec.nats.servers";
    errors.ensure(
        (1..=16).contains(&nats.servers.len()),
        PATH,
        "name 1 to 16 servers, such as nats://nats.messaging:4222",
    );
    for (at, server) in nats.servers.iter().enumerate() {
        errors.ensure(
            is_server(server),
            &format!("{PATH}[{at}]"),
            "write nats://host:port or tls://host:port, such as nats://nats.messaging:4222, without user, password or \
             path",
        );
    }
    no_duplicates(&nats.servers, PATH, errors);
    nats.servers.clone()
}

fn is_server(server: &str) -> bool {
    let schemes = ["nats://", "tls://"];
    let Some(address) = schemes.iter().find_map(|scheme| server.strip_prefix(scheme)) else {
        return false;
    };
    let (host, rest) = match address.strip_prefix('[').and_then(|address| address.split_once(']')) {
        Some((host, rest))
            if host.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.') =>
        {
            (host, rest)
        }
        Some(_) => return false,
        None => {
            let (host, rest) = address.split_at(address.find(':').unwrap_or(address.len()));
            let host_character = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            let edge = |c: char| c.is_ascii_alphanumeric();
            if !host.starts_with(edge) || !host.ends_with(edge) || !host.chars().all(host_character)
            {
                return false;
            }
            (host, rest)
        }
    };
    let port_ok = rest.is_empty()
        || rest
            .strip_prefix(':')
            .is_some_and(|port| !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok());
    server.len() <= 255 && !host.is_empty() && port_ok
}

fn no_duplicates(items: &[String], path: &str, errors: &mut Errors) {
    let distinct: BTreeSet<&String> = items.iter().collect();
    errors.ensure(distinct.len() == items.len(), path, "an entry stands twice: drop one");
}

pub(super) fn stream(stream: &Stream, errors: &mut Errors) -> StreamConfig {
    check_name(&stream.name, errors);
    check_subjects(&stream.subjects, errors);
    let max_age = errors.duration("spec.stream.maxAge", &stream.max_age);
    errors.ensure(
        max_age.0 == 0 || max_age >= SHORTEST,
        "spec.stream.maxAge",
        "must be at least 100ms, or 0 to keep messages for ever",
    );
    let max_bytes = errors.value("spec.stream.maxBytes", units::size(&stream.max_bytes));
    let max_message_size =
        errors.value("spec.stream.maxMessageSize", units::size(&stream.max_message_size));
    errors.ensure(
        max_message_size <= LARGEST_MESSAGE,
        "spec.stream.maxMessageSize",
        "must be at most 64Mi, the largest that NATS can carry",
    );
    errors.ensure(
        max_bytes == 0 || max_message_size <= max_bytes,
        "spec.stream.maxMessageSize",
        "must not exceed maxBytes, or the largest message would not fit the stream: raise maxBytes or lower \
         maxMessageSize",
    );
    let max_messages = errors.number("spec.stream.maxMessages", stream.max_messages, 0..=i64::MAX);
    let per_subject = errors.number(
        "spec.stream.maxMessagesPerSubject",
        stream.max_messages_per_subject,
        0..=i64::MAX,
    );
    errors.ensure(
        max_messages == 0 || per_subject <= max_messages,
        "spec.stream.maxMessagesPerSubject",
        "must not exceed maxMessages: lower it, or set it to 0 for no limit",
    );
    check_policies(stream, errors);
    errors.ensure(
        [1, 3, 5].contains(&stream.replicas),
        "spec.stream.replicas",
        "must be 1, 3 or 5",
    );
    StreamConfig {
        name: stream.name.clone(),
        subjects: stream.subjects.clone(),
        max_age,
        max_messages,
        max_bytes,
        max_message_size: u32::try_from(max_message_size).unwrap_or_default(),
        max_messages_per_subject: per_subject,
        storage: match stream.storage {
            Storage::File => wsgateway_config::Storage::File,
            Storage::Memory => wsgateway_config::Storage::Memory,
        },
        replicas: u8::try_from(stream.replicas).unwrap_or(1),
        duplicate_window: duplicate_window(stream, max_age, errors),
        compression: match stream.compression {
            Compression::None => wsgateway_config::Compression::None,
            Compression::S2 => wsgateway_config::Compression::S2,
        },
    }
}

fn check_policies(stream: &Stream, errors: &mut Errors) {
    errors.ensure(
        stream.adoption_policy != AdoptionPolicy::Observe
            || stream.deletion_policy != DeletionPolicy::Delete,
        "spec.stream.deletionPolicy",
        "must be Retain, since adoptionPolicy Observe never deletes a stream",
    );
}

fn check_name(name: &str, errors: &mut Errors) {
    let ok = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    errors.ensure(
        (1..=200).contains(&name.len()) && name.chars().all(ok),
        "spec.stream.name",
        "must be letters, digits, - and _, such as ODIN_TOKENS",
    );
}

fn check_subjects(subjects: &[String], errors: &mut Errors) {
    const PATH: &str = "spec.stream.subjects";
    errors.ensure(
        (1..=32).contains(&subjects.len()),
        PATH,
        "name 1 to 32 subjects, such as odin.token.>",
    );
    for (at, subject) in subjects.iter().enumerate() {
        errors.ensure(
            subject::is_capturable(subject),
            &format!("{PATH}[{at}]"),
            "write a NATS subject such as odin.token.>: tokens between dots, * alone as a token, > only as the last \
             one, and a plain first token that does not begin with $",
        );
        if let Some(other) = subjects[..at].iter().find(|other| subject::overlap(other, subject)) {
            errors.refuse(
                &format!("{PATH}[{at}]"),
                format!("{subject} overlaps {other}, which NATS refuses: drop the narrower one or make them disjoint"),
            );
        }
    }
}

fn duplicate_window(stream: &Stream, max_age: Millis, errors: &mut Errors) -> Millis {
    const PATH: &str = "spec.stream.duplicateWindow";
    let Some(text) = &stream.duplicate_window else {
        return if max_age.0 == 0 { DEFAULT_WINDOW } else { DEFAULT_WINDOW.min(max_age) };
    };
    let window = errors.duration(PATH, text);
    errors.ensure(window >= SHORTEST, PATH, "must be at least 100ms");
    errors.ensure(
        max_age.0 == 0 || window <= max_age,
        PATH,
        "must not exceed maxAge: shorten the window or keep messages longer",
    );
    window
}
