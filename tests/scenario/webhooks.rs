//! Letters about jobs, from the real service to receivers on loopback.

use crate::support::clients;
use crate::support::command::millrace;
use crate::support::server::{Config, Server, text_of};
use crate::support::sink::{Asked, Sink, redirect, status};
use jiff::{SignedDuration, Timestamp};
use millrace::clock::{Clock, ManualClock};
use millrace::job::{Occasion, Webhook};
use millrace::notify::{Notifier, WebhookSettings, Webhooks};
use millrace::outbound::SystemResolver;
use millrace::queue::Queues;
use millrace::store::sqlite::SqliteStore;
use millrace::store::{DeliveryFilter, DeliveryState, Store};
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const NEW_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
const DELIVERIES: &str = "/v1/webhooks/deliveries";

/// What another language's library says to letters: `ok`, or that the one in which a letter was changed is not.
const PYTHON: &str = "import sys, json
from standardwebhooks import Webhook
for secret in sys.argv[2:]:
    for letter in json.load(open(sys.argv[1])):
        try:
            Webhook(secret).verify(letter['body'], letter['headers'])
            print('ok')
        except Exception as e:
            print(type(e).__name__)";
const NODE: &str = "const { Webhook } = require('standardwebhooks');
const letters = JSON.parse(require('fs').readFileSync(process.argv[2]));
for (const secret of process.argv.slice(3)) for (const { body, headers } of letters) {
  try { new Webhook(secret).verify(body, headers); console.log('ok'); } catch (e) { console.log(e.constructor.name); }
}";

fn config() -> Config {
    Config::default().variable("WEBHOOKS_SECRET", &format!("{NEW_SECRET},{OLD_SECRET}")).variable("WEBHOOKS_ALLOW_PRIVATE", "true")
}

fn lines(command: &mut Command) -> Vec<String> {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
}

