//! Prices, and what a load costs a month (pure, but for [`Prices::of`] reading a file).

use std::io::Read as _;

use serde::{Deserialize, Serialize};
use wsgateway_config::yaml;

use super::SizeError;
use super::estimate::{Memory, Pods, Traffic, rounded};
use super::polling::Polling;

const GCP: &str = include_str!("prices/gcp.yaml");
const AWS: &str = include_str!("prices/aws.yaml");
const BARE: &str = include_str!("prices/bare.yaml");

/// A price file is a page at most.
const LARGEST: u64 = 64 << 10;
const MOST_TIERS: usize = 16;
/// No price is higher; with it no sum overflows.
const HIGHEST: f64 = 1e9;
/// A month of 730 hours, as clouds count.
const HOURS: f64 = 730.0;
const SECONDS: f64 = HOURS * 3_600.0;

/// What things cost. GB and GiB as the names say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Prices {
    /// What is shown: whose prices these are.
    pub(crate) name: String,
    /// When somebody looked.
    pub(crate) date: String,
    pub(crate) currency: String,
    /// One core for one hour.
    pub(crate) core_hour: f64,
    /// One GiB of memory for one hour.
    pub(crate) memory_gib_hour: f64,
    /// To the internet, by what leaves in a month; the last one has no `upToGb`.
    pub(crate) egress: Vec<Tier>,
    /// Per GB between zones: NATS to pods.
    #[serde(default)]
    pub(crate) zone_gb: f64,
    /// A month, whatever it does.
    #[serde(default)]
    pub(crate) load_balancer_month: f64,
    /// Per GB that passes it.
    #[serde(default)]
    pub(crate) load_balancer_gb: f64,
    /// NATS, a month.
    #[serde(default)]
    pub(crate) nats_month: f64,
    /// A million requests to what answers polls.
    #[serde(default)]
    pub(crate) million_requests: f64,
}

/// A price of a range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Tier {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) up_to_gb: Option<f64>,
    pub(crate) gb: f64,
}

/// A month.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cost {
    pub(crate) currency: String,
    pub(crate) prices: String,
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
    pub(crate) egress_gb: f64,
    pub(crate) egress: f64,
    pub(crate) load_balancer: f64,
    pub(crate) nats: f64,
    pub(crate) total: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) polling: Option<PollingCost>,
}

/// A month of polling: what leaves, and what answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PollingCost {
    pub(crate) egress_gb: f64,
    pub(crate) egress: f64,
    pub(crate) requests: f64,
    pub(crate) total: f64,
}

impl Prices {
    /// Built-in examples, or a file.
    ///
    /// # Errors
    /// When the file cannot be read, or makes no sense.
    pub(crate) fn of(name: &str) -> Result<Self, SizeError> {
        match name {
            "gcp" => Self::read(name, GCP),
            "aws" => Self::read(name, AWS),
            "bare" => Self::read(name, BARE),
            file => {
                let unread = |source| SizeError::Unread { file: file.to_owned(), source };
                let mut text = String::new();
                let open = std::fs::File::open(file).map_err(unread)?;
                open.take(LARGEST + 1).read_to_string(&mut text).map_err(unread)?;
                if text.len() as u64 > LARGEST {
                    return Err(bad(file, format!("is larger than {LARGEST} bytes")));
                }
                Self::read(file, &text)
            }
        }
    }

    fn read(file: &str, text: &str) -> Result<Self, SizeError> {
        let prices: Self = yaml::from_str(text).map_err(|error| bad(file, error.to_string()))?;
        let numbers = [
            ("coreHour", prices.core_hour),
            ("memoryGibHour", prices.memory_gib_hour),
            ("zoneGb", prices.zone_gb),
            ("loadBalancerMonth", prices.load_balancer_month),
            ("loadBalancerGb", prices.load_balancer_gb),
            ("natsMonth", prices.nats_month),
            ("millionRequests", prices.million_requests),
        ];
        let tiers = prices.egress.iter().map(|tier| ("egress[].gb", tier.gb));
        for (field, price) in numbers.into_iter().chain(tiers) {
            if !(0.0..=HIGHEST).contains(&price) {
                return Err(bad(file, format!("{field} must be a number from 0 to {HIGHEST}")));
            }
        }
        for (field, text) in
            [("name", &prices.name), ("date", &prices.date), ("currency", &prices.currency)]
        {
            if text.is_empty() || text.len() > 64 {
                return Err(bad(file, format!("{field} must have 1 to 64 bytes")));
            }
        }
        if !are_tiers(&prices.egress) {
            let says =
                "egress must be 1 to 16 tiers with rising upToGb, the last of which has none";
            return Err(bad(file, says.to_owned()));
        }
        Ok(prices)
    }

