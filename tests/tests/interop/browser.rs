//! Chromium as a client. It offers permessage-deflate by itself and cuts large messages into frames as it likes.

use anyhow::{Context, Result, ensure};
use harness::{Chromium, Page, Viewport};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::peers::SOON;
use super::servers;

/// The clients of the page: `echo(url)` and `listen(ways)`.
const PAGE: &str = include_str!("../../interop/page.js");

/// A tab with our functions in it.
pub(super) struct Tab {
    page: Page,
    _browser: Chromium,
}

impl Tab {
    pub(super) async fn open() -> Result<Self> {
        let browser = Chromium::start().await?;
        let page = browser.open(&empty_page().await?, Viewport::DESKTOP).await?;
        page.wait_for("location.protocol === 'http:' && document.readyState === 'complete'", SOON)
            .await?;
        page.eval::<Value>(&format!("{PAGE}; null")).await?;
        Ok(Self { page, _browser: browser })
    }

    /// Begins to evaluate a promise.
    pub(super) async fn begin(&self, promise: &str) -> Result<()> {
        self.page.eval::<Value>(&format!("begin({promise}); null")).await.map(drop)
    }

    /// Waits until something is true, or what was begun has failed.
    pub(super) async fn wait_for(&self, truth: &str) -> Result<()> {
        self.page.wait_for(&format!("{truth} || window.outcome?.bad"), SOON).await?;
        let bad: Option<String> = self.page.eval("window.outcome?.bad ?? null").await?;
        let errors = self.page.console_errors();
        ensure!(bad.is_none(), "{}, {errors:?}", bad.unwrap_or_default());
        Ok(())
    }

    /// What came of it.
    pub(super) async fn outcome(&self) -> Result<Value> {
        self.wait_for("window.outcome").await?;
        self.page.eval("window.outcome.good").await
    }
}

/// The URL of a page without content. Only a page from loopback may connect to loopback.
async fn empty_page() -> Result<String> {
    async fn answer(stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 0 && line != "\r\n" {
            line.clear();
        }
        let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\
                    Connection: close\r\n\r\n";
        stream.write_all(page.as_bytes()).await?;
        stream.shutdown().await
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A browser opens connections in advance and says nothing on them.
            tokio::spawn(answer(stream));
        }
    });
    Ok(url)
}

#[tokio::test]
async fn chromium_gets_back_what_it_sent_and_is_told_why_it_is_closed() -> Result<()> {
    let server = servers::echo()?;
    let tab = Tab::open().await?;
    tab.begin(&format!("echo({})", json!(format!("ws://{}/", server.client_addr)))).await?;
    let good = tab.outcome().await?;
    ensure!(good.as_array().context("no list")?.len() >= 7, "{good}");
    Ok(())
}
