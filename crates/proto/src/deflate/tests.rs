use super::*;
use crate::decoder::Event;

#[test]
fn a_message_survives_the_round_trip() {
    let text = "{\"price\":1.5,\"price2\":1.5,\"price3\":1.5}".repeat(3);
    let mut out = Vec::new();
    assert!(Deflater::new().message(text.as_bytes(), &mut out));
    assert_eq!(out[0], 0xC1);
    let mut inflater = Inflater::new();
    let body = frame::payload(&out);
    assert_eq!(inflater.message(Opcode::Text, body, 1_000), Ok(Event::Text(&text)));
}
