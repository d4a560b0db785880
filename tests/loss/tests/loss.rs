//! The loss meter, short: a check that it finds losses.

use anyhow::Result;
use harness::built_beside;
use loss::balancer::Way;
use loss::fault::{Fault, Times};
use loss::report;
use loss::run::{Row, run};
use loss::servers::Kind;
use loss::world::Plan;

fn plan(kind: Kind) -> Result<Plan> {
    Ok(Plan {
        kind,
        gateway: built_beside("gateway")?,
        pods: 3,
        clients: 200,
        sse: 0,
        subjects: 100,
        rate: 150,
        resume: true,
        way: Way::RoundRobin,
        times: Times::QUICK,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_meter_finds_what_clients_lose_that_forget_their_cursor() -> Result<()> {
    let times = Times::QUICK.without_hope();
    let plan = Plan { resume: false, times, ..plan(Kind::Single)? };
    let rows: Vec<Row> = run(&plan, &[Fault::None, Fault::NetworkCut], |_| ()).await?;
    assert!(rows[0].is_faultless(), "{:?}", report::complaints(&rows[0]));
    assert!(rows[1].counts.lost > 0 && !rows[1].is_faultless(), "{:?}", rows[1]);
    assert_eq!((rows[1].counts.twice, rows[1].counts.out_of_order), (0, 0), "{:?}", rows[1]);
    Ok(())
}
