use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::NATURAL_RATE;

const START: u64 = 1_800_000_000_000_000;

fn demo(seed: u64, rate: f64) -> Market {
    let settings = Settings::demo(Shape::Odin).changed(Some(rate), None).unwrap();
    Market::open(seed, settings, START)
}

fn run(market: &mut Market, seconds: u64) -> Vec<Message> {
    (1..=seconds * 20).flat_map(|step| market.advance(START + step * 50_000)).collect()
}

fn payload(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap()
}

#[test]
fn the_same_seed_and_times_give_the_same_market() {
    let (mut one, mut two) = (demo(7, 20.0), demo(7, 20.0));
    assert_eq!(run(&mut one, 10), run(&mut two, 10));
    assert_ne!(run(&mut demo(8, 20.0), 1), run(&mut demo(7, 20.0), 1));
}

#[test]
fn all_five_tokens_have_a_price_at_once() {
    let subjects: BTreeSet<_> =
        demo(1, NATURAL_RATE).advance(START).into_iter().map(|message| message.subject).collect();
    for token in ["BTC", "ETH", "ODIN", "SOL", "DOGE"] {
        let subject = format!("odin.token.{token}.price");
        assert!(subjects.contains(&*subject), "{token} in {subjects:?}");
    }
}

#[test]
fn the_rate_is_about_what_was_asked_for() {
    for (rate, seconds) in [(NATURAL_RATE, 60), (500.0, 10), (20_000.0, 1)] {
        let count = run(&mut demo(1, rate), seconds).len() as f64 / seconds as f64;
        assert!((rate * 0.85..rate * 1.15).contains(&count), "asked for {rate}, got {count}");
    }
}

#[test]
fn every_kind_of_message_comes_with_its_own_nonce_and_the_time() {
    let messages = run(&mut demo(3, NATURAL_RATE), 60);
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
    assert_eq!(subjects, Market::subjects(&Settings::demo(Shape::Odin)).collect());
    let nonces: BTreeSet<_> = messages.iter().map(|message| &message.nonce).collect();
    assert_eq!(nonces.len(), messages.len());
    let expected = [
        ("batch:update", "update"),
        ("market:stats", "statistics"),
        ("price:update", "price"),
        ("trade:executed", "trade"),
        ("trending_update", "trending"),
        ("volume:update", "volume"),
    ];
    assert_eq!(kinds, expected.map(|(kind, subject)| (kind.to_owned(), subject.to_owned())).into());
}

#[test]
fn a_price_names_the_fields_that_clients_of_the_odin_servers_read() {
    let first = &demo(3, NATURAL_RATE).advance(START)[0];
    let payload = payload(first);
    let keys: BTreeSet<_> = payload.as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["nonce", "price", "priceChange24h", "source", "timestamp", "tokenId", "type", "volume24h"];
    assert_eq!(keys, expected.into());
    assert_eq!(payload["source"], "scheduler");
}

#[test]
fn a_week_of_walking_leaves_prices_believable() {
    let mut market = demo(11, NATURAL_RATE);
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
    let mut market = demo(5, NATURAL_RATE);
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
    let mut market = demo(5, NATURAL_RATE);
    market.advance(START);
    let earlier = START - 3_600_000_000;
    market.advance(earlier);
    assert!((0..60).any(|step| !market.advance(earlier + step * 50_000).is_empty()));
}

#[test]
fn the_trades_of_the_redis_gateway_have_its_channels_and_fields() {
    let mut market = Market::open(5, Settings::demo(Shape::Trades), START);
    let messages = run(&mut market, 60);
    let subjects: BTreeSet<_> = messages.iter().map(|message| &*message.subject).collect();
    let expected =
        ["AAPL", "AMZN", "GOOGL", "MSFT", "TSLA"].map(|one| format!("channel:trade:{one}"));
    assert_eq!(subjects, expected.iter().map(String::as_str).collect());
    let payload = payload(&messages[0]);
    let keys: BTreeSet<_> = payload.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["exchange", "price", "symbol", "timestamp", "volume"].into());
    assert_eq!(
        format!("channel:trade:{}", payload["symbol"].as_str().unwrap()),
        *messages[0].subject
    );
    assert!(payload["volume"].as_u64().is_some_and(|volume| volume > 0), "{payload}");
    // Every one to three seconds.
    assert!((100..200).contains(&messages.len()), "{} in a minute", messages.len());
}

#[test]
fn other_settings_keep_prices_of_tokens_that_stay_and_nonces_go_on() {
    let mut market = demo(9, NATURAL_RATE);
    let before = run(&mut market, 5).len() as u64;
    let price = market.tokens[1].price();
    let tokens = ["NEW", "ETH"].map(str::to_owned).to_vec();
    let settings = Settings::demo(Shape::Odin).changed(Some(200.0), Some(tokens)).unwrap();
    let now = START + 5_000_000;
    market.configure(settings.clone(), now);
    assert_eq!((market.tokens[1].id(), market.tokens[1].price()), ("ETH", price));
    let after: Vec<_> = (1..=200).flat_map(|step| market.advance(now + step * 50_000)).collect();
    assert_eq!(after[0].number, before + 1);
    assert!((1_700..2_300).contains(&after.len()), "{}", after.len());
    let subjects: BTreeSet<_> = after.into_iter().map(|message| message.subject).collect();
    assert_eq!(subjects, Market::subjects(&settings).collect());
}

#[test]
fn what_fell_due_while_the_market_was_stopped_is_passed_over() {
    let mut market = demo(9, 1_000.0);
    run(&mut market, 1);
    let later = START + 600_000_000;
    market.resume(later);
    let first = market.advance(later);
    assert!(first.len() < 20, "{} at once", first.len());
}

#[test]
fn a_thousand_tokens_of_any_name_have_believable_prices_and_short_lists() {
    let tokens = (0..1_000).map(|n| format!("COIN-{n}")).collect();
    let settings = Settings::demo(Shape::Odin).with_tokens(tokens).unwrap();
    let mut market = Market::open(2, settings, START);
    assert!(market.tokens.iter().all(|token| (0.005..2_000.0).contains(&token.price())));
    let messages = run(&mut market, 1);
    let largest = messages.iter().map(|message| message.payload.len()).max().unwrap();
    assert!(largest < 16 << 10, "{largest} bytes");
}
