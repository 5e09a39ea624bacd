//! What only the shared store can suffer: other processes, cut links, a server that restarts or is not to be trusted.

use crate::support::cutter::Cutter;
use crate::support::records::{at, finish, lease_request, new_job};
use crate::support::redis::RedisServer;
use futures::future::join_all;
use millrace::failure::{Code, Failure};
use millrace::job::{JobId, Lease, LogLine, State};
use millrace::progress::Progress;
use millrace::store::redis::RedisStore;
use millrace::store::{Filter, Inserted, Jobs, LeaseLost, Leases, Notice, Renewal, Renewed, StoreError, Tuning, Upkeep};
use redis::from_redis_value;
use std::collections::HashMap;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

async fn insert(store: &RedisStore, second: i64) -> JobId {
    store.insert(vec![new_job(second)], at(second)).await.unwrap()[0].job().id
}

fn line(message: &str) -> LogLine {
    LogLine { at: at(1), attempt: 1, level: "info".into(), source: "worker".into(), message: message.into() }
}

fn numbers_are_without_gaps(numbers: impl Iterator<Item = u64>) -> bool {
    numbers.zip(1..).all(|(number, n)| number == n)
}

#[test]
fn a_worker_that_was_away_past_its_lease_changes_nothing() {
    run(async {
        let server = RedisServer::start(&[]);
        let (away, other) = (RedisStore::open(&server.url("m")).await.unwrap(), RedisStore::open(&server.url("m")).await.unwrap());
        let id = insert(&away, 0).await;
        away.lease(lease_request(1, 40), at(10)).await.unwrap();
        let stale = Lease { job: id, attempt: 1 };
        assert_eq!(other.reap(at(41), at(41)).await.unwrap(), [stale]);
        other.lease(lease_request(1, 80), at(50)).await.unwrap();
        let before = other.get(id).await.unwrap();
        // It still holds the record of its own attempt in memory.
        assert_eq!(away.finish(finish(stale, None, None), at(60)).await.unwrap(), Err(LeaseLost));
        assert_eq!(away.release(stale, vec![line("x")], at(60)).await.unwrap(), Err(LeaseLost));
        let renewal = Renewal { lease: stale, progress: Some(Progress::default()), outputs: vec![], media: None, log: vec![line("x")] };
        assert_eq!(away.renew(vec![renewal], at(100), at(60)).await.unwrap(), [Renewed::Lost]);
        assert_eq!(other.get(id).await.unwrap(), before);
        assert_eq!(other.log(id, 0).await.unwrap(), []);
        assert_eq!(before.job.attempt, 2);
    });
}

#[test]
fn what_another_process_does_between_two_verbs_is_seen() {
    run(async {
        let server = RedisServer::start(&[]);
        let (worker, client) = (RedisStore::open(&server.url("m")).await.unwrap(), RedisStore::open(&server.url("m")).await.unwrap());
        let id = insert(&client, 0).await;
        worker.lease(lease_request(1, 40), at(10)).await.unwrap();
        client.cancel(id, millrace::job::CancelMode::Soft, at(11)).await.unwrap();
        // Made on the worker's own copy, which knows of no cancel; a retry of a cancelled job is none.
        let lease = Lease { job: id, attempt: 1 };
        let job = worker.finish(finish(lease, Some(Failure::new(Code::Crashed, "x")), Some(at(50))), at(20)).await.unwrap().unwrap();
        assert_eq!((job.state, client.get(id).await.unwrap().job), (State::Cancelled, job));
    });
}

