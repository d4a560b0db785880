//! The messages of the market as JSON: field names and types as in seeds S0, S1, S3 and S4.

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PriceUpdate<'a> {
    pub(super) r#type: &'static str,
    pub(super) token_id: &'a str,
    pub(super) price: f64,
    pub(super) volume24h: f64,
    /// Percent.
    pub(super) price_change24h: f64,
    /// Unix time, ms.
    pub(super) timestamp: u64,
    /// What caused it: `scheduler` or `trade`.
    pub(super) source: &'static str,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TradeExecuted<'a> {
    pub(super) r#type: &'static str,
    pub(super) token_id: &'a str,
    pub(super) trade_id: u64,
    pub(super) side: &'static str,
    pub(super) price: f64,
    /// Tokens.
    pub(super) amount: f64,
    /// Price times amount.
    pub(super) value: f64,
    pub(super) timestamp: u64,
    pub(super) source: &'static str,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VolumeUpdate<'a> {
    pub(super) r#type: &'static str,
    pub(super) token_id: &'a str,
    pub(super) volume24h: f64,
    pub(super) trades24h: u64,
    pub(super) timestamp: u64,
    pub(super) source: &'static str,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MarketStats<'a> {
    pub(super) r#type: &'static str,
    pub(super) total_market_cap: f64,
    pub(super) total_volume24h: f64,
    pub(super) trades24h: u64,
    pub(super) active_tokens: usize,
    pub(super) gainers: usize,
    pub(super) losers: usize,
    pub(super) top_gainer: &'a str,
    pub(super) top_loser: &'a str,
    pub(super) timestamp: u64,
    pub(super) source: &'static str,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
pub(super) struct BatchUpdate<'a> {
    pub(super) r#type: &'static str,
    pub(super) updates: Vec<Quote<'a>>,
    pub(super) timestamp: u64,
    pub(super) source: &'static str,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Quote<'a> {
    pub(super) token_id: &'a str,
    pub(super) price: f64,
    pub(super) volume24h: f64,
    pub(super) price_change24h: f64,
}

#[derive(Serialize)]
pub(super) struct TrendingUpdate<'a> {
    pub(super) r#type: &'static str,
    pub(super) data: Top<'a>,
    pub(super) timestamp: u64,
    pub(super) source: &'static str,
    pub(super) nonce: &'a str,
}

#[derive(Serialize)]
pub(super) struct Top<'a> {
    pub(super) top_100: Vec<Listed<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed<'a> {
    pub(super) id: &'a str,
    pub(super) price: f64,
    pub(super) volume: f64,
    pub(super) price_change24h: f64,
}

/// S4's payload.
#[derive(Serialize)]
pub(super) struct TradePrint<'a> {
    pub(super) symbol: &'a str,
    pub(super) price: f64,
    /// Shares.
    pub(super) volume: u64,
    pub(super) timestamp: u64,
    pub(super) exchange: &'static str,
}
