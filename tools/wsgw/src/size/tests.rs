//! Loads of the project's own history, and rules that hold for all of them.

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};

const PIPE: Terminal = Terminal { width: None, height: None, color: false };

fn estimate_from(bench: Bench, flags: &str) -> Result<Estimate, SizeError> {
    let words = ["wsgw", "size"].into_iter().chain(flags.split_whitespace());
    let Command::Size(args) = Cli::try_parse_from(words).unwrap().command else { panic!("size") };
    let prices = args.prices.as_deref().map(Prices::of).transpose()?;
    Estimate::new(&args, bench, prices.as_ref())
}

/// By the last run of the benchmark.
fn estimate(flags: &str) -> Result<Estimate, SizeError> {
    estimate_from(Bench::read(bench::RESULTS).unwrap(), flags)
}

/// Round figures, so that a new run of the benchmark changes no snapshot.
fn page(flags: &str) -> String {
    let bench = Bench {
        cpu: "a CPU".to_owned(),
        delivery_us: 10.0,
        batch_cpu: 0.15,
        deflate_cpu: 0.2,
        deflate_bytes: 0.4,
        heartbeat_us: 0.4,
        handshake_us: 40.0,
        envelope_bytes: 100.0,
        kernel_kb: 5.0,
    };
    page::page(&estimate_from(bench, flags).unwrap(), PIPE)
}

/// What the designs that came before said of themselves.
#[test]
fn loads_of_earlier_designs_have_estimates() {
    for (name, flags) in [
        ("s0", "-c 100000 --polling-interval 2s --polling-response 5000 --prices gcp"),
        (
            "s1",
            "-c 100000 --channels 5 --payload 512 --polling-interval 2s --polling-response 5000 --prices aws",
        ),
        ("s2", "-c 2000 --channels 5 --messages 10 --prices bare"),
        (
            "s3",
            "-c 40000 --messages 12 --payload 500 --batch-window 1s --mobile 60 --average 25 --prices gcp",
        ),
    ] {
        insta::assert_snapshot!(format!("size_{name}"), page(flags));
    }
}

#[test]
fn polling_every_two_seconds_by_100_000_users_is_three_million_requests_and_15_gb_a_minute() {
    let flags = "-c 100000 --polling-interval 2s --polling-response 5000";
    let estimate = estimate(flags).unwrap();
    let polling = estimate.polling.unwrap();
    assert!((polling.requests_per_minute - 3e6).abs() < 1.0);
    assert!((polling.egress_bytes_per_second * 60.0 - 15e9).abs() < 1.0);
    let push = estimate.traffic.egress_bytes_per_second * 60.0;
    assert!(push < 3e9, "{push}: a fifth was hoped for");
    assert!(polling.push_requests_per_minute < 300_000.0, "a tenth was hoped for");
}

#[test]
fn every_manifest_is_valid_and_has_the_memory_that_the_operator_would_request() {
    for flags in [
        "-c 1",
        "-c 1 --messages 0",
        "-c 100 --connections-per-pod 1",
        "-c 1000 --connections-per-pod 7",
        "-c 100000 --messages 5 --published 500",
        "-c 7000000 --connections-per-pod 100000 --mobile 0 --surge 100",
        "-c 50000 --payload 1Mi --channels 10000",
        "-c 1000 --payload 40000 --published 1000000",
        "-c 90000 --messages 200 --batch-window 50ms --no-compression",
    ] {
        let estimate = estimate(flags).unwrap();
        let gateway = manifest::checked(&estimate.manifest).unwrap();
        assert_eq!(gateway.pod.resources.memory_request, None, "the operator derives it");
        assert_eq!(gateway.derived.memory_request, estimate.memory.request_bytes_each);
        assert_eq!(gateway.derived.memory_limit, estimate.memory.limit_bytes_each);
        let target = gateway.derived.target_connections;
        assert_eq!(target, estimate.pods.target(&estimate.load), "{flags}");
        let others = f64::from(estimate.pods.count - 1);
        assert!(others >= 1.0 && others * f64::from(target) >= estimate.load.clients(), "{flags}");
        let text = serde_json::to_string(&estimate).unwrap();
        assert!(!text.contains("null"), "{text}: a number that is none");
    }
}