#[test]
fn a_lost_answer_costs_nothing_and_doubles_nothing() {
    run(async {
        let server = RedisServer::start(&[]);
        let cutter = Cutter::before(server.port).await;
        let store = RedisStore::open(&format!("redis://127.0.0.1:{}/", cutter.port)).await.unwrap();
        cutter.lose_next_answer();
        let inserted = store.insert(vec![new_job(0)], at(0)).await.unwrap();
        let id = inserted[0].job().id;
        assert!(matches!(inserted[..], [Inserted::New(_)]));
        cutter.lose_next_answer();
        let leased = store.lease(lease_request(5, 40), at(10)).await.unwrap();
        assert_eq!(leased.iter().map(|r| (r.job.id, r.job.attempt)).collect::<Vec<_>>(), [(id, 1)]);
        let lease = Lease { job: id, attempt: 1 };
        let progress = Progress { percent: 40.0, ..Progress::default() };
        let renewal = Renewal { lease, progress: Some(progress.clone()), outputs: vec![], media: None, log: vec![line("once")] };
        cutter.lose_next_answer();
        assert!(matches!(store.renew(vec![renewal], at(60), at(20)).await.unwrap()[..], [Renewed::Held { .. }]));
        assert_eq!(store.get(id).await.unwrap().job.progress, progress);
        cutter.lose_next_answer();
        let mut end = finish(lease, None, None);
        end.log = vec![line("at the end")];
        assert_eq!(store.finish(end, at(30)).await.unwrap().unwrap().state, State::Succeeded);
        assert_eq!(cutter.cuts(), 4);
        let log: Vec<String> = store.log(id, 0).await.unwrap().into_iter().map(|l| l.message).collect();
        assert_eq!(log, ["once", "at the end"]);
        let kinds: Vec<String> = store.events(0, None, 10).await.unwrap().into_iter().map(|e| e.kind).collect();
        assert_eq!(kinds, ["queued", "started", "succeeded"]);
        let counts = &store.counts().await.unwrap()["image"];
        assert_eq!(counts.iter().filter(|(_, n)| **n > 0).collect::<Vec<_>>(), [(&State::Succeeded, &1)]);
    });
}

