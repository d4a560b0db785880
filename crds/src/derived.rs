//! The numbers that follow from `capacity`: what a pod holds decides what it needs.
//!
//! Memory request of a pod = base + connections × (8 KiB + 32 B per subscription + 4 KiB where odin.v1 is served + 6 KiB
//! with TLS on its port) + 4 KiB for each event stream and long-poll + outboxes of a tenth of the connections + one and a half times the bytes of the
//! history. The names of channels and the outboxes are hard bounds in the gateway too: the request is what the gateway
//! uses at worst, not on a good day. The kernel's buffers of stalled sockets, which the pod's cgroup pays for, and bursts
//! are in the limit.
//!
//! A memory limit that is given turns this round: outboxes, and the history unless it is given too, become as small as
//! it takes for all of it to fit ([`memory`]).

mod memory;

use memory::{Budgets, LEAST_STALLED, Parts};
use wsgateway_config::NAME_BYTES_PER_CONNECTION;

use crate::ValidLimits;

/// Port of metrics, probes and status in every gateway pod.
pub const ADMIN_PORT: u16 = 9090;

/// What a pod needs without any client: binary, threads, NATS buffers, metrics.
const BASE_BYTES: u64 = 64 << 20;
/// Per connection: below 1 KiB of our own, its share of unfinished messages included, about 5 KiB of the kernel, and the
/// names that it may add.
const CONNECTION_BYTES: u64 = (6 << 10) + NAME_BYTES_PER_CONNECTION;
/// The numbers of an odin.v1 connection that has had its thousandth message: an offset of four bytes for each of 1,024.
const ODIN_BYTES: u64 = 4 << 10;
/// The keys of a connection with TLS, measured by the gateway's tests, and its share of handshakes in progress.
const TLS_BYTES: u64 = 6 << 10;
/// Per subscription: its place in the index and the way back from there, with room for growth of both lists.
const SUBSCRIPTION_BYTES: u64 = 32;
/// Per event stream or long-poll, besides: what a long-poll keeps of its request, further requests that wait behind it
/// included. What waits in answers counts as outboxes.
const FALLBACK_BYTES: u64 = 4 << 10;
/// Event streams and long-polls are one connection in so many, unless specified.
const FALLBACK_SHARE: u32 = 4;
/// One client in ten may stall before the pod protects itself.
const STALLED_SHARE: u64 = 10;
/// Beyond 4,096 stalled clients at once something other than clients is wrong.
const MOST_STALLED: u64 = 4_096;
/// A pod's limit over its request: a burst of kernel buffers and growth of tables must not kill it.
const LIMIT_FACTOR: u64 = 2;
/// Share of the capacity that the autoscaler aims at, in percent.
const TARGET_PERCENT: u32 = 80;

/// The numbers that follow from `capacity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// Connections that a pod admits.
    pub connections: u32,
    /// Event streams and long-polls among them: as specified, or a quarter; none if neither is served.
    pub fallbacks: u32,
    /// Bytes waiting for all slow clients of a pod together: whole outboxes of a tenth of the clients, of at least 64
    /// and at most 4,096 of them; of fewer, but at least 64, where a memory limit asks for it.
    pub outbox_bytes: u64,
    /// Bytes of messages that a pod keeps: as specified, or less where a memory limit asks for it.
    pub history_bytes: u64,
    /// Memory request of a pod in bytes: 64 MiB, 8 KiB per connection (4 KiB more where odin.v1 is served, 6 KiB with TLS) and 32 B for
    /// each of its subscriptions, 4 KiB per event stream and long-poll, all outboxes, and the history with its last
    /// values.
    pub memory_request: u64,
    /// Memory limit of a pod in bytes: as given, or twice the request.
    pub memory_limit: u64,
    /// Average connections per pod that the autoscaler aims at: as specified, or 80 %.
    pub target_connections: u32,
}

/// What is asked of one pod.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its connections, at least 1.
    pub connections: u32,
    /// What each client may take, and how far back it can go.
    pub limits: &'a ValidLimits,
    /// Whether the bytes of the history are a default.
    pub history_may_shrink: bool,
    /// Whether `odin.v1` is served.
    pub odin: bool,
    /// Whether clients speak TLS with it.
    pub tls: bool,
    /// Target of the autoscaler, if one is specified.
    pub target: Option<u32>,
    /// Memory request that is given, in bytes.
    pub memory_request: Option<u64>,
    /// Memory limit that is given, in bytes.
    pub memory_limit: Option<u64>,
}

