//! Values that something somewhere takes badly (pure).

use fastrand::Rng;
use serde_json::{Value, json};

/// Lengths at which something ends: labels, names, paths, fields, messages.
const LENGTHS: [usize; 12] = [0, 1, 50, 51, 63, 64, 253, 254, 256, 1_024, 4_097, 40_000];

const TEXTS: [&str; 40] = [
    "",
    " ",
    "\0",
    "a\0b",
    "\n",
    "\r\n\r\n",
    "\t",
    "a b",
    ".",
    "..",
    "../../etc/passwd",
    "/",
    "//",
    "*",
    ">",
    "a.>.b",
    "a..b",
    ".a",
    "a.",
    "$JS.API.>",
    "_INBOX.>",
    "-",
    "--help",
    "{{ .Values }}",
    "${HOME}",
    "%s%n%x",
    "'; drop table",
    "null",
    "true",
    "NaN",
    "0x1F",
    "1e309",
    "\u{202e}gnp",
    "\u{200b}",
    "\u{feff}a",
    "Ä",
    "e\u{301}",
    "ＡＢＣ",
    "🦀",
    "\u{10ffff}",
];

const NUMBERS: [f64; 6] = [0.5, -0.0, 1e308, -1e308, 1e-308, 9_007_199_254_740_993.0];

const WHOLE: [i64; 16] = [
    0,
    1,
    -1,
    2,
    32,
    33,
    64,
    65,
    1_000,
    1_001,
    65_535,
    65_536,
    i32::MAX as i64,
    i32::MAX as i64 + 1,
    i64::MAX,
    i64::MIN,
];

const SPANS: [&str; 24] = [
    "0",
    "0s",
    "-5s",
    "1ns",
    "99ms",
    "100ms",
    "1s",
    "5",
    "5 s",
    "5parsecs",
    "1e9h",
    "9999999999h",
    "2562048h",
    "1h1h",
    "1.5s",
    ".5s",
    "+1s",
    "٣s",
    "1µs",
    "",
    "s",
    "24h1ns",
    "292y",
    "P1D",
];

const AMOUNTS: [&str; 24] = [
    "0",
    "-1",
    "1",
    "1e3",
    "1E3",
    "1Ki",
    "32Ki",
    "256Mi",
    "257Mi",
    "1Ei",
    "8Ei",
    "9Ei",
    "16Ei",
    "99999999999999999999",
    "0.1",
    "1m",
    "1n",
    "1.5Gi",
    "Gi",
    "1 Gi",
    "1GiB",
    "1k",
    "٣Ki",
    "1e-9",
];

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

/// A text.
pub(super) fn text(rng: &mut Rng) -> String {
    match rng.u8(..4) {
        0 => "a".repeat(*pick(rng, &LENGTHS)),
        1 => pick(rng, &TEXTS).repeat(1 + rng.usize(..300)),
        _ => (*pick(rng, &TEXTS)).to_owned(),
    }
}

/// A number.
pub(super) fn number(rng: &mut Rng) -> Value {
    if rng.u8(..4) == 0 { json!(pick(rng, &NUMBERS)) } else { json!(pick(rng, &WHOLE)) }
}

/// A time.
pub(super) fn span(rng: &mut Rng) -> Value {
    json!(pick(rng, &SPANS))
}

/// An amount of bytes or cores.
pub(super) fn amount(rng: &mut Rng) -> Value {
    json!(pick(rng, &AMOUNTS))
}

/// Anything.
pub(super) fn anything(rng: &mut Rng) -> Value {
    match rng.u8(..10) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => number(rng),
        3 => span(rng),
        4 => amount(rng),
        5 => json!([]),
        6 => json!({}),
        7 => json!([text(rng), number(rng)]),
        8 => deep(1 + rng.usize(..60)),
        _ => json!(text(rng)),
    }
}

/// Something of the same kind as what was there.
pub(super) fn alike(rng: &mut Rng, was: &Value) -> Value {
    match was {
        Value::Number(_) => number(rng),
        Value::Bool(was) => json!(!was),
        Value::String(was)
            if was.ends_with(['s', 'm', 'h']) && was.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            span(rng)
        }
        Value::String(was) if was.starts_with(|c: char| c.is_ascii_digit()) => amount(rng),
        Value::String(_) => json!(text(rng)),
        _ => anything(rng),
    }
}

/// Objects in objects.
pub(super) fn deep(levels: usize) -> Value {
    (0..levels).fold(json!("bottom"), |inner, level| {
        if level % 3 == 0 { json!([inner]) } else { json!({ "spec": inner }) }
    })
}

/// A list or an object of very many.
pub(super) fn many(rng: &mut Rng, like: &Value) -> Value {
    let count = [2, 17, 33, 65, 300, 3_000][rng.usize(..6)];
    match like {
        Value::Array(items) => {
            let same = rng.bool();
            let item = |at: usize| match items.first() {
                Some(Value::String(text)) if !same => json!(format!("{text}{at}")),
                Some(item) => item.clone(),
                None => json!(format!("x{at}")),
            };
            (0..count).map(item).collect()
        }
        _ => (0..count).map(|at| (format!("example.com/k{at}"), json!(format!("{at}")))).collect(),
    }
}
