//! The console page in a real browser, on a real gateway and a real NATS server.
//!
//! Screenshots are written to `target/tmp/screenshots`, for people to look at.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use harness::{
    Authority, Chromium, Nats, Page, Scratch, Viewport, WsgwDev, free_port, init_tls, repository,
};
use serde_json::Value;

/// A page is live within a second; the rest is for a machine that compiles at the same time.
const SOON: Duration = Duration::from_secs(60);

const TOKENS: [&str; 5] = ["BTC", "ETH", "ODIN", "SOL", "DOGE"];
const LIVE: &str = "__wsgateway.state === 'live'";

/// A gateway at an address that stays the same over restarts, as a stream does.
struct Site {
    nats: Nats,
    port: String,
    flags: &'static [&'static str],
}

impl Site {
    async fn new(flags: &'static [&'static str]) -> Result<Self> {
        Ok(Self { nats: Nats::start().await?, port: free_port()?.to_string(), flags })
    }

    async fn start(&self) -> Result<WsgwDev> {
        let nats = self.nats.url();
        let mut arguments = vec!["--nats", &nats, "--port", &self.port, "--admin-port", "0"];
        arguments.extend(self.flags);
        WsgwDev::start(&arguments).await
    }
}

async fn screenshot(page: &Page, name: &str) -> Result<()> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&folder)?;
    page.screenshot(&folder.join(format!("{name}.png"))).await
}

/// Shows the page as it is under one of the browser's colour schemes.
async fn colours(page: &Page, scheme: &str) -> Result<()> {
    let features =
        serde_json::json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
    page.call("Emulation.setEmulatedMedia", features).await.map(drop)
}

/// How wide the page is; wider than the viewport means scrolling sideways.
async fn width(page: &Page) -> Result<u32> {
    page.eval("document.documentElement.scrollWidth").await
}

/// Every token's price has changed `times` since the page was opened.
async fn prices_change(page: &Page, times: u32) -> Result<()> {
    for token in TOKENS {
        page.wait_for(&format!("__wsgateway.changes.{token} >= {times}"), SOON).await?;
    }
    Ok(())
}

/// The price on the card of each token, as a person reads it.
const SHOWN: &str = "Object.fromEntries([...document.querySelectorAll('.card')].map((card) =>
    [card.querySelector('.sym').textContent, card.querySelector('.price').textContent]))";

#[tokio::test]
async fn all_five_prices_tick_and_the_page_says_how_well() -> Result<()> {
    let site = Site::new(&["--rate", "60"]).await?;
    let dev = site.start().await?;
    let browser = Chromium::start().await?;
    let page = browser.open(dev.url(), Viewport::DESKTOP).await?;

    prices_change(&page, 2).await?;
    page.wait_for(
        "__wsgateway.p50 !== null && __wsgateway.rate > 0 && __wsgateway.trades > 0",
        SOON,
    )
    .await?;

    let shown: Value = page.eval(SHOWN).await?;
    for token in TOKENS {
        assert!(shown[token].as_str().is_some_and(|price| !price.is_empty()), "{token} in {shown}");
    }
    page.wait_for("document.getElementById('market').textContent.includes('volume 24h')", SOON)
        .await?;
    page.wait_for("document.querySelectorAll('#trades tr').length >= 20", SOON).await?;
    let facts: Value = page.eval("__wsgateway").await?;
    for fact in ["connectionId", "pod", "epoch"] {
        assert!(facts[fact].as_str().is_some_and(|value| !value.is_empty()), "{fact} in {facts}");
    }
    assert_eq!(
        (&facts["gaps"], &facts["duplicates"], &facts["errors"]),
        (&0.into(), &0.into(), &0.into()),
        "{facts}"
    );
    assert_eq!(page.console_errors(), Vec::<String>::new());
    colours(&page, "dark").await?;
    screenshot(&page, "desktop-dark").await?;
    colours(&page, "light").await?;
    screenshot(&page, "desktop-light").await
}

