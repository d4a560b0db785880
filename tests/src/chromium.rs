//! A headless Chromium, driven over its debugging protocol.
//!
//! In: a URL and a viewport. Out: values of expressions, screenshots, and the errors that the page wrote
//! to its console or did not catch. One browser may hold any number of pages; each has its own errors.

mod cdp;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Guarded, Scratch, wait_until_some};
use cdp::Connection;

/// A cold start takes 1 s; the rest is for a machine that compiles at the same time.
const START: Duration = Duration::from_secs(60);

/// Names of the browser, in the order they are looked for on PATH.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Size of the page in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewport {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Viewport {
    /// A laptop.
    pub const DESKTOP: Self = Self { width: 1280, height: 800 };
    /// A phone, held upright. Narrower than 600 pixels also means touch and mobile layout.
    pub const PHONE: Self = Self { width: 390, height: 844 };
}

/// A running browser. Dropping it ends it and removes its profile.
#[derive(Debug)]
pub struct Chromium {
    connection: Connection,
    _browser: Guarded,
    _scratch: Scratch,
}

/// A tab.
#[derive(Debug)]
pub struct Page {
    connection: Connection,
    session: String,
    target: String,
}

impl Chromium {
    /// Starts the browser that `CHROMIUM` names, or the one on PATH, with a fresh profile.
    ///
    /// # Errors
    /// When there is none, or it does not start, with its log.
    pub async fn start() -> Result<Self> {
        let binary = find()?;
        let scratch = Scratch::new("chromium")?;
        let profile = scratch.join("profile");
        let browser = Guarded::start(&binary, &arguments(&profile), &scratch.join("chromium.log"))?;
        let port_file = profile.join("DevToolsActivePort");
        let url = wait_until_some(START, "chromium", async || {
            if browser.alive() { devtools_url(&port_file) } else { Some(String::new()) }
        })
        .await
        .with_context(|| browser.log_tail())?;
        browser.check_alive()?;
        let connection = Connection::open(&url).await?;
        Ok(Self { connection, _browser: browser, _scratch: scratch })
    }

    /// Opens a URL in a new tab. Returns before the page has loaded: wait for what is expected of it.
    ///
    /// # Errors
    /// When the browser is gone or the URL cannot be opened.
    pub async fn open(&self, url: &str, viewport: Viewport) -> Result<Page> {
        let page = self.blank().await?;
        let mobile = viewport.width < 600;
        page.call(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": viewport.width, "height": viewport.height,
                    "deviceScaleFactor": 1, "mobile": mobile }),
        )
        .await?;
        // Errors are recorded from before the first line of the page runs.
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            page.call(domain, json!({})).await?;
        }
        page.goto(url).await?;
        Ok(page)
    }

    async fn blank(&self) -> Result<Page> {
        let connection = self.connection.clone();
        let made =
            connection.call(None, "Target.createTarget", json!({ "url": "about:blank" })).await?;
        let target = text(&made, "targetId")?;
        let attached = connection
            .call(None, "Target.attachToTarget", json!({ "targetId": target, "flatten": true }))
            .await?;
        Ok(Page { session: text(&attached, "sessionId")?, connection, target })
    }
}

impl Page {
    /// Opens another URL in this tab.
    ///
    /// # Errors
    /// When the URL cannot be opened.
    pub async fn goto(&self, url: &str) -> Result<()> {
        let answer = self.call("Page.navigate", json!({ "url": url })).await?;
        match answer.get("errorText").and_then(Value::as_str) {
            Some(error) if !error.is_empty() => bail!("{url}: {error}"),
            _ => Ok(()),
        }
    }

    /// The value of a JavaScript expression; a promise is awaited.
    ///
    /// # Errors
    /// When the expression throws, or its value is of another type.
    pub async fn eval<T: DeserializeOwned>(&self, expression: &str) -> Result<T> {
        let answer = self
            .call(
                "Runtime.evaluate",
                json!({ "expression": expression, "returnByValue": true, "awaitPromise": true }),
            )
            .await?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            bail!("{expression}: {}", cdp::describe_exception(thrown));
        }
        let value = answer.pointer("/result/value").cloned().unwrap_or(Value::Null);
        serde_json::from_value(value.clone()).with_context(|| format!("{expression} is {value}"))
    }

    /// Waits until an expression is truthy. One that throws is not, yet.
    ///
    /// # Errors
    /// When `limit` has passed; the error carries the page's own errors.
    pub async fn wait_for(&self, expression: &str, limit: Duration) -> Result<()> {
        let truth = format!("Boolean({expression})");
        crate::wait_until(limit, expression, async || self.eval(&truth).await.unwrap_or(false))
            .await
            .with_context(|| format!("errors of the page: {:?}", self.console_errors()))
    }

    /// Writes a PNG of the viewport.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        let png = base64::engine::general_purpose::STANDARD.decode(text(&answer, "data")?)?;
        std::fs::write(file, png).with_context(|| format!("cannot write {}", file.display()))
    }

    /// What the page wrote with `console.error`, did not catch, or could not load, so far.
    #[must_use]
    pub fn console_errors(&self) -> Vec<String> {
        self.connection.errors(&self.session)
    }

    /// Cuts the tab off from the network, or connects it again. WebSockets that are open stay open.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn set_offline(&self, offline: bool) -> Result<()> {
        let conditions = json!({
            "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        });
        self.call("Network.enable", json!({})).await?;
        self.call("Network.emulateNetworkConditions", conditions).await.map(drop)
    }

    /// Closes the tab.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn close(self) -> Result<()> {
        let target = json!({ "targetId": self.target });
        self.connection.call(None, "Target.closeTarget", target).await.map(drop)
    }

    /// Any other command of the protocol, sent to this tab.
    ///
    /// # Errors
    /// When the browser refuses it.
    pub async fn call(&self, method: &str, parameters: Value) -> Result<Value> {
        self.connection.call(Some(&self.session), method, parameters).await
    }
}

fn find() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|candidate| candidate.is_file())
        .context("no Chromium on PATH: run make chromium, or name one in CHROMIUM")
}

fn arguments(profile: &Path) -> Vec<String> {
    let profile = format!("--user-data-dir={}", profile.display());
    [
        "--headless=new",
        // Root may not use the sandbox, and a container often cannot. The pages are our own.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
        "--disable-breakpad",
        "--remote-debugging-port=0",
        &profile,
        "about:blank",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The browser writes its port and the path of its endpoint once it listens.
fn devtools_url(port_file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(port_file).ok()?;
    let (port, path) = text.split_once('\n')?;
    path.starts_with('/').then(|| format!("ws://127.0.0.1:{port}{}", path.trim()))
}

fn text(answer: &Value, field: &str) -> Result<String> {
    let value = answer.get(field).and_then(Value::as_str);
    value.map(str::to_owned).with_context(|| format!("the browser's answer has no {field}"))
}
