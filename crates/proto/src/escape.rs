//! Text inside a JSON string: how long it gets, and how it is written.

/// How a character must be written, if not as itself.
const fn byte_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

/// Bytes that [`push`] appends.
pub(crate) fn len(text: &str) -> usize {
    text.bytes().map(byte_len).sum()
}

/// Appends the text as it stands between the quotes of a JSON string.
pub(crate) fn push(out: &mut Vec<u8>, text: &str) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    for byte in text.bytes() {
        match byte_len(byte) {
            1 => out.push(byte),
            2 => out.extend_from_slice(&[b'\\', byte]),
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }
}