#[tokio::test]
async fn the_page_comes_back_by_itself_when_the_gateway_does() -> Result<()> {
    let site = Site::new(&["--rate", "60"]).await?;
    let dev = site.start().await?;
    let browser = Chromium::start().await?;
    let page = browser.open(dev.url(), Viewport::DESKTOP).await?;
    prices_change(&page, 1).await?;

    dev.interrupt().await?;
    page.wait_for("__wsgateway.state !== 'live'", SOON).await?;
    // The gateway asked for it: told to reconnect, then closed with 1012.
    assert_eq!(page.eval::<Value>("__wsgateway.closeCode").await?, 1012);
    page.wait_for("__wsgateway.state === 'reconnecting'", SOON).await?;
    screenshot(&page, "reconnecting").await?;

    let before: u32 = page.eval("__wsgateway.messages").await?;
    let _dev = site.start().await?;
    page.wait_for(LIVE, SOON).await?;
    page.wait_for(&format!("__wsgateway.messages > {before} + 50"), SOON).await?;
    let facts: Value = page.eval("__wsgateway").await?;
    assert!(facts["reconnects"].as_u64() >= Some(1), "{facts}");
    assert_eq!((&facts["gaps"], &facts["duplicates"]), (&0.into(), &0.into()), "{facts}");
    Ok(())
}

