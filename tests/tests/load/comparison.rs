//! Commands of the documentation: the same load on another server, and the point by which `wsgw size` can be checked.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use harness::{Scratch, repository, wsgw};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::rig::{Gateway, SOON, load, nats, number};

/// Where `hack/interop` has put Node's modules.
fn modules() -> Result<String> {
    let output =
        std::process::Command::new(repository().join("hack/interop")).arg("--dir").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(format!("{}/node/node_modules", String::from_utf8(output.stdout)?.trim()))
}

/// The server of docs/load.md; its port.
async fn fanout(page: &str, nats_port: &str, scratch: &Scratch) -> Result<(Child, u16)> {
    let source = page.split("```js\n").nth(1).and_then(|text| text.split("```").next());
    let source = scratch.write("fanout.cjs", source.context("the page has no server")?)?;
    let mut child = Command::new("node")
        .env("NODE_PATH", modules()?)
        .arg(source)
        .args(["0", nats_port, "p."])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    let line = tokio::time::timeout(SOON, lines.next_line()).await?.ok().flatten();
    let line = line.context("the server has ended")?;
    let port = line.strip_prefix("listening ").context("another line")?.parse()?;
    Ok((child, port))
}

/// The arguments of each `wsgw load` in a text, as a shell reads them that has no blanks within quotes.
fn commands(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let commands = text.lines().filter_map(|line| line.trim().strip_prefix("wsgw load "));
    commands.map(|command| command.replace('\'', "")).collect()
}

fn changed(command: &str, changes: &[(&str, &str)]) -> Result<String> {
    let mut command = command.to_owned();
    for (from, to) in changes {
        ensure!(command.contains(from), "{command} has no {from}");
        command = command.replace(from, to);
    }
    Ok(command)
}

#[tokio::test]
async fn the_same_load_on_another_server_as_the_page_shows_it() -> Result<()> {
    let (nats, scratch) = (nats().await?, Scratch::new("load-fanout")?);
    let gateway = Gateway::start(&nats).await?;
    let page = std::fs::read_to_string(repository().join("docs/load.md"))?;
    let url = nats.url();
    let nats_port = url.rsplit(':').next().context("a port")?;
    let (_server, port) = fanout(&page, nats_port, &scratch).await?;

    let section = page.split("### The same load on both").nth(1).context("no such section")?;
    let commands = commands(section);
    ensure!(commands.len() == 2, "{commands:?}");
    let small = [
        ("nats://127.0.0.1:4222", url.as_str()),
        ("odin.token.", "p."),
        ("-c 1000 --ramp 10s --duration 1m", "-c 20 --ramp 0s --duration 2s"),
    ];
    let (theirs, ours) = (format!("ws://127.0.0.1:{port}/"), gateway.url());
    for (command, target, address, file) in [
        (&commands[0], "ws://127.0.0.1:9000/", theirs.as_str(), "fanout.json"),
        (&commands[1], "ws://127.0.0.1:8080/ws", ours.as_str(), "gateway.json"),
    ] {
        let command = changed(command, &small)?;
        let ended = load(&changed(&command, &[(target, address), (file, "-")])?).await?;
        let report = ended.report()?;
        let totals = &report["totals"];
        let harm = json!([totals["lost"], totals["twice"], totals["outOfOrder"], totals["errors"]]);
        assert_eq!(harm, json!([0, 0, 0, {}]), "{command}: {report:#}");
        assert_eq!(number(&report, "/peak"), 20.0, "{command}: {report:#}");
        // 100 a second on 20 channels, 3 of them for each of 20 clients.
        assert!(number(&report, "/totals/ours") > 300.0, "{command}: {report:#}");
        assert_eq!(report["latencyFrom"], "publisher", "{command}");
        assert_eq!(report["latency"]["count"], totals["ours"], "{command}: {report:#}");
    }
    Ok(())
}

/// What `wsgw size` says of a load.
async fn size(arguments: &str) -> Result<Value> {
    let mut command = wsgw()?;
    let output = command.arg("size").args(arguments.split_whitespace()).args(["-o", "json"]);
    let output = output.output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[tokio::test]
async fn the_point_that_wsgw_size_names_can_be_measured_by_its_command() -> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let estimate = size("-c 100 --messages 10 --channels 2 --payload 300").await?;
    let check = &estimate["check"];
    let command = check["command"].as_str().context("no command")?;
    let commands: [String; 1] = commands(command).try_into().ok().context("one command")?;
    let [command] = commands;
    let (target, admin, url) = (gateway.url(), gateway.admin.to_string(), nats.url());
    let command = changed(
        &command,
        &[
            ("ws://POD:8080/ws", target.as_str()),
            ("POD:9090", admin.as_str()),
            ("nats://nats.messaging:4222", url.as_str()),
            ("prices.", "p."),
            ("--ramp 30s --duration 60s", "--ramp 1s --duration 4s"),
        ],
    )?;
    let ended = load(&format!("{command} --json -")).await?;
    let report = ended.report()?;
    let totals = &report["totals"];
    let harm = json!([totals["lost"], totals["twice"], totals["outOfOrder"], totals["errors"]]);
    assert_eq!(harm, json!([0, 0, 0, {}]), "{report:#}");
    assert_eq!(report["peak"], check["connections"], "{report:#}");
    let setting = &report["setting"];
    let load = json!([setting["rate"], setting["payloadBytes"], setting["channelsPerClient"]]);
    assert_eq!(load, json!([10.0, 300, 2]), "the load that was asked about: {report:#}");
    // How much CPU it takes depends on the machine and on how the gateway was built: here only that the verdict is one of
    // a value that was measured.
    let verdict = &report["thresholds"][0];
    assert!(
        verdict["threshold"].as_str().is_some_and(|text| text.starts_with("cpu>")),
        "{report:#}"
    );
    assert!(number(verdict, "/value").is_finite(), "{report:#}");
    Ok(())
}
