//! Against servers that are none of ours: other ones, and bad ones.

use std::net::SocketAddr;

use anyhow::Result;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use super::rig::{load, number};

/// Serves every connection until the test ends.
pub(super) async fn serve<F: Future<Output = ()> + Send + 'static>(
    script: impl Fn(TcpStream) -> F + Send + 'static,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(stream));
        }
    });
    Ok(address)
}

const RUN: &str = "-c 20 --ramp 0s --duration 2s --timeout 500ms --no-reconnect --json -";

#[tokio::test]
async fn nobody_listens() -> Result<()> {
    let ended = load(&format!("ws://127.0.0.1:1 {RUN}")).await?;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("no connection was opened: Connection refused"), "{ended:?}");
    assert_eq!(ended.report()?["totals"]["errors"]["connection refused"], 20);
    Ok(())
}

#[tokio::test]
async fn a_server_that_refuses_is_counted_by_its_status() -> Result<()> {
    let address = serve(|mut stream| async move {
        let answer = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
        let _ = stream.read(&mut [0; 4_096]).await;
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await?;
    let ended = load(&format!("ws://{address} {RUN}")).await?;
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.report()?["totals"]["errors"]["refused with 503"], 20);
    Ok(())
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_time() -> Result<()> {
    let address = serve(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await?;
    let ended = load(&format!("ws://{address} {RUN}")).await?;
    assert_eq!(ended.report()?["totals"]["errors"]["no answer in time"], 20);
    Ok(())
}

#[tokio::test]
async fn a_server_that_lies_in_its_handshake_is_no_websocket_server() -> Result<()> {
    let address = serve(|mut stream| async move {
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: bGllcw==\r\n\r\n";
        let _ = stream.read(&mut [0; 4_096]).await;
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await?;
    let ended = load(&format!("ws://{address} {RUN}")).await?;
    assert_eq!(ended.report()?["totals"]["errors"]["not an upgrade"], 20);
    Ok(())
}

#[tokio::test]
async fn a_server_that_closes_in_the_middle_of_a_frame_is_counted_by_its_close() -> Result<()> {
    let address = serve(|stream| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        let _ = socket.send(Message::text("{}")).await;
        // The head of a frame of 100 bytes, and three of them.
        let _ = socket.get_mut().write_all(&[0x81, 100, b'a', b'b', b'c']).await;
    })
    .await?;
    let ended = load(&format!("ws://{address} --protocol raw {RUN}")).await?;
    let report = ended.report()?;
    assert_eq!(report["totals"]["errors"]["closed with 1006"], 20, "{report:#}");
    assert_eq!((ended.code, &report["totals"]["messages"]), (Some(0), &json!(20)));
    Ok(())
}

#[tokio::test]
async fn another_server_is_spoken_to_by_a_template_and_heard_by_paths() -> Result<()> {
    let address = serve(|stream| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        let Some(Ok(Message::Text(said))) = socket.next().await else { return };
        if !said.starts_with("{\"sub\":\"BTC\"}") {
            return;
        }
        // 3 is lost, 5 comes twice.
        for number in [1, 2, 4, 5, 5] {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let micros = now.map_or(0, |now| now.as_micros() as u64);
            let text = json!({ "data": { "seq": number, "at": micros } }).to_string();
            let _ = socket.send(Message::text(text)).await;
        }
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await?;
    let ended = load(&format!(
        "ws://{address} --protocol raw --channel BTC --raw-subscribe {{\"sub\":\"{{channel}}\"}} --raw-sequence data.seq \
         --raw-time data.at --raw-unit us -c 10 --ramp 0s --duration 2s --json -"
    ))
    .await?;
    let report = ended.report()?;
    let totals = &report["totals"];
    assert_eq!(
        json!([totals["messages"], totals["lost"], totals["twice"], totals["errors"]]),
        json!([50, 10, 10, {}]),
        "{report:#}"
    );
    assert_eq!(
        (&report["latencyFrom"], number(&report, "/latency/count")),
        (&json!("message"), 50.0)
    );
    assert!(number(&report, "/latency/maxMs") < 60_000.0, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_publisher_whose_clock_jumps_by_hours_makes_no_latency_of_hours_and_is_reported()
-> Result<()> {
    const HOUR_MS: i64 = 3_600_000;
    let address = serve(|stream| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        for hours in [0, 2, 2, -3, 0, i64::MIN, 0] {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let now = now.map_or(0, |now| now.as_millis() as i64);
            // The lowest of all is 1970.
            let at = now.saturating_add(hours.saturating_mul(HOUR_MS)).max(0);
            let _ = socket.send(Message::text(json!({ "at": at }).to_string())).await;
        }
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await?;
    let run = "--protocol raw --raw-time at -c 10 --ramp 0s --duration 2s --json -";
    let report = load(&format!("ws://{address} {run}")).await?.report()?;
    assert_eq!(number(&report, "/latency/count"), 30.0, "{report:#}");
    assert!((0.0..60_000.0).contains(&number(&report, "/latency/maxMs")), "{report:#}");
    let totals = &report["totals"];
    assert_eq!(json!([totals["messages"], totals["misdated"]]), json!([70, 40]), "{report:#}");
    assert_eq!(totals["setBack"], 20, "{report:#}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("40 messages carry a time more than ten minutes"), "{notes}");
    assert!(notes.contains("went back 20 times"), "{notes}");
    Ok(())
}