#[tokio::test]
async fn what_is_published_while_the_gateway_is_away_reaches_the_page() -> Result<()> {
    let site = Site::new(&["--no-market"]).await?;
    let dev = site.start().await?;
    let browser = Chromium::start().await?;
    let page = browser.open(dev.url(), Viewport::DESKTOP).await?;
    page.wait_for(LIVE, SOON).await?;
    let jetstream = async_nats::jetstream::new(site.nats.client().await?);
    let publish = async |prices: std::ops::Range<u32>| -> Result<()> {
        for price in prices {
            let payload = format!(r#"{{"type":"price:update","tokenId":"BTC","price":{price}}}"#);
            jetstream.publish("odin.token.BTC.price", payload.into()).await?.await?;
        }
        Ok(())
    };
    publish(0..50).await?;
    page.wait_for("__wsgateway.messages === 50", SOON).await?;

    dev.kill9().await?;
    page.wait_for("__wsgateway.state !== 'live'", SOON).await?;
    publish(50..80).await?;
    let _dev = site.start().await?;
    page.wait_for(LIVE, SOON).await?;
    publish(80..100).await?;
    page.wait_for("__wsgateway.messages >= 100", SOON).await?;
    let facts: Value = page.eval("__wsgateway").await?;
    let counts = ["messages", "gaps", "duplicates", "errors", "resumed"].map(|name| &facts[name]);
    assert_eq!(counts, [100, 0, 0, 0, 1].map(Value::from).each_ref(), "{facts}");
    page.wait_for("document.querySelector('.card .price').textContent.startsWith('99')", SOON)
        .await?;
    screenshot(&page, "resumed").await
}

#[tokio::test]
async fn the_page_waits_while_the_browser_is_offline() -> Result<()> {
    let site = Site::new(&[]).await?;
    let dev = site.start().await?;
    let browser = Chromium::start().await?;
    let page = browser.open(dev.url(), Viewport::DESKTOP).await?;
    page.wait_for(LIVE, SOON).await?;

    page.set_offline(true).await?;
    dev.interrupt().await?;
    page.wait_for("__wsgateway.state === 'offline'", SOON).await?;
    let _dev = site.start().await?;
    assert_eq!(page.eval::<u32>("__wsgateway.reconnects").await?, 0);

    page.set_offline(false).await?;
    page.wait_for(LIVE, SOON).await
}

#[tokio::test]
async fn a_phone_shows_everything_without_scrolling_sideways() -> Result<()> {
    let site = Site::new(&["--rate", "60"]).await?;
    let dev = site.start().await?;
    let browser = Chromium::start().await?;
    for (name, viewport) in
        [("phone", Viewport::PHONE), ("phone-narrow", Viewport { width: 320, height: 640 })]
    {
        let page = browser.open(dev.url(), viewport).await?;
        prices_change(&page, 2).await?;
        page.wait_for("document.querySelectorAll('#trades tr').length >= 10", SOON).await?;
        assert_eq!(width(&page).await?, viewport.width, "{name}");
        screenshot(&page, name).await?;
        page.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn nothing_that_is_published_can_break_the_page_or_run_in_it() -> Result<()> {
    let site = Site::new(&["--no-market"]).await?;
    let dev = site.start().await?;
    let browser = Chromium::start().await?;
    let page = browser.open(dev.url(), Viewport::DESKTOP).await?;
    page.wait_for(LIVE, SOON).await?;

    let jetstream = async_nats::jetstream::new(site.nats.client().await?);
    let script = r#"<img src=x onerror="window.broken=1"><script>window.broken=1</script>"#;
    let named = |name: &str| {
        format!(r#"{{"type":"price:update","tokenId":{name},"price":1.5,"volume24h":1}}"#)
    };
    let hostile = [
        named(&serde_json::to_string(script)?),
        named(r#""__proto__""#),
        named(r#""constructor""#),
        named("[[[[1]]]]"),
        r#"{"type":"price:update","tokenId":"BIG","price":1e308,"volume24h":1e308,"priceChange24h":-1e308}"#.into(),
        r#"{"type":"price:update","tokenId":"TEXT","price":"12","timestamp":{}}"#.into(),
        r#"{"type":"trade:executed","tokenId":"T","price":1,"amount":-1e300,"timestamp":1e300,"side":"constructor"}"#.into(),
        r#"{"type":"market:stats","totalMarketCap":1e400,"topGainer":"<b>x</b>"}"#.into(),
        r#"{"type":{"toString":1}}"#.into(),
        "null".into(),
        "[]".into(),
        "not json at all".into(),
        format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)),
    ];
    for payload in &hostile {
        for subject in
            ["odin.token.HOSTILE.price", "odin.token.HOSTILE.trade", "odin.market.statistics"]
        {
            jetstream
                .publish(subject, payload.clone().into())
                .await?
                .await
                .context(payload.clone())?;
        }
    }
    // More tokens than the page will show.
    for i in 0..100 {
        jetstream.publish(format!("odin.token.T{i}.price"), r#"{"price":1}"#.into()).await?.await?;
    }

    page.wait_for(&format!("__wsgateway.messages === {}", hostile.len() * 3 + 100), SOON).await?;
    assert_eq!(page.console_errors(), Vec::<String>::new());
    let injected: Vec<bool> = page
        .eval("[window.broken !== undefined, document.querySelector('main img, main script, .head b b') !== null,
                document.querySelectorAll('.card').length > 24, Object.keys(Object.prototype).length > 0]")
        .await?;
    assert_eq!(injected, [false; 4]);
    assert_eq!(width(&page).await?, Viewport::DESKTOP.width);
    screenshot(&page, "hostile").await?;
    assert_eq!(page.eval::<String>("__wsgateway.state").await?, "live");
    Ok(())
}

#[tokio::test]
async fn the_page_and_its_client_speak_tls_where_the_gateway_does() -> Result<()> {
    init_tls();
    let certified = Authority::new("console-ca")?.server()?;
    let folder = Scratch::new("console-tls")?;
    let demo = std::fs::read_to_string(repository().join("manifests/samples/odin.yaml"))?;
    let tls = "  listener: { tls: { secret: { name: odin-tls } } }\n  capacity:\n";
    let file = folder.write("odin.yaml", demo.replacen("  capacity:\n", tls, 1))?;
    std::fs::create_dir(folder.path().join("odin-tls"))?;
    folder.write("odin-tls/tls.crt", &certified.certificate)?;
    folder.write("odin-tls/tls.key", &certified.key)?;
    let (file, secrets) = (file.display().to_string(), folder.path().display().to_string());
    let arguments =
        ["-f", &file, "--secrets", &secrets, "--rate", "60", "--port", "0", "--admin-port", "0"];
    let dev = WsgwDev::start(&arguments).await?;
    assert!(dev.url().starts_with("https://"), "{}", dev.url());

    let browser = Chromium::start().await?;
    let page = browser.open("about:blank", Viewport::DESKTOP).await?;
    // No browser knows the authority of a test.
    let ignore = serde_json::json!({ "ignore": true });
    page.call("Security.setIgnoreCertificateErrors", ignore).await?;
    page.goto(dev.url()).await?;
    prices_change(&page, 2).await?;
    let facts: Value = page.eval("__wsgateway").await?;
    assert_eq!((&facts["gaps"], &facts["duplicates"]), (&0.into(), &0.into()), "{facts}");
    Ok(())
}