/// A memory limit into which a pod does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is too little: a pod of {connections} connections needs at least {}Mi, or it is killed when clients are slow: raise \
     it, or lower capacity.connectionsPerPod, fallbacksPerPod, subscriptionsPerConnection or outboxPerConnection, or \
     history.bytes",
    .least >> 20
)]
pub struct TooLittleMemory {
    /// Connections that are asked of the pod.
    pub connections: u32,
    /// The least limit, in bytes; whole MiB.
    pub least: u64,
}

impl Derived {
    /// Sizes a pod.
    ///
    /// # Errors
    /// When it does not fit into the memory limit that is given.
    pub fn new(asked: &Asked<'_>) -> Result<Self, TooLittleMemory> {
        let Asked { connections, limits, .. } = *asked;
        let clients = u64::from(connections);
        let connection_bytes = CONNECTION_BYTES
            + u64::from(limits.subscriptions) * SUBSCRIPTION_BYTES
            + if asked.odin { ODIN_BYTES } else { 0 }
            + if asked.tls { TLS_BYTES } else { 0 };
        let fallbacks = fallbacks(connections, limits);
        let parts = Parts {
            fixed: BASE_BYTES + clients * connection_bytes + u64::from(fallbacks) * FALLBACK_BYTES,
            outbox: limits.outbox_bytes.into(),
            most: Budgets { stalled: stalled(clients), history: limits.history.bytes },
            history_may_shrink: asked.history_may_shrink,
        };
        let budgets = match asked.memory_limit {
            Some(limit) => {
                parts.within(limit).map_err(|least| TooLittleMemory { connections, least })?
            }
            None => parts.most,
        };
        let memory_request = parts.used(budgets);
        let derived_limit = memory_request * LIMIT_FACTOR;
        let default_target = (clients * u64::from(TARGET_PERCENT)).div_ceil(100);
        Ok(Self {
            connections,
            fallbacks,
            outbox_bytes: budgets.stalled * parts.outbox,
            history_bytes: budgets.history,
            memory_request,
            memory_limit: asked
                .memory_limit
                .unwrap_or_else(|| derived_limit.max(asked.memory_request.unwrap_or_default())),
            target_connections: asked
                .target
                .unwrap_or_else(|| u32::try_from(default_target).unwrap_or(connections)),
        })
    }
}

fn fallbacks(connections: u32, limits: &ValidLimits) -> u32 {
    match limits.event_source || limits.long_poll {
        true => limits.fallbacks.unwrap_or_else(|| connections.div_ceil(FALLBACK_SHARE)),
        false => 0,
    }
}

