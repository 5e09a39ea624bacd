//! Queues and schedules, changed while the service runs.

use crate::support::server::{Config, Server, text_of};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_waits_and_a_resumed_one_works() {
    let server = Server::start(Config::default()).await;
    let paused: Value = server.send(Method::POST, "/v1/queues/archive/pause", &json!({})).await.json().await.unwrap();
    assert_eq!(paused["paused"], true);
    let id = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    let queue = server.json("/v1/queues/archive").await;
    assert_eq!((&queue["jobs"]["queued"], &queue["slots_used"]), (&json!(1), &json!(0)));
    server.send(Method::POST, "/v1/queues/archive/resume", &json!({})).await;
    assert_eq!(server.ended(&id).await["state"], "succeeded");
    server.send(Method::POST, "/v1/queues/archive/pause", &json!({})).await;
    let doomed = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    let purged: Value = server.send(Method::POST, "/v1/queues/archive/purge", &json!({})).await.json().await.unwrap();
    assert_eq!((&purged["cancelled"], &server.ended(&doomed).await["state"]), (&json!(1), &json!("cancelled")));
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_setting_takes_effect_at_once_and_stays() {
    let mut server = Server::start(Config::default().queue("archive", "concurrency = 1")).await;
    let submit = || server.submit("x.attack", "obedient", json!({"to": "noop"}));
    let (first, second) = (submit().await, submit().await);
    server.until(&format!("/v1/jobs/{first}"), |job| job["state"] == "running").await;
    let queue = server.json("/v1/queues/archive").await;
    assert_eq!((&queue["slots_used"], &queue["slots_free"], &queue["jobs"]["queued"]), (&json!(1), &json!(0), &json!(1)));
    let change = json!({"concurrency": 2, "hard_time_limit": "20m"});
    let tuned: Value = server.send(Method::PATCH, "/v1/queues/archive", &change).await.json().await.unwrap();
    assert_eq!((&tuned["concurrency"], &tuned["hard_time_limit"], &tuned["soft_time_limit"]), (&json!(2), &json!("20m"), &json!("10m")));
    server.until(&format!("/v1/jobs/{second}"), |job| job["state"] == "running").await;
    server.restart().await;
    let kept = server.json("/v1/queues/archive").await;
    assert_eq!((&kept["concurrency"], &kept["hard_time_limit"]), (&json!(2), &json!("20m")));
    for id in [first, second] {
        server.send(Method::POST, &format!("/v1/jobs/{id}/cancel"), &json!({"mode": "kill"})).await;
        server.ended(&id).await;
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_spreads_starts_until_it_is_lifted() {
    let server = Server::start(Config::default().queue("archive", "concurrency = 4\nrate_limit = \"60/m\"")).await;
    assert_eq!(server.json("/v1/queues/archive").await["rate_limit"], "60/m");
    let submit = || server.submit("a.txt", "hello", json!({"to": "noop"}));
    let mut starts = Vec::new();
    for id in [submit().await, submit().await, submit().await] {
        starts.push(text_of(&server.ended(&id).await, "started_at").parse::<jiff::Timestamp>().unwrap());
    }
    starts.sort();
    assert!(starts.windows(2).all(|pair| pair[1].duration_since(pair[0]).as_millis() >= 999), "{starts:?}");
    let lifted: Value = server.send(Method::PATCH, "/v1/queues/archive", &json!({"rate_limit": null})).await.json().await.unwrap();
    assert_eq!(lifted["rate_limit"], Value::Null);
    let limited: Value = server.send(Method::PATCH, "/v1/queues/archive", &json!({"rate_limit": "1/h"})).await.json().await.unwrap();
    assert_eq!((&limited["rate_limit"], &limited["concurrency"]), (&json!("1/h"), &json!(4)));
    let held = submit().await;
    let other: Value = server.send(Method::PATCH, "/v1/queues/archive", &json!({"concurrency": 3})).await.json().await.unwrap();
    assert_eq!((&other["rate_limit"], &server.json(&format!("/v1/jobs/{held}")).await["state"]), (&json!("1/h"), &json!("queued")));
    server.send(Method::PATCH, "/v1/queues/archive", &json!({"rate_limit": null})).await;
    assert_eq!(server.ended(&held).await["state"], "succeeded");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaled_queue_opens_its_range_and_no_more() {
    let server = Server::start(Config::default().queue("archive", "autoscale = { min = 1, max = 2 }")).await;
    let submit = || server.submit("x.attack", "obedient", json!({"to": "noop"}));
    let queue = "/v1/queues/archive";
    server.until(queue, |queue| queue["concurrency"] == 1).await;
    assert_eq!(server.json(queue).await["autoscale"], json!({"min": 1, "max": 2}));
    let mut jobs = vec![submit().await];
    // A lower bound holds on whatever host this is.
    server.send(Method::PATCH, queue, &json!({"autoscale": {"min": 2, "max": 2}})).await;
    jobs.push(submit().await);
    jobs.push(submit().await);
    server.until(queue, |queue| queue["concurrency"] == 2 && queue["jobs"]["running"] == 2).await;
    assert_eq!(server.json(queue).await["jobs"]["queued"], 1);
    let fixed: Value = server.send(Method::PATCH, queue, &json!({"concurrency": 3})).await.json().await.unwrap();
    assert_eq!((&fixed["concurrency"], &fixed["autoscale"]), (&json!(3), &Value::Null));
    server.until(queue, |queue| queue["jobs"]["running"] == 3).await;
    for id in jobs {
        server.send(Method::POST, &format!("/v1/jobs/{id}/cancel"), &json!({"mode": "kill"})).await;
    }
    server.until(queue, |queue| queue["jobs"]["running"] == 0).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_put_run_and_deleted() {
    let mut server = Server::start(Config::default().variable("TIME_ZONE", "Europe/Berlin")).await;
    let names = |list: &Value| list.as_array().unwrap().iter().map(|s| text_of(s, "name")).collect::<Vec<_>>();
    assert_eq!(names(&server.json("/v1/schedules").await), ["purge-records", "purge-staging"]);
    let nightly = json!({"cron": "30 4 * * mon-fri", "converter": "cleanup.purge-records"});
    let put: Value = server.send(Method::PUT, "/v1/schedules/nightly", &nightly).await.json().await.unwrap();
    assert_eq!((&put["time_zone"], &put["enabled"], &put["last_fire"]), (&json!("Europe/Berlin"), &json!(true), &Value::Null));
    let response = server.send(Method::POST, "/v1/schedules/nightly/run", &json!({})).await;
    assert_eq!(response.status(), 202);
    let job: Value = response.json().await.unwrap();
    assert_eq!((&job["queue"], &job["converter"]), (&json!("cleanup"), &json!("cleanup.purge-records")));
    assert_eq!(server.ended(&text_of(&job, "id")).await["state"], "succeeded");
    assert_eq!(server.json("/v1/schedules/nightly").await["next_fire"], put["next_fire"]);
    server
        .send(
            Method::PUT,
            "/v1/schedules/nightly",
            &json!({"cron": "@daily", "converter": "cleanup.purge-staging", "enabled": false, "time_zone": "UTC"}),
        )
        .await;
    let often = json!({"every": "1s", "converter": "cleanup.purge-staging", "missed": "skip"});
    let put: Value = server.send(Method::PUT, "/v1/schedules/often", &often).await.json().await.unwrap();
    assert_eq!((&put["cron"], &put["every"], &put["missed"]), (&Value::Null, &json!("1s"), &json!("skip")));
    server.until("/v1/schedules/often", |schedule| schedule["last_fire"].is_string()).await;
    assert_eq!(server.request(Method::DELETE, "/v1/schedules/often").send().await.unwrap().status(), 204);
    server.restart().await;
    let kept = server.json("/v1/schedules/nightly").await;
    assert_eq!((&kept["cron"], &kept["enabled"]), (&json!("@daily"), &json!(false)));
    assert_eq!(server.request(Method::DELETE, "/v1/schedules/nightly").send().await.unwrap().status(), 204);
    assert_eq!(server.get("/v1/schedules/nightly").await.status(), 404);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_for_celery_is_kept_as_put_and_needs_a_broker() {
    let server = Server::start(Config::default()).await;
    let task = json!({"task": "site.tasks.report", "args": [1], "kwargs": {"days": 7}, "queue": "python"});
    let put: Value = server.send(Method::PUT, "/v1/schedules/report", &json!({"cron": "@yearly", "celery": task})).await.json().await.unwrap();
    assert_eq!((&put["converter"], &put["celery"]), (&json!("celery.send"), &task));
    // As it was read, but for a change: so does the page.
    let off = json!({"cron": put["cron"], "converter": put["converter"], "celery": put["celery"], "enabled": false});
    assert_eq!(server.send(Method::PUT, "/v1/schedules/report", &off).await.json::<Value>().await.unwrap()["enabled"], false);
    let job: Value = server.send(Method::POST, "/v1/schedules/report/run", &json!({})).await.json().await.unwrap();
    let job = server.ended(&text_of(&job, "id")).await;
    assert_eq!((&job["error"]["code"], &job["attempt"], &job["metadata"]["celery"]), (&json!("invalid_option"), &json!(1), &task));
    assert!(text_of(&job["error"], "hint").contains("celery.broker_url"));
    server.stop();
}
