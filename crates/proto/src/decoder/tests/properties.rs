//! Any cut of a stream yields the same events, whatever the stream; either role, and with
//! compression agreed on or not.

use proptest::prelude::*;

use super::*;

const DEFLATE: Limits = Limits { deflate: true, ..LIMITS };

/// One event as it goes over the wire: perhaps in fragments, perhaps with pings between them.
#[derive(Clone, Debug)]
enum Sent {
    Whole(Opcode, Vec<u8>),
    Fragments(String, Vec<usize>, bool),
    /// Compressed, or what claims to be.
    Deflated(Vec<u8>, Vec<usize>, bool),
}

fn sent() -> impl Strategy<Value = Sent> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    prop_oneof![
        ".{0,60}".prop_map(|text| Sent::Whole(Opcode::Text, text.into_bytes())),
        bytes(300usize).prop_map(|bytes| Sent::Whole(Opcode::Binary, bytes)),
        bytes(126).prop_map(|bytes| Sent::Whole(Opcode::Ping, bytes)),
        bytes(126).prop_map(|bytes| Sent::Whole(Opcode::Pong, bytes)),
        (".{0,60}", prop::collection::vec(0..200usize, 0..6), any::<bool>())
            .prop_map(|(text, cuts, pings)| Sent::Fragments(text, cuts, pings)),
        (bytes(300), prop::collection::vec(0..300usize, 0..6), any::<bool>())
            .prop_map(|(data, cuts, pings)| Sent::Deflated(data, cuts, pings)),
    ]
}

fn put(out: &mut Vec<u8>, role: Role, first: u8, payload: &[u8], key: [u8; 4]) {
    let start = out.len();
    match role {
        Role::Server => frame::write_masked(out, Opcode::Text, payload, key),
        Role::Client => frame::write(out, Opcode::Text, payload),
    }
    out[start] = first;
}

/// Encodes for a decoder of this role, and says what it must yield.
fn encode(role: Role, all: &[Sent], key: [u8; 4]) -> (Vec<u8>, Vec<Owned>) {
    let (mut out, mut want) = (Vec::new(), Vec::new());
    for sent in all {
        let (bits, payload, cuts, pings, message) = match sent {
            Sent::Whole(opcode, payload) => {
                put(&mut out, role, 0x80 | *opcode as u8, payload, key);
                let form = Form { opcode: *opcode, deflated: false };
                want.push(rules::event(form, payload).unwrap().into());
                continue;
            }
            Sent::Fragments(text, cuts, pings) => {
                (0x01, text.as_bytes(), cuts, pings, Owned::Text(text.clone()))
            }
            Sent::Deflated(data, cuts, pings) => {
                (0x42, &data[..], cuts, pings, Owned::Deflated(Opcode::Binary, data.clone()))
            }
        };
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (payload.len() + 1)).collect();
        cuts.extend([0, payload.len()]);
        cuts.sort_unstable();
        let last = cuts.len() - 2;
        for (at, pair) in cuts.windows(2).enumerate() {
            let first = if at == 0 { bits } else { 0 } | if at == last { 0x80 } else { 0 };
            put(&mut out, role, first, &payload[pair[0]..pair[1]], key);
            if *pings && at < last {
                put(&mut out, role, 0x89, b"between", key);
                want.push(Owned::Ping(b"between".into()));
            }
        }
        want.push(message);
    }
    (out, want)
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn what_was_encoded_comes_back_however_the_stream_is_cut(
        all in prop::collection::vec(sent(), 0..6),
        cuts: Vec<prop::sample::Index>,
        key: [u8; 4],
        client: bool,
    ) {
        let role = if client { Role::Client } else { Role::Server };
        let (bytes, want) = encode(role, &all, key);
        prop_assert_eq!(decode_within(&DEFLATE, role, pieces(&bytes, &cuts)), want);
    }

    #[test]
    fn any_bytes_in_any_cut_give_the_same_and_hold_no_more_than_the_limit(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        cuts: Vec<prop::sample::Index>,
        client: bool,
    ) {
        let role = if client { Role::Client } else { Role::Server };
        for limits in [&LIMITS, &DEFLATE] {
            let whole = decode_within(limits, role, [&bytes[..]]);
            prop_assert_eq!(decode_within(limits, role, pieces(&bytes, &cuts)), whole);
        }
    }

    #[test]
    fn a_stream_with_one_bad_byte_gives_the_same_in_any_cut(
        all in prop::collection::vec(sent(), 1..6),
        cuts: Vec<prop::sample::Index>,
        at: prop::sample::Index,
        flip: u8,
    ) {
        let (mut bytes, _) = encode(Role::Server, &all, KEY);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        for limits in [&LIMITS, &DEFLATE] {
            let whole = decode_within(limits, Role::Server, [&bytes[..]]);
            prop_assert_eq!(decode_within(limits, Role::Server, pieces(&bytes, &cuts)), whole);
        }
    }
}
