//! The numbers that follow from `capacity.connectionsPerPod`.

/// Port of metrics, probes and status in every gateway pod.
pub const ADMIN_PORT: u16 = 9090;

/// What a pod needs without any client: binary, threads, NATS buffers, metrics.
const BASE_BYTES: u64 = 64 << 20;
/// Per connection: at most 4 KiB of our own, about 5 KiB in the kernel (which the pod's cgroup pays for), and room for
/// a burst in flight.
const CONNECTION_BYTES: u64 = 16 << 10;
/// Outbox of one client at its limit, as the gateway's default has it.
const OUTBOX_BYTES: u64 = 256 << 10;
/// One client in ten may stall before the pod protects itself.
const STALLED_SHARE: u64 = 10;
/// A small pod still bears a few stalled clients.
const LEAST_STALLED: u64 = 64;
/// Beyond 4,096 stalled clients at once something other than clients is wrong.
const MOST_STALLED: u64 = 4_096;
/// A pod's limit over its request: a burst of kernel buffers and growth of tables must not kill it.
const LIMIT_FACTOR: u64 = 2;
/// Share of the capacity that the autoscaler aims at, in percent.
const TARGET_PERCENT: u32 = 80;

/// The numbers that follow from `capacity.connectionsPerPod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Derived {
    /// Connections that a pod admits.
    pub connections: u32,
    /// Bytes waiting for all slow clients of a pod together: a tenth of the clients at 256 KiB, at least 64 and at most
    /// 4,096 of them.
    pub outbox_bytes: u64,
    /// Memory request of a pod in bytes: 64 MiB + 16 KiB per connection + all outboxes.
    pub memory_request: u64,
    /// Memory limit of a pod in bytes: twice the request.
    pub memory_limit: u64,
    /// Average connections per pod that the autoscaler aims at: as specified, or 80 %.
    pub target_connections: u32,
}

impl Derived {
    /// From the connections of a pod (at least 1) and the target if one is specified.
    pub fn new(connections: u32, target: Option<u32>) -> Self {
        let stalled =
            u64::from(connections).div_ceil(STALLED_SHARE).clamp(LEAST_STALLED, MOST_STALLED);
        let outbox_bytes = stalled * OUTBOX_BYTES;
        let memory_request = BASE_BYTES + u64::from(connections) * CONNECTION_BYTES + outbox_bytes;
        let default_target = (u64::from(connections) * u64::from(TARGET_PERCENT)).div_ceil(100);
        Self {
            connections,
            outbox_bytes,
            memory_request,
            memory_limit: memory_request * LIMIT_FACTOR,
            target_connections: target
                .unwrap_or_else(|| u32::try_from(default_target).unwrap_or(connections)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::smallest(1, 16, 80, 1)]
    #[case::small(1_000, 25, 104, 800)]
    #[case::default(10_000, 250, 470, 8_000)]
    #[case::largest(1_000_000, 1_024, 16_713, 800_000)]
    fn one_number_yields_the_others(
        #[case] connections: u32,
        #[case] outbox_mib: u64,
        #[case] request_mib: u64,
        #[case] target: u32,
    ) {
        let derived = Derived::new(connections, None);
        assert_eq!(derived.outbox_bytes >> 20, outbox_mib);
        assert_eq!(derived.memory_request >> 20, request_mib);
        assert_eq!(derived.memory_limit, 2 * derived.memory_request);
        assert_eq!(derived.target_connections, target);
    }

    #[test]
    fn a_target_that_is_given_is_kept() {
        assert_eq!(Derived::new(10_000, Some(5)).target_connections, 5);
    }
}
