//! What a thousand WsGateways cost the operator, and what ten thousand hostile ones do to it.
//!
//! The operator is a process of its own, as on a cluster, with a real API server, real controllers and a real
//! nats-server. There are no nodes: an actor takes the kubelets' part, and answers for every pod at an address of its
//! own. What the operator asks for is counted in the API server's audit log, and its stream lookups at NATS.
//!
//! - [`plan`]: how much of everything; [`environment`]: the servers; [`operator`]: the process; [`kubelet`]: the pods
//! - [`gateways`]: WsGateways, sound and broken; [`observer`]: what their status says and since when
//! - [`counts`]: requests, by whom they were for (pure)
//! - [`fleet`]: cold start, steady state, changes, and the same start with a tenth of them broken
//! - [`hostile`]: WsGateways of a generator (pure), and what became of them
//! - [`report`]: tables and JSON; [`progress`]: what is shown meanwhile

pub mod counts;
pub mod environment;
pub mod fleet;
pub mod gateways;
pub mod hostile;
pub mod kubelet;
pub mod observer;
pub mod operator;
pub mod plan;
pub mod progress;
pub mod report;
