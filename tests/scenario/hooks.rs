//! Hooks of queues, and mails.

use crate::support::server::{Config, DEADLINE, Server};
use crate::support::sink::Sink;
use crate::support::smtp::MailServer;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What a hook has written, once it is there whole.
async fn written(path: &Path) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            return value;
        }
        assert!(Instant::now() < deadline, "{} is written", path.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queues_hooks_are_told_by_command_and_by_url() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Sink::start().await);
    let file = |name: &str| folder.path().join(name);
    let hooks = format!(
        "retry_delay = \"1s\"\nmax_attempts = 2\n[hooks]\non_success = \"cat > {}\"\non_failure = \"{}\"\nafter_return = \"cat >> {}\"\non_retry = \"cat > {}\"",
        file("success").display(),
        sink.url("/failed"),
        file("ends").display(),
        file("retry").display()
    );
    // No allow_private: what the site itself has configured may be anywhere.
    let server = Server::start(Config::default().queue("archive", &hooks).variable("WEBHOOKS_SECRET", SECRET)).await;
    let good = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    let told = written(&file("success")).await;
    assert_eq!((&told["event"], &told["job"]), (&json!("succeeded"), &server.ended(&good).await));
    assert_eq!(written(&file("ends")).await["job"]["id"], json!(good));
    let bad = server.submit("x.attack", "crash", json!({"to": "noop"})).await;
    let told = sink.asked_for(1).await[0].json();
    assert_eq!((&told["event"], &told["job"]["id"], &told["job"]["state"]), (&json!("failed"), &json!(bad), &json!("failed")));
    assert_eq!(written(&file("retry")).await["event"], "retrying");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_one_window_are_one_mail_in_the_readers_language() {
    let mails = MailServer::start().await;
    let config = Config::default()
        .queue("archive", "max_attempts = 1")
        .variable("EMAIL_SMTP", &format!("smtp://{}", mails.address))
        .variable("EMAIL_FROM", "Millrace <mill@site.example>")
        .variable("EMAIL_TO", "admin@site.example, night@site.example")
        .variable("EMAIL_LOCALE", "tr")
        .variable("EMAIL_DIGEST", "1d");
    let mut server = Server::start(config).await;
    let mut ids = Vec::new();
    for name in ["first.attack", "second\r\nBcc: all@site.example.attack", "third.attack"] {
        let fields = json!({"to": "noop", "notify_email": "user@site.example", "context": {"locale": "ru"}});
        let id = server.submit(name, "crash", fields).await;
        assert_eq!(server.ended(&id).await["state"], "failed");
        ids.push(id);
    }
    server.submit("good.txt", "hello", json!({"to": "noop", "notify_email": "user@site.example"})).await;
    // They wait for the end of their day. A replay is of its own time, and the window is shorter from now on.
    let page = server.until("/v1/webhooks/deliveries", |page| page["deliveries"].as_array().unwrap().len() == 6).await;
    assert!(page["deliveries"].as_array().unwrap().iter().all(|d| d["state"] == "pending" && d["event"] == "failed"), "{page}");
    server.terminate();
    server.restart_with(|config| config.variable("EMAIL_DIGEST", "1s")).await;
    for delivery in page["deliveries"].as_array().unwrap() {
        let path = format!("/v1/webhooks/deliveries/{}/replay", delivery["id"].as_str().unwrap());
        assert!(server.send(reqwest::Method::POST, &path, &json!({})).await.status().is_success());
    }
    server.until("/v1/webhooks/deliveries?state=delivered", |page| page["deliveries"].as_array().unwrap().len() == 6).await;
    let mails = mails.mails(2).await;
    let to = |reader: &str| mails.iter().filter(|mail| mail.to.contains(reader)).collect::<Vec<_>>();
    let (own, admins) = (to("user@site.example"), to("admin@site.example"));
    assert!(mails.len() < 6 && !own.is_empty() && !admins.is_empty(), "{mails:?}");
    assert!(admins.iter().all(|mail| mail.to.contains("night@site.example") && mail.text.contains("dönüştürülemedi")), "{admins:?}");
    assert!(own.iter().all(|mail| mail.subject.contains("преобразовать") && mail.text.contains("Преобразование аварийно завершилось.")), "{own:?}");
    for id in &ids {
        assert!(own.iter().any(|mail| mail.text.contains(id)) && admins.iter().any(|mail| mail.text.contains(id)), "{id}");
    }
    assert!(mails.iter().all(|mail| !mail.text.contains("good.txt") && !mail.to.contains("all@")), "{mails:?}");
    server.stop();
}