/// The point that the benchmark has measured itself: 100,000 clients of six pods, a message a second each.
#[test]
fn the_point_that_the_benchmark_has_measured_is_estimated_as_it_was() {
    let estimate = estimate("-c 100002 --connections-per-pod 25000 --surge 0 --mobile 0").unwrap();
    let results: serde_json::Value = serde_json::from_str(bench::RESULTS).unwrap();
    let samples = results["samples"].as_array().unwrap();
    let crowd = samples.iter().find(|sample| sample["scenario"] == "p9").unwrap();
    let measured = crowd["figures"]["cpuCores"].as_f64().unwrap();
    // Heartbeats are in what was measured already, and count once more.
    let ratio = estimate.pods.cores / measured;
    assert!((1.0..1.1).contains(&ratio), "{} of {measured}", estimate.pods.cores);
}

#[test]
fn what_cannot_be_is_an_error_that_says_what_to_do() {
    for (flags, says) in [
        ("-c 10 --messages 5 --published 2", "raise --published"),
        ("-c 10000000", "raise --connections-per-pod"),
        ("-c 10000000 --connections-per-pod 1000000 --messages 1000000", "--batch-window"),
        ("-c 10 --prices /nowhere", "gcp, aws or bare"),
    ] {
        let error = estimate(flags).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn more_of_anything_never_takes_less() {
    let of = |flags: &str| estimate(&format!("{flags} --prices aws")).unwrap();
    let base = of("-c 100000 --messages 2");
    for more in
        ["-c 200000 --messages 2", "-c 100000 --messages 4", "-c 100000 --messages 2 --payload 1Ki"]
    {
        let more = of(more);
        assert!(more.pods.cores >= base.pods.cores && more.pods.count >= base.pods.count);
        assert!(more.traffic.egress_bytes_per_second > base.traffic.egress_bytes_per_second);
        assert!(more.cost.unwrap().total > base.cost.as_ref().unwrap().total);
    }
}

#[test]
fn batches_save_cpu_and_bytes_and_compression_saves_more_bytes() {
    let of = |flags: &str| estimate(&format!("-c 10000 --messages 10 {flags}")).unwrap();
    let (single, plain, deflate) =
        (of(""), of("--batch-window 1s --no-compression"), of("--batch-window 1s"));
    assert!(plain.pods.cores < single.pods.cores / 4.0);
    let bytes = |estimate: &Estimate| estimate.traffic.bytes_per_delivery;
    assert!(bytes(&plain) < bytes(&single) && bytes(&deflate) < bytes(&plain) / 2.0);
    let partly = of("--batch-window 300ms");
    assert!(bytes(&partly) < bytes(&single) && bytes(&partly) > bytes(&deflate));
}

#[test]
fn a_terminal_gets_lines_that_fit_it() {
    let estimate = estimate("-c 100000 --prices gcp --polling-interval 1s").unwrap();
    let narrow = Terminal { width: Some(80), ..PIPE };
    let text = page::page(&estimate, narrow);
    let table = text.lines().take_while(|line| !line.is_empty());
    assert!(table.clone().all(|line| line.chars().count() <= 80), "{text}");
    assert!(table.count() > 10);
}

#[test]
fn few_clients_get_small_pods_and_a_firehose_is_noted() {
    let few = estimate("-c 2000").unwrap();
    assert_eq!((few.load.connections_per_pod, few.pods.count), (2_500, 2));
    assert_eq!(estimate("-c 1").unwrap().load.connections_per_pod, 1_000);
    let noted =
        |flags| estimate(flags).unwrap().notes.iter().any(|note| note.contains("reads every"));
    assert!(noted("-c 2000 --published 20000") && noted("-c 2000 --published 9000 --payload 64Ki"));
    assert!(!noted("-c 2000 --published 500"));
}
