//! What can go wrong with machines, servers and links, done on purpose.

use super::site::{Site, WORKERS};
use crate::support::process::Below;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9` of a worker, and another process in its place.
    KillWorker,
    KillForkServer,
    KillZygote,
    KillChild,
    /// `kill -9` of the service, and another process in its place.
    KillApi,
    /// A worker is stopped until its leases are lost, then goes on as if nothing had been.
    StopWorker,
    /// `kill -9` of Redis, which comes back after a while with what it has written.
    KillRedis,
    /// Redis answers nobody for a while.
    PauseRedis,
    /// Redis throws everybody out.
    KillClients,
    /// A worker's connections are cut.
    CutLink,
    /// The service's connections are cut.
    CutApiLink,
    /// A script runs, its answer is lost.
    LoseAnswer,
    /// Nothing comes or goes between a worker and Redis until its leases are lost.
    ShutLink,
    /// The S3 server is gone for a while, with all its connections.
    RestartS3,
    /// A worker's clock is set forward or back by far more than a lease.
    SetClock,
}

impl Fault {
    pub const ALL: [Fault; 15] = [
        Fault::KillWorker,
        Fault::KillForkServer,
        Fault::KillZygote,
        Fault::KillChild,
        Fault::KillApi,
        Fault::StopWorker,
        Fault::KillRedis,
        Fault::PauseRedis,
        Fault::KillClients,
        Fault::CutLink,
        Fault::CutApiLink,
        Fault::LoseAnswer,
        Fault::ShutLink,
        Fault::RestartS3,
        Fault::SetClock,
    ];

    /// Lets it happen; when this returns, what was broken may heal, and has not yet.
    pub async fn run(self, site: &mut Site, random: &mut StdRng) {
        match self {
            Fault::KillWorker => {
                let victim = site.busy_worker(random).await;
                site.workers[victim].worker.kill_9_and_restart().await;
            }
            Fault::KillForkServer => kill_below(site, random, |below| below.depth == 1).await,
            Fault::KillZygote => kill_below(site, random, |below| below.depth == 2).await,
            Fault::KillChild => kill_below(site, random, |below| below.depth >= 3).await,
            Fault::KillApi => site.restart_api().await,
            Fault::StopWorker => {
                let victim = site.busy_worker(random).await;
                let worker = &site.workers[victim].worker;
                worker.signal(Signal::STOP);
                site.leases_lost(&worker.name()).await;
                worker.signal(Signal::CONT);
            }
            Fault::KillRedis => {
                site.redis.crash();
                tokio::time::sleep(outage(random)).await;
                site.redis.restart();
            }
            Fault::PauseRedis => {
                site.redis.command(&["CLIENT", "PAUSE", &outage(random).as_millis().to_string(), "ALL"]).await;
            }
            Fault::KillClients => {
                for kind in ["normal", "pubsub"] {
                    site.redis.command(&["CLIENT", "KILL", "TYPE", kind]).await;
                }
            }
            Fault::CutLink => site.workers[random.random_range(0..WORKERS)].link.cut(),
            Fault::CutApiLink => site.api_link.cut(),
            Fault::LoseAnswer => site.workers[random.random_range(0..WORKERS)].link.lose_next_answer(),
            Fault::ShutLink => {
                let victim = site.busy_worker(random).await;
                let name = site.workers[victim].worker.name();
                site.workers[victim].link.shut();
                site.leases_lost(&name).await;
                site.children_gone(victim).await;
                site.workers[victim].link.open();
            }
            Fault::RestartS3 => {
                site.s3.stop().await;
                tokio::time::sleep(outage(random)).await;
                site.s3.restart().await;
            }
            Fault::SetClock => {
                site.set_clock(["+10m", "-10m", "+45s", "-45s"].choose(random).unwrap());
                site.clock_is_wrong().await;
            }
        }
    }
}

/// From hardly noticed to longer than a lease.
fn outage(random: &mut StdRng) -> Duration {
    Duration::from_millis(random.random_range(0..5000))
}

/// SIGKILL to something that a busy worker has started.
async fn kill_below(site: &Site, random: &mut StdRng, wanted: fn(&Below) -> bool) {
    loop {
        let machine = &site.workers[site.busy_worker(random).await];
        let candidates: Vec<Below> = machine.worker.processes().into_iter().filter(|below| wanted(below) && !below.is_zombie).collect();
        // It may have ended between the two looks.
        let killed = candidates.choose(random).map(|victim| kill_process(Pid::from_raw(victim.id.cast_signed()).unwrap(), Signal::KILL));
        if killed.is_some_and(|killed| killed.is_ok()) {
            return;
        }
    }
}
