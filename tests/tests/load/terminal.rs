//! On a terminal of its own: however small that is, and with Ctrl-C as a person presses it.

use anyhow::Result;
use futures_util::future::try_join_all;
use harness::{OnTerminal, Shown, wait_until, wsgw};

use super::rig::{Gateway, SOON, nats};

/// Columns and rows.
type Size = (u16, u16);

fn start(arguments: &str, size: Size) -> Result<OnTerminal> {
    let mut command = wsgw()?;
    command.args(arguments.split_whitespace());
    OnTerminal::start(command, size)
}

/// Both commands, for hours.
fn commands(gateway: &Gateway) -> [(&'static str, String); 2] {
    let (url, admin) = (gateway.url(), gateway.admin);
    [
        ("Load", format!("load {url} -c 5 --ramp 0s --duration 1h")),
        (
            "Simulation",
            format!(
                "simulate {url} --profile custom -c 5 --ramp 0s --duration 1h --health http://{admin}/health"
            ),
        ),
    ]
}

/// Runs it until its screen is there, and then until Ctrl-C ends it.
async fn interrupted(arguments: String, (columns, rows): Size) -> Result<Shown> {
    let mut running = start(&arguments, (columns, rows))?;
    let head: String = "wsgw ".chars().take(columns.into()).collect();
    wait_until(SOON, "the first line of its screen", async || {
        running.screen().starts_with(head.trim_end())
    })
    .await?;
    // Before the terminal itself echoes ^C, wherever the cursor is.
    assert_eq!(running.wrapped(), None, "{columns} columns, {rows} rows");
    running.interrupt().await?;
    running.ended().await
}

#[tokio::test]
async fn no_line_is_wider_than_the_terminal_and_ctrl_c_leaves_the_report_on_it() -> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let sizes: [Size; 6] = [(20, 24), (20, 1), (7, 3), (1, 1), (80, 24), (200, 60)];
    for (title, arguments) in commands(&gateway) {
        let runs = sizes.map(|size| interrupted(arguments.clone(), size));
        for (size, shown) in sizes.iter().zip(try_join_all(runs).await?) {
            assert_eq!((shown.code, shown.is_restored), (Some(0), true), "{size:?}: {shown:?}");
            for text in [&format!("# {title}:"), "| Lost | 0 |", "- interrupted: "] {
                assert!(shown.left.contains(text), "{size:?}: {text} is missing in {shown:?}");
            }
            // From 80 columns on rows of tables stay whole; fewer than 20 are not read.
            let longest = shown.left.lines().map(|line| line.chars().count()).max();
            assert!(size.0 >= 80 || longest <= Some(size.0.max(20).into()), "{size:?}: {shown:?}");
            assert!(!shown.left.contains("panicked"), "{size:?}: {shown:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn ctrl_c_asks_processes_of_their_own_for_their_last_word_and_thresholds_still_count()
-> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let run = format!("load {} -c 6 --ramp 0s --duration 1h", gateway.url());
    let shown = interrupted(format!("{run} --processes 2"), (80, 24)).await?;
    assert_eq!((shown.code, shown.is_restored), (Some(0), true), "{shown:?}");
    assert!(shown.left.contains("| Clients, at most at the same time | 6 of 6 |"), "{shown:?}");
    assert!(!shown.left.contains("a worker ended"), "{shown:?}");

    let shown = interrupted(format!("{run} --fail-if connected<7"), (80, 24)).await?;
    assert_eq!((shown.code, shown.is_restored), (Some(1), true), "{shown:?}");
    assert!(shown.left.contains("| connected&lt;7 | 6.000 | **failed** |"), "{shown:?}");
    assert!(shown.left.contains("wsgw: error: the run has failed by connected<7"), "{shown:?}");
    Ok(())
}

#[tokio::test]
async fn a_second_ctrl_c_ends_without_a_report_and_leaves_the_terminal_as_it_was() -> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let mut running = start(
        &format!(
            "load {} -c 5 --ramp 0s --duration 1h --publish {} --subject p.{{channel}}",
            gateway.url(),
            nats.url()
        ),
        (80, 24),
    )?;
    running.shows("5 clients, 0 connecting").await?;
    // What is published from now on is waited for.
    gateway.freeze().await?;
    let then = running.screen();
    wait_until(SOON, "the next screen", async || running.screen() != then).await?;
    running.interrupt().await?;
    running.shows("Waiting for the last messages").await?;
    running.interrupt().await?;
    let shown = running.ended().await?;
    assert_eq!((shown.code, shown.is_restored), (Some(130), true), "{shown:?}");
    assert!(!shown.left.contains("# Load"), "{shown:?}");
    Ok(())
}

#[tokio::test]
async fn lines_instead_of_a_screen_stay_on_the_terminal() -> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let run = format!("load {} -c 5 --ramp 0s --duration 1h --plain", gateway.url());
    let mut running = start(&run, (80, 24))?;
    running.shows("s  5 clients").await?;
    running.interrupt().await?;
    let shown = running.ended().await?;
    assert_eq!((shown.code, shown.is_restored), (Some(0), true), "{shown:?}");
    assert!(shown.left.contains("s  5 clients") && shown.left.contains("| Lost | 0 |"));
    Ok(())
}