/// Leases and finishes until nothing is left; links may be cut meanwhile.
async fn work(store: RedisStore, now: i64) -> usize {
    let mut done = 0;
    loop {
        let leased = match store.lease(lease_request(3, now + 1000), at(now)).await {
            Ok(leased) if leased.is_empty() => return done,
            Ok(leased) => leased,
            Err(StoreError::Unavailable(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        for record in leased {
            let end = finish(Lease { job: record.job.id, attempt: record.job.attempt }, None, None);
            loop {
                match store.finish(end.clone(), at(now)).await {
                    // A try before this one may have been the one that counted.
                    Ok(_) => break done += 1,
                    Err(StoreError::Unavailable(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

#[test]
fn cut_links_and_a_crashed_server_lose_nothing_that_was_promised() {
    run(async {
        let mut server = RedisServer::start(&["appendonly", "yes", "appendfsync", "always"]);
        let stores = join_all((0..3).map(|_| async { RedisStore::open(&server.url("m")).await.unwrap() })).await;
        let mut promised = Vec::new();
        for second in 0..100 {
            promised.push(insert(&stores[0], second).await);
        }
        let workers: Vec<_> = stores.iter().map(|store| tokio::spawn(work(store.clone(), 1000))).collect();
        for _ in 0..10 {
            server.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
            server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        }
        server.crash_and_restart();
        for worker in workers {
            worker.await.unwrap();
        }
        // A lease whose answer was lost with the server itself comes back when it has run out.
        while !stores[0].reap(at(9000), at(9000)).await.unwrap().is_empty() {}
        work(stores[1].clone(), 9000).await;
        for id in &promised {
            assert_eq!(stores[2].get(*id).await.unwrap().job.state, State::Succeeded);
        }
        let counts = &stores[2].counts().await.unwrap()["image"];
        assert_eq!(counts.values().sum::<u64>(), promised.len() as u64);
        assert_eq!(stores[2].list(Filter { limit: 500, state: Some(State::Succeeded), ..Filter::default() }).await.unwrap().len(), promised.len());
        let events = stores[2].events(0, None, 10_000).await.unwrap();
        assert!(numbers_are_without_gaps(events.iter().map(|e| e.seq)));
        assert_eq!(events.iter().filter(|e| e.kind == "succeeded").count(), promised.len());
    });
}

#[test]
fn notices_of_another_process_are_heard_even_after_the_link_was_cut() {
    run(async {
        let server = RedisServer::start(&[]);
        let (listening, other) = (RedisStore::open(&server.url("m")).await.unwrap(), RedisStore::open(&server.url("m")).await.unwrap());
        let mut notices = listening.notices();
        for round in 0..2 {
            // Each round has words of its own: some of the last one's may still be on their way.
            let queue = format!("round-{round}");
            let heard = async { while notices.recv().await.unwrap() != Notice::Tuning(queue.clone()) {} };
            // What is said while the link is down is lost, as it may be: it is said again.
            let said = async {
                loop {
                    other.tune(&queue, Tuning::default(), at(1)).await.unwrap();
                }
            };
            tokio::time::timeout(DEADLINE, futures::future::select(Box::pin(heard), Box::pin(said))).await.unwrap();
            server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        }
    });
}

#[test]
fn a_server_that_would_throw_jobs_away_is_refused() {
    run(async {
        let server = RedisServer::start(&["maxmemory-policy", "allkeys-lru"]);
        let refused = RedisStore::open(&server.url("m")).await.err().unwrap();
        assert!(refused.to_string().contains("set maxmemory-policy to noeviction, it is allkeys-lru"), "{refused}");
    });
}

#[test]
fn no_server_is_told_soon() {
    run(async {
        let server = RedisServer::start(&[]);
        let url = server.url("m");
        drop(server);
        let told = tokio::time::timeout(DEADLINE, RedisStore::open(&url)).await.unwrap();
        assert!(matches!(told, Err(StoreError::Unavailable(_))));
    });
}

#[test]
fn when_memory_is_full_nothing_new_comes_in_and_what_runs_can_end() {
    run(async {
        let server = RedisServer::start(&[]);
        let store = RedisStore::open(&server.url("m")).await.unwrap();
        let (running, waiting) = (insert(&store, 0).await, insert(&store, 1).await);
        store.lease(lease_request(1, 40), at(10)).await.unwrap();
        server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
        let full = store.insert(vec![new_job(2)], at(2)).await;
        assert!(matches!(full, Err(StoreError::Full)), "{full:?}");
        assert!(matches!(store.lease(lease_request(1, 40), at(10)).await, Err(StoreError::Full)));
        let job = store.finish(finish(Lease { job: running, attempt: 1 }, None, None), at(20)).await.unwrap().unwrap();
        assert_eq!(job.state, State::Succeeded);
        store.remove(running).await.unwrap();
        server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
        // Nothing was half done.
        assert_eq!(store.lease(lease_request(5, 40), at(30)).await.unwrap().iter().map(|r| r.job.id).collect::<Vec<_>>(), [waiting]);
    });
}

#[test]
fn running_jobs_of_a_token_are_counted_whatever_becomes_of_them() {
    run(async {
        let server = RedisServer::start(&[]);
        let store = RedisStore::open(&server.url("m")).await.unwrap();
        let mut jobs: Vec<_> = (0..7).map(new_job).collect();
        jobs[1..].iter_mut().for_each(|new| new.record.owner = Some("a".into()));
        // A pipeline's name and a fairness key stand beside the token.
        jobs[2].record.job.fairness_key = Some("site\n".into());
        let ids: Vec<JobId> = jobs.iter().map(|new| new.record.job.id).collect();
        store.insert(jobs, at(10)).await.unwrap();
        let counted = async || server.command(&["HGETALL", "{m}:running"]).await;
        let n = |n: &str| redis::Value::Array(["a", n].iter().map(|text| redis::Value::BulkString(text.as_bytes().to_vec())).collect());
        // In order of their keys' turns: all of them.
        store.lease(lease_request(9, 90), at(20)).await.unwrap();
        let lease = |job: usize| Lease { job: ids[job], attempt: 1 };
        assert_eq!(counted().await, n("6"));
        store.finish(finish(lease(0), None, None), at(30)).await.unwrap().unwrap();
        store.finish(finish(lease(1), None, None), at(30)).await.unwrap().unwrap();
        store.finish(finish(lease(2), Some(Failure::new(Code::Crashed, "x")), Some(at(500))), at(30)).await.unwrap().unwrap();
        assert_eq!(counted().await, n("4"));
        store.release(lease(3), vec![], at(30)).await.unwrap().unwrap();
        let renewal = Renewal { lease: lease(4), progress: None, outputs: vec![], media: None, log: vec![] };
        store.renew(vec![renewal], at(95), at(30)).await.unwrap();
        store.cancel(ids[4], millrace::job::CancelMode::Soft, at(31)).await.unwrap();
        assert_eq!(counted().await, n("3"));
        assert_eq!(store.reap(at(100), at(100)).await.unwrap().len(), 3);
        assert_eq!(counted().await, redis::Value::Array(vec![]));
        store.lease(lease_request(1, 190), at(110)).await.unwrap();
        assert_eq!(counted().await, n("1"));
    });
}

/// Asks until it is so.
async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    let asking = async { while !is_so().await {} };
    tokio::time::timeout(DEADLINE, asking).await.unwrap();
}

#[test]
fn a_cluster_is_found_by_any_of_its_nodes() {
    run(async {
        let nodes = [RedisServer::node(), RedisServer::node()];
        for (node, [first, last]) in nodes.iter().zip([["0", "8191"], ["8192", "16383"]]) {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await;
        }
        let bus: Vec<String> = redis::from_redis_value(nodes[1].command(&["CONFIG", "GET", "cluster-port"]).await).unwrap();
        nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &nodes[1].port.to_string(), &bus[1]]).await;
        for node in &nodes {
            until(|| node.says(&["CLUSTER", "INFO"], "cluster_state:ok")).await;
        }
        // The keys of these lie on both nodes.
        for prefix in ["a", "b", "c", "d", "e", "f"] {
            for node in &nodes {
                let store = RedisStore::open(&format!("redis+cluster://127.0.0.1:{}/?prefix={prefix}", node.port)).await.unwrap();
                let mut notices = store.notices();
                let id = insert(&store, 0).await;
                let lease = Lease { job: id, attempt: 1 };
                assert_eq!(store.lease(lease_request(1, 40), at(10)).await.unwrap()[0].job.id, id);
                assert!(store.finish(finish(lease, None, None), at(20)).await.unwrap().is_ok());
                let heard = async { while notices.recv().await.unwrap() != Notice::Job(id) {} };
                tokio::time::timeout(DEADLINE, heard).await.unwrap();
            }
        }
        for node in &nodes {
            assert_ne!(node.command(&["DBSIZE"]).await, redis::Value::Int(0), "both are used");
        }
    });
}

#[test]
fn a_new_master_is_found_by_its_sentinel() {
    run(async {
        let mut master = RedisServer::start(&[]);
        let replica = RedisServer::start(&["replicaof", &format!("127.0.0.1 {}", master.port), "repl-diskless-sync-delay", "0"]);
        until(|| replica.says(&["INFO", "replication"], "master_link_status:up")).await;
        let sentinel = RedisServer::sentinel_of(&master);
        let watched = format!("master0:name=watched,status=ok,address=127.0.0.1:{},slaves=1,sentinels=1", master.port);
        until(|| sentinel.says(&["INFO", "sentinel"], &watched)).await;
        // One it has not asked itself yet would not be made the master, and it would not try again for minutes.
        until(|| async {
            let replicas: Vec<HashMap<String, String>> = from_redis_value(sentinel.command(&["SENTINEL", "REPLICAS", "watched"]).await).unwrap();
            replicas.iter().any(|replica| replica["master-link-status"] == "ok")
        })
        .await;
        let store = RedisStore::open(&format!("redis+sentinel://127.0.0.1:{}/watched", sentinel.port)).await.unwrap();
        let id = insert(&store, 0).await;
        // WAIT would only wait for what its own connection has written.
        let keys = master.command(&["DBSIZE"]).await;
        until(|| async { replica.command(&["DBSIZE"]).await == keys }).await;
        master.crash();
        until(|| async { store.get(id).await.is_ok() }).await;
        until(|| async { store.insert(vec![new_job(1)], at(1)).await.is_ok() }).await;
        assert_eq!(store.lease(lease_request(5, 40), at(10)).await.unwrap()[0].job.id, id);
    });
}

#[test]
fn tls_and_passwords_are_spoken_and_asked_for() {
    run(async {
        let (server, port) = RedisServer::with_tls();
        server.command(&["ACL", "SETUSER", "mill", "on", ">secret", "~{m}*", "&{m}*", "+@all", "-config"]).await;
        let url = |user: &str, certificate: &str| format!("rediss://{user}@localhost:{port}/?prefix=m{certificate}");
        let store = RedisStore::open(&url("mill:secret", "#insecure")).await.unwrap();
        let id = insert(&store, 0).await;
        assert_eq!(store.lease(lease_request(1, 40), at(10)).await.unwrap()[0].job.id, id);
        for refused in [url("mill:wrong", "#insecure"), url("mill:secret", "")] {
            assert!(matches!(RedisStore::open(&refused).await, Err(StoreError::Unavailable(_))), "{refused}");
        }
    });
}