    /// What a load costs a month, with `average` percent of its traffic.
    pub(crate) fn cost(
        &self,
        used: (&Pods, &Memory, &Traffic),
        polling: Option<&Polling>,
        average: u8,
    ) -> Cost {
        let (pods, memory, traffic) = used;
        let share = f64::from(average) / 100.0;
        let month = |bytes_per_second: f64| bytes_per_second * share * SECONDS / 1e9;
        let cores = f64::from(pods.count) * f64::from(pods.millicores_each) / 1e3;
        let gib = memory.request_bytes as f64 / f64::from(1 << 30);
        let egress_gb = month(traffic.egress_bytes_per_second);
        let (cpu, memory) = (cores * self.core_hour * HOURS, gib * self.memory_gib_hour * HOURS);
        let egress = self.egress(egress_gb);
        let load_balancer = self.load_balancer_month + egress_gb * self.load_balancer_gb;
        let nats = self.nats_month + month(traffic.nats_bytes_per_second) * self.zone_gb;
        let polling = polling.map(|polling| {
            let egress_gb = month(polling.egress_bytes_per_second);
            let millions = polling.requests_per_minute / 60.0 * share * SECONDS / 1e6;
            let (egress, requests) = (self.egress(egress_gb), millions * self.million_requests);
            PollingCost {
                egress_gb: rounded(egress_gb),
                egress: cents(egress),
                requests: cents(requests),
                total: cents(egress + requests),
            }
        });
        Cost {
            currency: self.currency.clone(),
            prices: format!("{}, {}", self.name, self.date),
            cpu: cents(cpu),
            memory: cents(memory),
            egress_gb: rounded(egress_gb),
            egress: cents(egress),
            load_balancer: cents(load_balancer),
            nats: cents(nats),
            total: cents(cpu + memory + egress + load_balancer + nats),
            polling,
        }
    }

    fn egress(&self, gb: f64) -> f64 {
        let (mut from, mut sum) = (0.0, 0.0);
        for tier in &self.egress {
            let to = tier.up_to_gb.unwrap_or(f64::INFINITY).min(gb);
            sum += (to - from).max(0.0) * tier.gb;
            from = to;
        }
        sum
    }
}

fn are_tiers(tiers: &[Tier]) -> bool {
    let Some((last, others)) = tiers.split_last() else { return false };
    let mut before = 0.0;
    let rises = others.iter().all(|tier| {
        let to = tier.up_to_gb.unwrap_or_default();
        to.is_finite() && to > std::mem::replace(&mut before, to)
    });
    tiers.len() <= MOST_TIERS && last.up_to_gb.is_none() && rises
}

fn bad(file: &str, says: String) -> SizeError {
    SizeError::Prices { file: file.to_owned(), says }
}

fn cents(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn egress_is_paid_by_ranges() {
        let prices = Prices::read("gcp", GCP).unwrap();
        let [first, second, third] = &prices.egress[..] else { panic!("{:?}", prices.egress) };
        let (a, b) = (first.up_to_gb.unwrap(), second.up_to_gb.unwrap());
        for (gb, cost) in [
            (0.0, 0.0),
            (a, a * first.gb),
            (b, a * first.gb + (b - a) * second.gb),
            (b + 1_000.0, a * first.gb + (b - a) * second.gb + 1_000.0 * third.gb),
        ] {
            assert!((prices.egress(gb) - cost).abs() < 1e-6, "{gb} GB: {}", prices.egress(gb));
        }
    }

    #[test]
    fn every_built_in_example_is_read_and_says_that_it_is_one() {
        for name in ["gcp", "aws", "bare"] {
            let prices = Prices::of(name).unwrap();
            assert!(prices.name.contains("example"), "{}", prices.name);
        }
    }

    #[test]
    fn a_price_file_that_makes_no_sense_is_refused_by_its_field() {
        for (from, to, says) in [
            ("coreHour: ", "coreHour: -", "coreHour must be"),
            ("coreHour: ", "coreHour: .nan #", "coreHour must be"),
            ("coreHour: ", "coreHour: .inf #", "coreHour must be"),
            ("coreHour: ", "coreHours: ", "coreHours"),
            ("upToGb: 1000", "upToGb: 100000", "rising upToGb"),
            ("upToGb: 1000", "upToGb: .nan", "rising upToGb"),
            ("currency: USD", "currency: ''", "currency must have"),
        ] {
            assert!(GCP.contains(from), "{from}");
            let error = Prices::read("mine", &GCP.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.starts_with("mine") && error.contains(says), "{to}: {error}");
        }
        let missing = Prices::of("/nowhere/prices.yaml").unwrap_err().to_string();
        assert!(missing.contains("gcp, aws or bare"), "{missing}");
    }
}
