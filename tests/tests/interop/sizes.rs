//! The table of limits: the largest messages, the most fragments, and thousands of messages behind one another.

use anyhow::Result;
use gateway::echo;

use super::table::{Case, binary, check, echo, fails, good, text};
use super::wire::{BINARY, END, MORE, TEXT, fragments, frame, noise, wordy};

const MOST: usize = echo::MESSAGE_BYTES as usize;

#[test]
fn messages_up_to_16_mib_come_back_and_one_byte_more_is_refused() -> Result<()> {
    let mut cases: Vec<Case> = [1 << 18, 1 << 20, 4 << 20]
        .iter()
        .map(|length| echo(format!("{length} of noise"), BINARY, noise(*length)))
        .collect();
    let largest = wordy(MOST);
    cases.push(echo("16 MiB of text", TEXT, &largest));
    let more = [&largest[..], b"x"].concat();
    cases.push(fails("a byte more", [frame(TEXT, &more)], [], 1009));
    cases.push(fails("a byte more in fragments", [fragments(TEXT, &more, 1 << 20)], [], 1009));
    check("", &cases)
}

#[test]
fn four_mib_come_back_from_fragments_of_any_size_with_or_without_an_empty_last_one() -> Result<()> {
    let payload = wordy(4 << 20);
    let mut cases = Vec::new();
    for size in [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20] {
        let sent = fragments(TEXT, &payload, size);
        cases.push(good(format!("fragments of {size}"), [sent], [text(&payload)]));
    }
    // 65,536 of them, and the one that ends the message, which several implementations send empty.
    let mut open = fragments(BINARY, &payload, 64);
    let last = open.len() - frame(END, [0; 64]).len();
    open[last] = MORE;
    cases.push(good("an empty last fragment", [open, frame(END, "")], [binary(&payload)]));
    check("", &cases)
}

#[test]
fn thousands_of_messages_may_be_sent_before_an_answer_is_read() -> Result<()> {
    let cases: Vec<Case> = [0, 16, 64, 256, 1_024, 4_096]
        .into_iter()
        .map(|size| {
            let count = if size < 1_000 { 2_000 } else { 500 };
            let sent = frame(TEXT, wordy(size)).repeat(count);
            good(format!("{count} messages of {size}"), [sent], vec![text(wordy(size)); count])
        })
        .collect();
    check("", &cases)
}
