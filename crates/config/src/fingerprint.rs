//! What tells versions of a file apart, in the operator and in the gateway alike.

/// A short name of texts: FNV-1a, 64 bits, as 16 hexadecimal digits. It is the same in every build, and proves nothing.
pub fn fingerprint(texts: &[&str]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for (place, text) in texts.iter().enumerate() {
        if place > 0 {
            add(0xff); // no text holds it
        }
        text.bytes().for_each(&mut add);
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_texts_have_the_same_name_in_every_build_and_others_another() {
        assert_eq!(fingerprint(&[""]), "cbf29ce484222325");
        assert_eq!(fingerprint(&["a"]), "af63dc4c8601ec8c");
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
        assert_ne!(fingerprint(&["a", ""]), fingerprint(&["a"]));
    }
}
