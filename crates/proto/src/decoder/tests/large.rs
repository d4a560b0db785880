//! The largest messages and the smallest reads: work grows with the bytes, memory with the limit.
//! Where work grew with their square, these tests would not end.

use super::*;

const LARGE: Limits = Limits { message_bytes: 16 << 20, fragments: 65_536, deflate: true };

/// Bytes of a text message, with a character of three bytes at every place of a piece.
fn text_of(bytes: usize) -> String {
    let mut text = "a€".repeat(bytes / 4);
    text.extend(std::iter::repeat_n('x', bytes - text.len()));
    text
}

/// Feeds all of `bytes` in reads of `size`; says how many bytes of messages came and the most
/// that was held meanwhile.
fn measure(bytes: &[u8], size: usize, role: Role) -> (usize, usize) {
    let (mut decoder, mut input) = (Decoder::new(role), Vec::with_capacity(size));
    let (mut came, mut most) = (0, 0);
    for piece in bytes.chunks(size) {
        input.clear();
        input.extend_from_slice(piece);
        let mut pos = 0;
        while let Some(event) = decoder.next(&mut input, &mut pos, &LARGE).unwrap() {
            came += match event {
                Event::Text(text) => text.len(),
                Event::Binary(bytes) | Event::Deflated(_, bytes) => bytes.len(),
                _ => 0,
            };
        }
        most = most.max(decoder.buffered());
    }
    (came, most)
}

#[test]
fn a_message_of_16_mib_in_small_reads_holds_no_more_than_itself() {
    let text = text_of(16 << 20);
    for first in [0x81, 0xC2] {
        let bytes = raw(first, text.as_bytes());
        let (came, most) = measure(&bytes, 1_500, Role::Server);
        assert_eq!(came, text.len());
        assert!(most <= text.len() + header::MAX_HEADER, "{most} bytes are held");
    }
}

#[test]
fn a_message_of_65_536_fragments_holds_no_more_than_itself() {
    let text = text_of(16 << 20);
    let mut bytes = Vec::new();
    let pieces: Vec<_> = text.as_bytes().chunks(256).collect();
    assert_eq!(pieces.len(), 65_536);
    for (at, piece) in pieces.iter().enumerate() {
        let fin = if at == pieces.len() - 1 { 0x80 } else { 0 };
        bytes.extend(raw(u8::from(at == 0) | fin, piece));
    }
    for size in [1_500, 1 << 20] {
        let (came, most) = measure(&bytes, size, Role::Server);
        assert_eq!(came, text.len());
        assert!(most <= text.len() + header::MAX_HEADER, "{most} bytes are held");
    }
}

#[test]
fn a_million_bytes_may_come_one_by_one() {
    let text = text_of(1 << 20);
    let mut bytes = Vec::new();
    frame::write(&mut bytes, Opcode::Text, text.as_bytes());
    let (came, most) = measure(&bytes, 1, Role::Client);
    assert_eq!(came, text.len());
    assert!(most <= 2 * text.len(), "{most} bytes are held");
}

#[test]
fn a_control_frame_in_pieces_holds_its_own_length() {
    let mut decoder = Decoder::new(Role::Server);
    let mut ping = raw(0x89, &[7; 125]);
    let cut = ping.len() - 1;
    for byte in &mut ping[..cut] {
        assert_eq!(decoder.next(std::slice::from_mut(byte), &mut 0, &LIMITS), Ok(None));
        assert!(decoder.buffered() <= frame::MAX_CONTROL_PAYLOAD + header::MAX_HEADER);
    }
    let event = decoder.next(&mut ping[cut..], &mut 0, &LIMITS);
    assert_eq!(event, Ok(Some(Event::Ping(&[7; 125]))));
}

#[test]
fn what_is_held_for_a_message_grows_with_what_came() {
    let mut decoder = Decoder::new(Role::Server);
    let mut bytes = raw(0x82, &vec![0; 16 << 20]);
    let mut fed = 0;
    for piece in bytes.chunks_mut(1 << 10).take(1 << 12) {
        fed += piece.len();
        assert_eq!(decoder.next(piece, &mut 0, &LARGE), Ok(None));
        assert!(decoder.buffered() <= 2 * fed, "{} bytes for {fed}", decoder.buffered());
    }
}
