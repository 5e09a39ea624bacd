//! One Redis, one S3 server, one service and three workers under fire: whatever happens, every accepted job ends once.
//!
//! `cargo test` plays some rounds; `scripts/chaos --minutes N --seed S` as many as fit.

mod faults;
mod invariants;
mod load;
mod plan;
mod site;

use invariants::{Witness, assert_ends_well, assert_idle};
use load::Load;
use plan::Plan;
use site::Site;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a run has come to.
#[derive(Debug, Default)]
struct Summary {
    faults: BTreeMap<faults::Fault, usize>,
    jobs: BTreeMap<&'static str, usize>,
}

/// Plays rounds of all faults until the time is over, one at least; the invariants hold after each.
async fn play(seed: u64, time: Duration) -> Summary {
    let (begun, mut plan, mut site) = (Instant::now(), Plan::new(seed), Site::open().await);
    let (mut summary, mut accepted) = (Summary::default(), Vec::new());
    let witness = Witness::of(&site).await;
    loop {
        let mut load = Load::start(&site.address.subscribe(), plan.random());
        for step in plan.round() {
            load.go_on(step.after).await;
            eprintln!("{:>7.1?} {:?}", begun.elapsed(), step.fault);
            step.fault.run(&mut site, plan.random()).await;
            *summary.faults.entry(step.fault).or_default() += 1;
        }
        site.set_clock("+0");
        let taken = load.stop().await;
        for (end, n) in witness.assert_ended(&site, &taken).await {
            *summary.jobs.entry(end).or_default() += n;
        }
        accepted.extend(taken);
        witness.assert_all_counted(&accepted).await;
        witness.assert_no_orphan_blobs(&accepted).await;
        assert_idle(&site).await;
        if begun.elapsed() >= time {
            break;
        }
    }
    witness.assert_all_goes().await;
    assert_ends_well(site);
    summary
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_every_accepted_job_ends_once() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap_or_else(|e| panic!("{name}={text}: {e}")));
    let time = Duration::from_secs(60 * number("CHAOS_MINUTES").unwrap_or(0));
    for seed in number("CHAOS_SEED").map_or(vec![1, 2], |seed| vec![seed]) {
        let begun = Instant::now();
        let Summary { faults, jobs } = play(seed, time).await;
        eprintln!("seed {seed}, {:.0?}: faults {faults:?}, jobs {jobs:?}", begun.elapsed());
        let [succeeded, given_up] = ["succeeded", "given up"].map(|end| jobs.get(end).copied().unwrap_or(0));
        assert!(succeeded > 9 * given_up, "{given_up} jobs were given up, {succeeded} succeeded");
    }
}
