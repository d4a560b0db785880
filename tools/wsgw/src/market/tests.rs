use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;

const START: u64 = 1_800_000_000_000_000;

fn run(market: &mut Market, seconds: u64) -> Vec<Message> {
    (1..=seconds * 20).flat_map(|step| market.advance(START + step * 50_000)).collect()
}

fn payload(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap()
}

#[test]
fn the_same_seed_and_times_give_the_same_market() {
    let (mut one, mut two) = (Market::new(7, 20.0, START), Market::new(7, 20.0, START));
    assert_eq!(run(&mut one, 10), run(&mut two, 10));
    assert_ne!(run(&mut Market::new(8, 20.0, START), 1), run(&mut Market::new(7, 20.0, START), 1));
}

#[test]
fn all_five_tokens_have_a_price_at_once() {
    let subjects: BTreeSet<_> = Market::new(1, NATURAL_RATE, START)
        .advance(START)
        .into_iter()
        .map(|message| message.subject)
        .collect();
    for token in ["BTC", "ETH", "ODIN", "SOL", "DOGE"] {
        assert!(subjects.contains(&format!("odin.token.{token}.price")), "{token} in {subjects:?}");
    }
}

#[test]
fn the_rate_is_about_what_was_asked_for() {
    for (rate, seconds) in [(NATURAL_RATE, 60), (500.0, 10), (20_000.0, 1)] {
        let count = run(&mut Market::new(1, rate, START), seconds).len() as f64 / seconds as f64;
        assert!((rate * 0.85..rate * 1.15).contains(&count), "asked for {rate}, got {count}");
    }
}

#[test]
fn every_kind_of_message_comes_with_its_own_nonce_and_the_time() {
    let messages = run(&mut Market::new(3, NATURAL_RATE, START), 60);
    let mut kinds = BTreeMap::new();
    for message in &messages {
        let payload = payload(message);
        assert_eq!(payload["nonce"], message.nonce.as_str());
        assert!(
            payload["timestamp"]
                .as_u64()
                .is_some_and(|ms| (START / 1_000..=START / 1_000 + 60_000).contains(&ms))
        );
        let kind = payload["type"].as_str().unwrap().to_owned();
        kinds.insert(kind, message.subject.rsplit('.').next().unwrap().to_owned());
    }
    let subjects: BTreeSet<_> = messages.iter().map(|message| message.subject.clone()).collect();
    assert_eq!(subjects, Market::subjects().collect());
    let nonces: BTreeSet<_> = messages.iter().map(|message| &message.nonce).collect();
    assert_eq!(nonces.len(), messages.len());
    let expected = [
        ("market:stats", "statistics"),
        ("price:update", "price"),
        ("trade:executed", "trade"),
        ("volume:update", "volume"),
    ];
    assert_eq!(kinds, expected.map(|(kind, subject)| (kind.to_owned(), subject.to_owned())).into());
}

#[test]
fn a_price_names_the_fields_that_clients_of_the_odin_servers_read() {
    let first = &Market::new(3, NATURAL_RATE, START).advance(START)[0];
    let payload = payload(first);
    let keys: BTreeSet<_> = payload.as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["nonce", "price", "priceChange24h", "source", "timestamp", "tokenId", "type", "volume24h"];
    assert_eq!(keys, expected.into());
    assert_eq!(payload["source"], "scheduler");
}

#[test]
fn a_week_of_walking_leaves_prices_believable() {
    let mut market = Market::new(11, NATURAL_RATE, START);
    let opened: Vec<_> = market.tokens.iter().map(Token::price).collect();
    for minute in 0..7 * 24 * 60 {
        for token in &mut market.tokens {
            token.walk(&mut market.rng, START + minute * 60_000_000);
        }
    }
    for (token, opened) in market.tokens.iter().zip(opened) {
        let ratio = token.price() / opened;
        assert!(
            (0.5..2.0).contains(&ratio),
            "{} went from {opened} to {}",
            token.id(),
            token.price()
        );
    }
}

#[test]
fn after_a_long_sleep_the_market_goes_on_from_now() {
    let mut market = Market::new(5, NATURAL_RATE, START);
    market.advance(START);
    let woken = START + 3_600_000_000;
    let messages = market.advance(woken);
    assert!(messages.len() < 100, "{} messages of the past", messages.len());
    assert!(market.next_due_us() > woken);
    let oldest =
        messages.iter().map(|message| payload(message)["timestamp"].as_u64().unwrap()).min();
    assert!(oldest >= Some((woken - CATCH_UP_US) / 1_000));
}

#[test]
fn a_clock_that_is_set_back_does_not_silence_the_market() {
    let mut market = Market::new(5, NATURAL_RATE, START);
    market.advance(START);
    let earlier = START - 3_600_000_000;
    market.advance(earlier);
    assert!((0..60).any(|step| !market.advance(earlier + step * 50_000).is_empty()));
}
