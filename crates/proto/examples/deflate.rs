//! What compressing costs and saves: one ticker message, and ten in a batch frame.
//!
//! `cargo run --release -p wsgateway-proto --example deflate`

use std::hint::black_box;
use std::time::Instant;

use wsgateway_proto::deflate::{Deflater, Inflater};
use wsgateway_proto::frame::{self, Opcode};
use wsgateway_proto::v1;

/// Different messages that are compressed in turn, so that no branch predictor learns one by heart.
const MESSAGES: u64 = 640;
const ROUNDS: usize = 100;

fn main() {
    let messages: Vec<_> = (0..MESSAGES).map(ticker).collect();
    let batches: Vec<Vec<u8>> = messages
        .chunks(10)
        .map(|ten| {
            let mut out = Vec::new();
            v1::batch(&mut out, ten.iter().map(|message| frame::payload(message)));
            out
        })
        .collect();
    measure("one ticker", messages.iter().map(AsRef::as_ref));
    measure("batch of ten", batches.iter().map(AsRef::as_ref));
}

/// A message as a publisher of prices sends it; digits differ from one to the next.
fn ticker(number: u64) -> Vec<u8> {
    const SYMBOLS: [&str; 8] = ["BTC", "ETH", "SOL", "ADA", "XRP", "DOGE", "AVAX", "LINK"];
    let noise = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
    let symbol = SYMBOLS[noise as usize % SYMBOLS.len()];
    let price = 20_000.0 + (noise % 1_000_003) as f64 / 97.0;
    let payload = format!(
        "{{\"type\":\"price:update\",\"symbol\":\"{symbol}\",\"price\":{price:.4},\
         \"bid\":{:.4},\"ask\":{:.4},\"volume24h\":{:.2},\"change24h\":{:.3},\
         \"high24h\":{:.2},\"low24h\":{:.2},\"nonce\":\"{noise:012x}\",\
         \"source\":\"exchange-{}\",\"timestamp\":{}}}",
        price - 0.25,
        price + 0.25,
        (noise % 99_999_989) as f64 / 3.0,
        (noise % 2_000) as f64 / 100.0 - 10.0,
        price * 1.04,
        price * 0.97,
        noise % 3,
        1_700_000_000_000 + number * 37,
    );
    let channel = format!("{symbol}.price");
    let (offset, prev, ts) = (9_000_000 + number, 9_000_000 + number - 8, 1_700_000_000_000);
    v1::message(&v1::Message {
        channel: &channel,
        offset,
        prev,
        ts: ts + number as i64 * 37,
        payload: payload.as_bytes(),
        deleted: None,
    })
    .to_vec()
}

fn measure<'a>(name: &str, frames: impl Iterator<Item = &'a [u8]> + Clone) {
    let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
    let bodies = frames.map(frame::payload);
    let (count, plain) = bodies.clone().fold((0, 0), |(n, b), body| (n + 1, b + body.len()));
    let mut twins = Vec::new();
    let deflating = best_of(|| {
        twins.clear();
        for body in bodies.clone() {
            let mut twin = Vec::new();
            if deflater.message(body, &mut twin) {
                twins.push(twin);
            }
        }
    });
    let inflating = best_of(|| {
        for twin in &twins {
            let event = inflater.message(Opcode::Text, frame::payload(twin), 1 << 20);
            let _ = black_box(event);
        }
    });
    let small: usize = twins.iter().map(|twin| frame::payload(twin).len()).sum();
    println!(
        "{name}: {} B to {} B ({:.2}x, {:.0} %), deflate {:.2} us, inflate {:.2} us",
        plain / count,
        small / count,
        plain as f64 / small as f64,
        100.0 * small as f64 / plain as f64,
        deflating * 1e6 / count as f64,
        inflating * 1e6 / count as f64,
    );
}

/// Seconds of the fastest of several rounds: what else the machine does only ever adds.
#[expect(clippy::disallowed_methods, reason = "a measurement, not part of the crate")]
fn best_of(mut round: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        round();
        best = best.min(begin.elapsed().as_secs_f64());
    }
    best
}
