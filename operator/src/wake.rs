//! Wakes single WsGateways for what the API server does not know: a connection to NATS that came up, a stream that
//! somebody changed.

use futures_util::{Stream, stream};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use wsgateway_crds::WsGateway;

/// Namespace and name of a WsGateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Name {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// A WsGateway, as stores and the controller name it.
pub(crate) fn reference(name: &Name) -> ObjectRef<DeserializeGuard<WsGateway>> {
    ObjectRef::new(&name.name).within(&name.namespace)
}

/// Asks for a reconciliation.
#[derive(Clone, Debug)]
pub(crate) struct Wake(mpsc::UnboundedSender<Name>);

impl Wake {
    /// Of this WsGateway. Several requests in a moment are one reconciliation.
    pub(crate) fn wake(&self, name: Name) {
        // Fails when the controller has ended: nobody reconciles any more.
        drop(self.0.send(name));
    }
}

/// What was asked for, as the controller takes it.
#[derive(Debug)]
pub(crate) struct Wakes(mpsc::UnboundedReceiver<Name>);

impl Wakes {
    pub(crate) fn into_stream(
        self,
    ) -> impl Stream<Item = ObjectRef<DeserializeGuard<WsGateway>>> + Send + 'static {
        stream::unfold(
            self.0,
            |mut asked| async move { Some((reference(&asked.recv().await?), asked)) },
        )
    }
}

pub(crate) fn wakes() -> (Wake, Wakes) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Wake(sender), Wakes(receiver))
}
