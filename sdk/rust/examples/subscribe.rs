//! Shows what comes on some channels: `cargo run --example subscribe -- ws://localhost:8080/ws`

use wsgateway::{Client, Event};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("ws://localhost:8080/ws".to_owned());
    let client = Client::builder(url).connect()?;
    let mut events = client.subscribe(["BTC.price", "*.trade"]);
    while let Some(event) = events.next().await {
        match event {
            Event::Message(m) => println!("{} {}", m.channel, String::from_utf8_lossy(&m.data)),
            Event::Gap(gap) => println!("missing: {gap:?}"),
            Event::Rejected(rejected) => println!("not delivered: {rejected:?}"),
            _ => {}
        }
    }
    Ok(client.closed().await?)
}
