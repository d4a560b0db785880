//! WsGateways, shown once, or again with each change until Ctrl-C.

use std::collections::BTreeMap;

use wsgateway_crds::WsGateway;

use crate::cli::{Select, Show};
use crate::cluster::{Cluster, Follow, GATEWAYS, follow, selection};
use crate::error::Error;
use crate::output::{Redraw, print};

/// Prints what `shown` makes of the selected WsGateways.
///
/// # Errors
/// One of the API server, that a WsGateway which is named is not there, or one of `shown`.
pub(crate) async fn show(
    cluster: &Cluster,
    select: &Select,
    how: Show,
    watch: bool,
    shown: impl Fn(&[WsGateway]) -> Result<String, Error>,
) -> Result<(), Error> {
    if !watch {
        return print(&shown(&cluster.gateways(select).await?)?);
    }
    if select.name.is_some() {
        // A watch would wait for it without a word.
        cluster.gateways(select).await?;
    }
    let what =
        Follow { all: select.all_namespaces, parameters: selection(select), resource: GATEWAYS };
    let mut redraw = Redraw::new(how);
    let draw = |known: &BTreeMap<_, WsGateway>| {
        let gateways: Vec<WsGateway> = known.values().cloned().collect();
        redraw.draw(&shown(&gateways)?)
    };
    crate::until_interrupted(follow::<WsGateway, Error>(cluster, &what, draw)).await
}
