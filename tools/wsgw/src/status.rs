//! `wsgw status`: what the operator reports of WsGateways, for people.

mod account;
mod page;

use jiff::Timestamp;
use wsgateway_crds::WsGateway;

use crate::cli::{Format, StatusArgs};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::gateways;
use crate::output::document;
use crate::screen::Terminal;

pub(crate) use account::{Account, pod_tone};

/// Shows what the command line asks for.
pub(crate) async fn run(options: &StatusArgs) -> Result<(), Error> {
    let cluster = Cluster::new(&options.reach).await?;
    let shown = |gateways: &[WsGateway]| shown(gateways, options, &cluster);
    gateways::show(&cluster, &options.select, options.show, options.watch, shown).await
}

fn shown(gateways: &[WsGateway], options: &StatusArgs, cluster: &Cluster) -> Result<String, Error> {
    let accounts: Vec<Account> = gateways.iter().map(Account::of).collect();
    let format = options.show.output;
    if matches!(format, Format::Json | Format::Yaml) {
        return document(&accounts, format, options.watch);
    }
    let terminal = Terminal::new(options.show.color);
    let now = Timestamp::now();
    Ok(match (&options.select.name, accounts.as_slice()) {
        (_, []) => {
            let place = cluster.place(options.select.all_namespaces);
            page::none(place, options.select.selector.as_deref(), terminal)
        }
        (Some(_), [one]) => page::one(one, now, terminal),
        _ => page::all(&accounts, options.select.all_namespaces, format, now, terminal),
    })
}