async fn dead(server: &Server, n: usize) -> Vec<Value> {
    let page = server.until(&format!("{DELIVERIES}?state=dead"), |page| page["deliveries"].as_array().unwrap().len() >= n).await;
    page["deliveries"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_in_letters_that_every_library_believes() {
    let sink = Sink::start().await;
    let server = Server::start(config()).await;
    let webhook = json!({"url": sink.url("/hook?site=a"), "events": Occasion::ALL});
    let id = server.submit("a.txt", "hello", json!({"to": "noop", "webhook": webhook, "metadata": {"upload_id": 42}})).await;
    let job = server.ended(&id).await;
    let letters = sink.asked_for(4).await;
    let mut told: Vec<Value> = letters.iter().map(Asked::json).collect();
    told.sort_by_key(|letter| letter["at"].to_string());
    let events: Vec<&Value> = told.iter().map(|letter| &letter["event"]).collect();
    assert!(events[0] == "queued" && events[1] == "started" && events.contains(&&json!("output_ready")), "{events:?}");
    let last = told.iter().find(|letter| letter["event"] == "succeeded").expect("it is told how it ended");
    assert_eq!(last["job"], job, "the job as the API shows it");
    assert_eq!(told[0]["job"]["state"], "queued");
    assert!(letters.iter().all(|l| l.method == "POST"
        && l.uri == "/hook?site=a"
        && l.header("content-type") == "application/json"
        && l.header("webhook-id").starts_with("msg_")));

    for secret in [NEW_SECRET, OLD_SECRET] {
        let theirs = standardwebhooks::Webhook::new(secret).unwrap();
        for letter in &letters {
            theirs.verify(&letter.body, &letter.headers).unwrap();
        }
        assert!(theirs.verify(b"{}", &letters[0].headers).is_err());
    }
    let kept = |body: String, letter: &Asked| {
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| (name, letter.header(name).to_owned()));
        json!({"body": body, "headers": headers.into_iter().collect::<std::collections::BTreeMap<_, _>>()})
    };
    let text = |letter: &Asked| String::from_utf8(letter.body.to_vec()).unwrap();
    let mut all: Vec<Value> = letters.iter().take(4).map(|letter| kept(text(letter), letter)).collect();
    all.push(kept(text(&letters[0]).replace("a.txt", "b.txt"), &letters[0]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letters.json");
    std::fs::write(&file, serde_json::to_vec(&all).unwrap()).unwrap();
    let wanted = ["ok", "ok", "ok", "ok", "WebhookVerificationError"].repeat(2);
    let python = lines(clients::python("python").args(["-c", PYTHON]).arg(&file).args([NEW_SECRET, OLD_SECRET]));
    assert_eq!(python, wanted);
    let script = folder.path().join("verify.js");
    std::fs::write(&script, NODE).unwrap();
    let modules = clients::folder().join("node/node_modules");
    let node = lines(Command::new("node").arg(&script).arg(&file).args([NEW_SECRET, OLD_SECRET]).env("NODE_PATH", modules));
    assert_eq!(node, wanted);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_whole_pipeline_is_one_letter() {
    let sink = Sink::start().await;
    let server = Server::start(config()).await;
    let upload = server.upload("a.txt", "hello").await;
    let step = json!({"input": {"upload": upload}, "to": "noop"});
    let pipeline = json!({"steps": {"a": step, "b": step}, "webhook": {"url": sink.url("/whole")}});
    let sent: Value = server.send(Method::POST, "/v1/pipelines?wait=60s", &pipeline).await.json().await.unwrap();
    let letter = sink.asked_for(1).await.remove(0);
    let (told, id) = (letter.json(), text_of(&sent, "id"));
    assert_eq!((&told["event"], &told["pipeline"]), (&json!("succeeded"), &sent), "the pipeline as the API shows it");
    standardwebhooks::Webhook::new(NEW_SECRET).unwrap().verify(&letter.body, &letter.headers).unwrap();
    let log = server.until(&format!("{DELIVERIES}?pipeline={id}"), |page| page["deliveries"][0]["state"] == "delivered").await;
    assert_eq!((log["deliveries"].as_array().unwrap().len(), &log["deliveries"][0]["job"]), (1, &Value::Null));
    let shown = server.json(&format!("{DELIVERIES}/{}", letter.header("webhook-id"))).await;
    assert_eq!((&shown["pipeline"]["id"], &shown["job"]), (&json!(id), &Value::Null));
    let refused = server.send(Method::POST, "/v1/pipelines", &json!({"steps": {"a": step}, "webhook": {"url": "ftp://site.example/"}})).await;
    assert_eq!((refused.status().as_u16(), text_of(&refused.json::<Value>().await.unwrap(), "field").as_str()), (422, "webhook.url"));
    assert_eq!(sink.asked().len(), 1);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_has_lost_no_letter() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = Server::start(config().variable("WEBHOOKS_TIMEOUT", "5s")).await;
    let webhook = json!({"url": format!("http://{address}/hook")});
    let id = server.submit("a.txt", "hello", json!({"to": "noop", "webhook": webhook})).await;
    // It is asked, and does not answer before the service is gone.
    let (mut asked, _) = listener.accept().await.unwrap();
    let mut head = [0; 512];
    let n = asked.read(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..n]).to_lowercase();
    let first = head.lines().find_map(|line| line.strip_prefix("webhook-id: ")).unwrap().trim().to_owned();
    server.kill_9();
    drop((asked, listener));
    let sink = Sink::at(address, |_| status(200)).await;
    server.restart().await;
    let again = &sink.asked_for(1).await[0];
    assert_eq!((again.header("webhook-id"), &again.json()["job"]["id"]), (first.as_str(), &json!(id)));
    let log = server.until(&format!("{DELIVERIES}?job={id}"), |page| page["deliveries"][0]["state"] == "delivered").await;
    assert_eq!(log["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(log["deliveries"][0]["tries"][0]["status"], 200);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_and_what_is_gone_is_asked_no_more() {
    let answers = Arc::new(AtomicU16::new(500));
    let says = answers.clone();
    let sink = Sink::answering(move |asked| match asked.uri.path() {
        "/gone" => status(says.load(Ordering::SeqCst).max(410)),
        "/moved" => redirect("/elsewhere"),
        _ => status(says.swap(204, Ordering::SeqCst)),
    })
    .await;
    let server = Server::start(config()).await;
    let submit = async |path: &str| {
        let webhook = json!({"url": sink.url(path)});
        server.submit("a.txt", "hello", json!({"to": "noop", "webhook": webhook})).await
    };
    // 500, then 204.
    submit("/hook").await;
    let asked = sink.asked_for(2).await;
    assert_eq!((asked[0].header("webhook-id"), &asked[0].body), (asked[1].header("webhook-id"), &asked[1].body));
    assert_ne!(asked[0].header("webhook-timestamp"), asked[1].header("webhook-timestamp"), "a signature is of its own time");
    let id = asked[0].header("webhook-id").to_owned();
    let seen = server.until(&format!("{DELIVERIES}/{id}"), |view| view["delivery"]["state"] == "delivered").await;
    let metrics = server.get("/metrics").await.text().await.unwrap();
    for line in ["{to=\"webhook\",state=\"pending\"} 1", "{to=\"webhook\",state=\"delivered\"} 1", "{to=\"email\",state=\"dead\"} 0"] {
        assert!(metrics.contains(&format!("millrace_deliveries_total{line}\n")), "{line}: {metrics}");
    }
    let statuses: Vec<&Value> = seen["delivery"]["tries"].as_array().unwrap().iter().map(|t| &t["status"]).collect();
    assert_eq!(statuses, [500, 204]);
    // A redirect is no success, and is not followed.
    let moved = submit("/moved").await;
    let log = server.until(&format!("{DELIVERIES}?job={moved}"), |page| page["deliveries"][0]["tries"][0]["status"] == 302).await;
    assert_eq!(log["deliveries"][0]["state"], "pending");
    assert!(sink.asked().iter().all(|asked| asked.uri.path() != "/elsewhere"));
    // 410: the next letter to that URL is not sent at all.
    submit("/gone").await;
    assert_eq!(dead(&server, 1).await[0]["tries"][0]["status"], 410);
    submit("/gone").await;
    let both = dead(&server, 2).await;
    assert_eq!(both[0]["tries"][0]["status"], Value::Null);
    assert!(text_of(&both[0]["tries"][0], "answer").contains("410"));
    assert_eq!(sink.asked().iter().filter(|asked| asked.uri.path() == "/gone").count(), 1);
    // Raised from the dead by the command line: the URL is asked again.
    let (folder, url) = (tempfile::tempdir().unwrap(), server.url().to_owned());
    let cli = async |args: &'static [&'static str]| {
        let (folder, url) = (folder.path().to_owned(), url.clone());
        tokio::task::spawn_blocking(move || millrace(&folder, args, &[("MILLRACE_URL", &url)]).said()).await.unwrap()
    };
    let listed = cli(&["webhooks", "list", "--state", "dead"]).await;
    assert!(listed.contains("/gone") && listed.lines().count() == 3, "{listed}");
    let replayed: Value = serde_json::from_str(&cli(&["webhooks", "replay", "--dead", "--json"]).await).unwrap();
    assert_eq!(replayed.as_array().unwrap().len(), 2);
    sink.asked_for(sink.asked().len().max(5)).await;
    server.until(&format!("{DELIVERIES}?state=dead"), |page| page["deliveries"].as_array().unwrap().len() == 2).await;
    let shown: Value = serde_json::from_str(&cli(&["webhooks", "list", "--json"]).await).unwrap();
    assert_eq!(shown.as_array().unwrap().len(), 4);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_refused_at_once() {
    let refused = async |server: &Server, field: &str, value: Value| {
        let upload = server.upload("a.txt", "hello").await;
        let mut job = json!({"input": {"upload": upload}, "to": "noop"});
        job[field] = value;
        let answer = server.send(Method::POST, "/v1/jobs", &job).await;
        assert_eq!(answer.status(), 422);
        text_of(&answer.json::<Value>().await.unwrap(), "field")
    };
    let bare = Server::start(Config::default()).await;
    assert_eq!(refused(&bare, "webhook", json!({"url": "https://site.example/"})).await, "webhook.url");
    assert_eq!(refused(&bare, "notify_email", json!("me@site.example")).await, "notify_email");
    bare.stop();
    let strict = Server::start(config().variable("WEBHOOKS_ALLOW_PRIVATE", "false")).await;
    for url in ["http://127.0.0.1:9/", "http://0x7f.1/", "http://[::ffff:10.0.0.1]/", "ftp://site.example/", "no url", "https://me:pw@site.example/"]
    {
        assert_eq!(refused(&strict, "webhook", json!({"url": url})).await, "webhook.url", "{url}");
    }
    assert_eq!(refused(&strict, "webhook", json!({"url": "https://site.example/", "events": ["done"]})).await, "webhook.events[0]");
    // A name is looked up when the letter is sent, and given up at once.
    let job = json!({"to": "noop", "webhook": {"url": format!("http://localhost:{}/", strict.url().rsplit(':').next().unwrap())}});
    strict.submit("a.txt", "hello", job).await;
    let given_up = dead(&strict, 1).await;
    assert!(text_of(&given_up[0]["tries"][0], "answer").contains("localhost is"), "{given_up:?}");
    strict.stop();
}

#[tokio::test]
async fn a_day_of_failures_ends_among_the_dead() {
    let sink = Sink::answering(|_| status(503)).await;
    let (clock, store) = (ManualClock::at(Timestamp::UNIX_EPOCH), SqliteStore::in_memory().unwrap());
    let mut new = crate::support::records::new_job(0);
    new.record.job.webhook = Some(Webhook { url: sink.url("/"), events: vec![Occasion::Queued] });
    let store: Arc<dyn Store> = Arc::new(store);
    store.insert(vec![new], clock.now()).await.unwrap();
    let settings = WebhookSettings { allow_private: true, ..WebhookSettings::default() };
    let webhooks = Arc::new(Webhooks::new(&settings, Arc::new(SystemResolver)).unwrap());
    let queues = Arc::new(Queues::load(&[]).unwrap());
    let stop = CancellationToken::new();
    let notifier = Notifier { store: store.clone(), clock: clock.clone(), queues, webhooks, mail: None, meters: Arc::default() };
    let running = tokio::spawn(notifier.run(stop.clone()));
    let only = async || store.deliveries(DeliveryFilter { limit: 1, ..DeliveryFilter::default() }).await.unwrap().remove(0);
    let settled = async |tries: usize| {
        let kept = async {
            loop {
                let delivery = only().await;
                if delivery.tries.len() == tries {
                    return delivery;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), kept).await.unwrap()
    };
    for tries in 1..10 {
        let delivery = settled(tries).await;
        assert_eq!((delivery.state, sink.asked().len()), (DeliveryState::Pending, tries));
        clock.advance(delivery.next_try.unwrap().duration_since(clock.now()).try_into().unwrap());
    }
    let delivery = settled(10).await;
    assert_eq!((delivery.state, delivery.next_try, sink.asked().len()), (DeliveryState::Dead, None, 10));
    let day = delivery.tries[9].at.duration_since(delivery.at);
    assert!(day >= SignedDuration::from_hours(24) && day < SignedDuration::from_hours(25), "{day}");
    stop.cancel();
    running.await.unwrap();
}