/// Clients that may stall at once.
fn stalled(clients: u64) -> u64 {
    clients.div_ceil(STALLED_SHARE).clamp(LEAST_STALLED, MOST_STALLED)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use wsgateway_config::AboveLimit;

    use super::*;

    const OUTBOX: u32 = 256 << 10;

    fn limits(subscriptions: u32, outbox_bytes: u32) -> ValidLimits {
        ValidLimits {
            connections_per_user: 0,
            above_connections_per_user: AboveLimit::default(),
            subscriptions,
            outbox_bytes,
            command_bytes: 64 << 10,
            command_rate: Default::default(),
            source_rate: Default::default(),
            heartbeat: Default::default(),
            slow_consumer: Default::default(),
            compression: true,
            event_source: true,
            long_poll: true,
            keep_alive: Default::default(),
            status_pages: true,
            fallbacks: None,
            guards: [75, 80, 90],
            history: Default::default(),
            entry: Default::default(),
        }
    }

    fn derived(connections: u32, limits: &ValidLimits, odin: bool, target: Option<u32>) -> Derived {
        Derived::new(&Asked {
            connections,
            limits,
            history_may_shrink: true,
            odin,
            tls: false,
            target,
            memory_request: None,
            memory_limit: None,
        })
        .unwrap()
    }

    #[rstest]
    #[case::smallest(1, 128, OUTBOX, 16, 176, 1)]
    #[case::small(1_000, 128, OUTBOX, 25, 197, 800)]
    #[case::default(10_000, 128, OUTBOX, 250, 536, 8_000)]
    #[case::large_messages(10_000, 128, 3 << 20, 3_000, 3_286, 8_000)]
    #[case::many_subscriptions(10_000, 10_000, OUTBOX, 250, 3_549, 8_000)]
    #[case::largest(1_000_000, 128, OUTBOX, 1_024, 13_879, 800_000)]
    fn one_number_yields_the_others(
        #[case] connections: u32,
        #[case] subscriptions: u32,
        #[case] outbox: u32,
        #[case] outbox_mib: u64,
        #[case] request_mib: u64,
        #[case] target: u32,
    ) {
        let derived = derived(connections, &limits(subscriptions, outbox), false, None);
        assert_eq!(derived.outbox_bytes >> 20, outbox_mib);
        assert_eq!(derived.memory_request >> 20, request_mib);
        assert_eq!(derived.memory_limit, 2 * derived.memory_request);
        assert_eq!(derived.target_connections, target);
    }

    /// With the smallest outbox the kernel's share of a stalled client is the larger one.
    #[rstest]
    fn the_limit_holds_a_tenth_of_the_clients_stalled_with_the_kernels_buffers(
        #[values(1, 1_000, 10_000, 100_000, 1_000_000)] connections: u32,
        #[values(32 << 10, OUTBOX, 256 << 20)] outbox: u32,
    ) {
        let derived = derived(connections, &limits(1, outbox), false, None);
        let kernel = stalled(u64::from(connections)) * memory::STALLED_KERNEL_BYTES;
        assert!(derived.memory_limit >= derived.memory_request + kernel);
    }

    #[test]
    fn event_streams_and_polls_are_a_quarter_unless_specified_or_not_served() {
        let mut limits = limits(128, OUTBOX);
        let fallbacks = |limits: &ValidLimits| derived(10_000, limits, false, None).fallbacks;
        assert_eq!(fallbacks(&limits), 2_500);
        limits.fallbacks = Some(10_000);
        assert_eq!(fallbacks(&limits), 10_000);
        (limits.event_source, limits.long_poll) = (false, false);
        assert_eq!(fallbacks(&limits), 0);
    }

    #[test]
    fn a_target_that_is_given_is_kept() {
        assert_eq!(derived(10_000, &limits(128, OUTBOX), false, Some(5)).target_connections, 5);
    }

    #[test]
    fn a_pod_that_serves_odin_clients_has_room_for_their_numbers() {
        let request = |odin| derived(10_000, &limits(128, OUTBOX), odin, None).memory_request;
        assert_eq!(request(true) - request(false), 10_000 * 4_096);
    }

    #[test]
    fn a_limit_that_is_given_holds_what_the_gateway_may_use_and_one_below_the_need_is_refused() {
        let limits = limits(128, OUTBOX);
        let asked = |memory_limit, memory_request| Asked {
            connections: 10_000,
            limits: &limits,
            history_may_shrink: true,
            tls: false,
            odin: true,
            target: None,
            memory_request,
            memory_limit,
        };
        let least = Derived::new(&asked(Some(1), None)).unwrap_err().least;
        let message = Derived::new(&asked(Some(least - (1 << 20)), None)).unwrap_err().to_string();
        assert!(message.contains(&format!("needs at least {}Mi", least >> 20)), "{message}");

        let tight = Derived::new(&asked(Some(least), None)).unwrap();
        assert_eq!(tight.memory_limit, least);
        assert!(tight.memory_request < least);
        let free = Derived::new(&asked(None, None)).unwrap();
        assert!(tight.outbox_bytes < free.outbox_bytes && tight.history_bytes < free.history_bytes);
        let wide = Derived::new(&asked(Some(8 << 30), None)).unwrap();
        assert_eq!(
            (wide.outbox_bytes, wide.history_bytes),
            (free.outbox_bytes, free.history_bytes)
        );
        let asked_for = Derived::new(&asked(None, Some(8 << 30))).unwrap();
        assert_eq!(asked_for.memory_limit, 8 << 30, "a request above our limit raises it");
    }
}
