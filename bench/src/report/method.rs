//! How the figures came about, in words: what a reader needs to judge or repeat them.

use super::Results;
use crate::samples::number;

pub(super) fn text(results: &Results) -> String {
    let scale = &results.scale;
    let clients = match results.sleep {
        true => {
            "Clients sleep in epoll and are woken by their sockets; on a loopback device the sender pays for that."
        }
        false => {
            "Clients look at their sockets every 100 µs and are never woken by them: on a loopback device the sender \
             pays for waking the receiver, which across a network it would not."
        }
    };
    let seconds = number(scale.paced_seconds, 0);
    let kept = match results.kept.as_slice() {
        [] => String::new(),
        kept => format!(
            "- Kept from an earlier run on the same machine, with rounds of its own: {}.\n",
            kept.join(", ")
        ),
    };
    format!(
        "## How it was measured\n\n\
         {kept}\
         - Median of {rounds} rounds for P1 to P5, {few} for P6 to P8 (lowest – highest), one for P10 and P12. In \
         each round every server runs once, in another order; ratios are within a round. The whole run took \
         {minutes:.0} minutes.\n\
         - **Floor**: one `send` of a ready frame per delivery in a loop, sockets in no epoll, fed over a local \
         connection. Everybody else reads from a real nats-server (our gateway: JetStream; the peers: a core \
         subscription; nats-server itself: its own clients).\n\
         - **CPU**: scheduler time of all threads of the server process, NATS client and encoding included.\n\
         - **In flight**: so many messages are published at once, the next when every client has them all. \
         {messages} messages with {small} connections, {large_messages} with {large}, after a warm-up; payloads of \
         {payload} bytes, one text frame each (nats-server and Socket.IO: as their protocol has it).\n\
         - **Memory**: growth of the process's Pss over that many connections, half a second after the last one; \
         50 connections were made and closed before. Kernel memory: growth of the machine's slabs, half for each \
         end. CPU per connection made: TCP accept, upgrade, greeting, a subscribe command and its \
         acknowledgement, of our gateway as of its peers.\n\
         - **Latency**: payloads carry the time of publishing; a steady rate at which the floor's core is half busy, \
         {seconds} s, the same rate for everybody.\n\
         - **Resume** (P6): from the first SYN until the last client has its last missed message, 512 handshakes at a \
         time; afterwards one more message must reach everybody. Beside it the same clients who only connect, and the \
         floor that sends to each what it has missed in one call. While live clients are measured beside a crowd that \
         looks back, and without it, a process of the least weight keeps each core from sleeping.\n\
         - **Many connections** (P9): as many client processes as gateways, each with one of them; gateways, clients and \
         NATS share all cores, and clients poll their sockets every 5 ms. Latencies are those of the slowest process. \
         Memory: growth of the gateways' RSS and Pss, and of the machine's slabs for both ends, divided.\n\
         - {clients} All clients of a server are one thread; every message of our gateway and of the floor is held \
         against offsets and predecessors: a lost, repeated or late one ends the run.\n\
         - The peers are small programs in bench/peers, written as their documentation shows; those without \
         subscriptions of their own (ws, gws, axum) broadcast to everybody.\n",
        rounds = scale.rounds,
        few = scale.rounds_few,
        minutes = results.minutes,
        messages = number(scale.messages as f64, 0),
        small = number(scale.small as f64, 0),
        large_messages = number(scale.messages_large as f64, 0),
        large = number(scale.large as f64, 0),
        payload = scale.payload,
    )
}
