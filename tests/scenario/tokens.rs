//! Tokens by the command line and HTTP: what each may do, how much, and what is noted of it.

use crate::support::command::{Done, millrace};
use crate::support::events::Events;
use crate::support::server::{Config, Server, client, text_of};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const ADMIN: &str = "the admin's own token";

/// A server whose admin makes tokens by the command line.
struct Site {
    server: Server,
    folder: tempfile::TempDir,
}

impl Site {
    async fn start(config: Config) -> Site {
        Site { server: Server::start(config.token(ADMIN)).await, folder: tempfile::tempdir().unwrap() }
    }

    async fn cli(&self, args: &[&str]) -> Done {
        let (folder, url) = (self.folder.path().to_owned(), self.server.url().to_owned());
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        let run = move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            millrace(&folder, &args, &[("MILLRACE_URL", &url), ("MILLRACE_TOKEN", ADMIN)])
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// A token with these scopes and whatever else is said.
    async fn token(&self, name: &str, scopes: &str, more: &[&str]) -> Holder<'_> {
        let said = self.cli(&[&["token", "create", name, "--scopes", scopes], more].concat()).await.said();
        Holder { server: &self.server, client: client(Some(said.trim())), secret: said.trim().to_owned() }
    }
}

/// Somebody with a token of their own.
struct Holder<'s> {
    server: &'s Server,
    client: reqwest::Client,
    secret: String,
}

impl Holder<'_> {
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let request = self.client.request(method, format!("{}{path}", self.server.url()));
        body.iter().fold(request, |request, body| request.json(body)).send().await.unwrap()
    }

    async fn status(&self, method: Method, path: &str) -> u16 {
        self.send(method, path, Some(json!({}))).await.status().as_u16()
    }

    async fn upload(&self, bytes: &'static str) -> Response {
        self.client.post(format!("{}/v1/uploads?name=a.txt", self.server.url())).body(bytes).send().await.unwrap()
    }

    async fn submit(&self, fields: Value) -> Response {
        let upload: Value = self.upload("hello").await.json().await.unwrap();
        let mut job = fields;
        job["input"] = json!({"upload": text_of(&upload, "id")});
        self.send(Method::POST, "/v1/jobs", Some(job)).await
    }

    /// A job of its own that has ended.
    async fn job(&self) -> String {
        let job: Value = self.submit(json!({"to": "noop"})).await.json().await.unwrap();
        let id = text_of(&job, "id");
        self.server.ended(&id).await;
        id
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_do_what_its_scopes_say_until_it_is_revoked() {
    let site = Site::start(Config::default()).await;
    let (sender, reader, admin) =
        (site.token("site-a", "submit", &[]).await, site.token("grafana", "read", &[]).await, site.token("ops", "admin", &[]).await);
    let own = sender.job().await;
    let job = format!("/v1/jobs/{own}");
    for (method, path, sends, reads) in [
        (Method::GET, "/v1/formats", 200, 200),
        (Method::GET, "/v1/jobs", 200, 200),
        (Method::GET, job.as_str(), 200, 200),
        (Method::GET, "/v1/queues", 403, 200),
        (Method::GET, "/metrics", 403, 200),
        (Method::GET, "/v1/webhooks/deliveries", 403, 200),
        (Method::GET, "/v1/tokens", 403, 403),
        (Method::GET, "/v1/audit", 403, 403),
        (Method::POST, "/v1/tokens", 403, 403),
        (Method::POST, "/v1/queues/video/pause", 403, 403),
        (Method::POST, "/v1/schedules/purge-staging/run", 403, 403),
        (Method::POST, &format!("{job}/retry"), 409, 403),
        (Method::DELETE, &job, 204, 403),
    ] {
        // The reader first: the last one takes the job away.
        assert_eq!(reader.status(method.clone(), path).await, reads, "read: {method} {path}");
        assert_eq!(sender.status(method.clone(), path).await, sends, "submit: {method} {path}");
    }
    assert_eq!(admin.status(Method::POST, "/v1/queues/video/pause").await, 200);
    let listed: Value = serde_json::from_str(&site.cli(&["token", "list", "--json"]).await.said()).unwrap();
    let names: Vec<&Value> = listed.as_array().unwrap().iter().map(|t| &t["name"]).collect();
    assert_eq!(names, ["site-a", "grafana", "ops"]);
    let text = listed.to_string();
    assert!(!text.contains("hash") && [&sender, &reader, &admin].iter().all(|h| !text.contains(&h.secret)), "{text}");
    let data = std::fs::read(site.server.data_dir().join("millrace.db-wal")).unwrap();
    let is_in = |needle: &str| data.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(is_in("site-a") && !is_in(&sender.secret[12..]), "what a token reads is kept nowhere");

    site.cli(&["token", "revoke", listed[0]["id"].as_str().unwrap()]).await.said();
    assert_eq!(sender.status(Method::GET, "/v1/formats").await, 401);
    assert_ne!(site.cli(&["token", "revoke", "none"]).await.exit, 0);
    let audit = site.server.json("/v1/audit").await;
    let told: Vec<(String, String)> = audit["entries"].as_array().unwrap().iter().map(|e| (text_of(e, "who"), text_of(e, "what"))).collect();
    assert!(told[0].0 == "config" && told[0].1.starts_with("DELETE /v1/tokens/"), "{told:?}");
    assert!(told.iter().any(|(who, what)| who.starts_with("ops (") && what == "POST /v1/queues/video/pause"), "{told:?}");
    assert!(told.iter().all(|(who, _)| !who.starts_with("site-a")), "what is refused at the door changes nothing: {told:?}");
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tokens_files_and_jobs_are_nothing_to_another() {
    let site = Site::start(Config::default()).await;
    let (alice, mallory) = (site.token("alice", "submit", &[]).await, site.token("mallory", "submit", &[]).await);
    let hers = alice.job().await;
    let upload: Value = alice.upload("secret").await.json().await.unwrap();
    let unique = json!({"to": "noop", "unique_key": "k", "run_at": "2999-01-01T00:00:00Z"});
    let waiting: Value = alice.submit(unique.clone()).await.json().await.unwrap();
    for path in [
        format!("/v1/jobs/{hers}"),
        format!("/v1/jobs/{hers}/log"),
        format!("/v1/jobs/{hers}/events"),
        format!("/v1/jobs/{hers}/outputs/a.txt"),
        format!("/v1/jobs//{hers}"),
        format!("/v1/jobs/{}", hers.to_uppercase()),
        format!("/v1/jobs/{hers}/"),
        format!("/v1/jobs/%2e%2e/jobs/{hers}"),
    ] {
        assert_eq!(mallory.send(Method::GET, &path, None).await.status(), 404, "{path}");
    }
    for path in ["cancel", "retry", "links"] {
        assert_eq!(mallory.status(Method::POST, &format!("/v1/jobs/{hers}/{path}")).await, 404, "{path}");
    }
    assert_eq!(mallory.status(Method::DELETE, &format!("/v1/jobs/{hers}")).await, 404);
    for input in [json!({"upload": upload["id"]}), json!({"job": hers}), json!({"job": hers, "output": "a.txt"})] {
        let job = json!({"input": input, "to": "noop"});
        assert_eq!(mallory.send(Method::POST, "/v1/jobs", Some(job)).await.status(), 404, "{input}");
        assert_eq!(mallory.send(Method::POST, "/v1/probe", Some(json!({"input": input}))).await.status(), 404, "{input}");
    }
    assert_eq!(mallory.submit(json!({"to": "noop", "after": [hers]})).await.status(), 404);
    assert_eq!(mallory.submit(unique).await.status(), 409);
    let seen: Value = mallory.send(Method::GET, "/v1/jobs", None).await.json().await.unwrap();
    assert_eq!(seen["jobs"], json!([]));
    let seen: Value = alice.send(Method::GET, "/v1/jobs?limit=1", None).await.json().await.unwrap();
    assert_eq!((&seen["jobs"][0]["id"], seen["jobs"].as_array().unwrap().len()), (&waiting["id"], 1));
    assert_eq!(site.server.json("/v1/jobs").await["jobs"].as_array().unwrap().len(), 2, "the admin sees them all");
    // Nor an upload in pieces, before or after its end.
    let tus = |holder: &Holder<'_>, method: Method, path: &str| {
        holder.client.request(method, format!("{}{path}", site.server.url())).header("tus-resumable", "1.0.0").header("upload-offset", "0")
    };
    let begun = tus(&alice, Method::POST, "/v1/tus").header("upload-length", "5").send().await.unwrap();
    let place = begun.headers()["location"].to_str().unwrap().to_owned();
    for whole in [false, true] {
        for method in [Method::HEAD, Method::PATCH, Method::DELETE] {
            let piece = tus(&mallory, method.clone(), &place).header("content-type", "application/offset+octet-stream").body("wrong");
            assert_eq!(piece.send().await.unwrap().status(), 404, "{method} of what is {}whole", if whole { "" } else { "not " });
        }
        let piece = tus(&alice, Method::PATCH, &place).header("content-type", "application/offset+octet-stream").body("hello");
        assert_eq!(piece.send().await.unwrap().status(), if whole { 409 } else { 204 });
    }
    // Her own she may use.
    assert_eq!(alice.send(Method::POST, "/v1/probe", Some(json!({"input": {"job": hers}}))).await.status(), 200);
    assert_eq!(alice.submit(json!({"to": "noop", "after": [hers]})).await.status(), 202);
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tokens_pipelines_are_nothing_to_another() {
    let site = Site::start(Config::default()).await;
    let (alice, mallory) = (site.token("alice", "submit", &["--jobs", "2"]).await, site.token("mallory", "submit", &[]).await);
    let upload: Value = alice.upload("hello").await.json().await.unwrap();
    let step = |input: Value| json!({"input": input, "to": "noop"});
    let pipeline = |steps: Value| Some(json!({"steps": steps}));
    let own = step(json!({"upload": upload["id"]}));
    let keyed = async |holder: &Holder<'_>, steps: Value| {
        let url = format!("{}/v1/pipelines", site.server.url());
        holder.client.post(url).header("Idempotency-Key", "k").json(&pipeline(steps)).send().await.unwrap()
    };
    // Six jobs, of which her quota lets two wait or run at a time.
    let steps: serde_json::Map<String, Value> = (0..6).map(|n| (format!("s{n}"), own.clone())).collect();
    let sent = keyed(&alice, steps.clone().into()).await;
    assert_eq!(sent.status(), 202);
    let id = text_of(&sent.json::<Value>().await.unwrap(), "id");
    let path = format!("/v1/pipelines/{id}");
    for path in [path.clone(), format!("/v1/pipelines//{id}"), format!("{path}/"), format!("/v1/pipelines/{}", id.to_uppercase())] {
        assert_eq!(mallory.send(Method::GET, &path, None).await.status(), 404, "{path}");
    }
    for verb in ["cancel", "retry"] {
        assert_eq!(mallory.status(Method::POST, &format!("{path}/{verb}")).await, 404, "{verb}");
    }
    // What is not there is refused in the same words.
    let nobody = format!("/v1/pipelines/{}", millrace::job::PipelineId::new());
    let words = async |path: &str, id: &str| mallory.send(Method::GET, path, None).await.text().await.unwrap().replace(id, "ID");
    assert_eq!(words(&path, &id).await, words(&nobody, nobody.rsplit('/').next().unwrap()).await);
    for input in [json!({"upload": upload["id"]}), json!({"job": millrace::job::JobId::new()})] {
        let refused = mallory.send(Method::POST, "/v1/pipelines", pipeline(json!({"s0": step(input)}))).await;
        assert_eq!(refused.status(), 404);
    }
    let theirs: Value = mallory.upload("other").await.json().await.unwrap();
    let sent = keyed(&mallory, json!({"s0": step(json!({"upload": theirs["id"]}))})).await;
    assert_eq!(sent.status(), 202, "her key is not his");
    let list = async |holder: &Holder<'_>| {
        let page: Value = holder.send(Method::GET, "/v1/pipelines", None).await.json().await.unwrap();
        page["pipelines"].as_array().unwrap().len()
    };
    assert_eq!((list(&alice).await, list(&mallory).await), (1, 1));
    assert_eq!(site.server.json("/v1/pipelines").await["pipelines"].as_array().unwrap().len(), 2, "the admin sees them all");
    // Its jobs are hers, and wait for her quota.
    let done = site.server.until(&path, |pipeline| pipeline["state"] != "running").await;
    assert_eq!((&done["state"], &done["stats"]["done"]), (&json!("succeeded"), &json!(6)), "{done}");
    let jobs: Value = alice.send(Method::GET, &format!("/v1/jobs?pipeline={id}"), None).await.json().await.unwrap();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 6);
    let his: Value = mallory.send(Method::GET, &format!("/v1/jobs?pipeline={id}"), None).await.json().await.unwrap();
    assert_eq!(his["jobs"], json!([]));
    let full = json!({"to": "noop", "run_at": "2999-01-01T00:00:00Z"});
    assert_eq!((alice.submit(full.clone()).await.status(), alice.submit(full).await.status()), (202.try_into().unwrap(), 202.try_into().unwrap()));
    let refused = alice.send(Method::POST, "/v1/pipelines", pipeline(json!({"s0": own}))).await;
    assert_eq!((refused.status().as_u16(), text_of(&refused.json::<Value>().await.unwrap(), "field").as_str()), (429, "quota.jobs"));
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_hears_of_its_own_jobs_alone() {
    let site = Site::start(Config::default()).await;
    let (alice, mallory) = (site.token("alice", "submit", &[]).await, site.token("mallory", "submit", &[]).await);
    let reader = site.token("reader", "read", &[]).await;
    let listen = async |holder: &Holder<'_>| Events::of(holder.send(Method::GET, "/v1/events?last_event_id=0", None).await, None);
    let (mut hears, mut all) = (listen(&mallory).await, listen(&reader).await);
    let upload: Value = alice.upload("hello").await.json().await.unwrap();
    let steps = json!({"a": {"input": {"upload": upload["id"]}, "to": "noop"}});
    let hers: Value = alice.send(Method::POST, "/v1/pipelines?wait=60s", Some(json!({"steps": steps}))).await.json().await.unwrap();
    assert_eq!(hers["state"], "succeeded", "{hers}");
    // It is not told of its own queue, either.
    assert_eq!(site.server.send(Method::PATCH, "/v1/queues/archive", &json!({"concurrency": 3})).await.status(), 200);
    let own = mallory.job().await;
    let mut told = Vec::new();
    loop {
        let event = hears.next().await.unwrap();
        told.push((event.kind.clone(), event.data["job"].clone()));
        if event.kind == "succeeded" {
            break;
        }
    }
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).filter(|kind| *kind != "progress").collect();
    assert_eq!(kinds, ["queued", "started", "output_ready", "succeeded"]);
    assert!(told.iter().all(|(_, job)| *job == own.as_str()), "{told:?}");
    // Her own stream has her pipeline, and the reader's has everything.
    let mut hers_told = listen(&alice).await;
    let pipeline = hers_told.until(|event| event.kind == "pipeline" && event.data["detail"]["state"] == "succeeded").await;
    assert_eq!(pipeline.data["detail"]["pipeline"], hers["id"]);
    all.until(|event| event.kind == "queues").await;
    all.until(|event| event.data["job"] == own.as_str()).await;
    let holder: Value = mallory.send(Method::GET, "/v1/self", None).await.json().await.unwrap();
    assert_eq!((&holder["name"], &holder["scopes"]), (&json!("mallory"), &json!(["submit"])));
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_whom_a_trusted_proxy_names() {
    let config = || Config::default().variable("AUTH_RATE_LIMIT", "3/h");
    let ask = async |site: &Site, method: Method, from: &str, token: Option<&str>| {
        let url = format!("{}/v1/queues/video{}", site.server.url(), if method == Method::POST { "/pause" } else { "" });
        client(token).request(method, url).header("x-forwarded-for", from).send().await.unwrap().status().as_u16()
    };
    let site = Site::start(config().variable("AUTH_TRUSTED_PROXIES", "127.0.0.0/8")).await;
    for _ in 0..3 {
        assert_eq!(ask(&site, Method::GET, "198.51.100.1", None).await, 401);
    }
    assert_eq!(ask(&site, Method::GET, "198.51.100.1", None).await, 429);
    assert_eq!(ask(&site, Method::GET, "198.51.100.2", None).await, 401, "another client of the same proxy");
    assert_eq!(ask(&site, Method::POST, "198.51.100.3", Some(ADMIN)).await, 200);
    assert_eq!(site.server.json("/v1/audit").await["entries"][0]["from"], "198.51.100.3");
    site.server.stop();
    let site = Site::start(config()).await;
    for n in 0..3 {
        assert_eq!(ask(&site, Method::GET, &format!("198.51.100.{n}"), None).await, 401);
    }
    assert_eq!(ask(&site, Method::GET, "198.51.100.9", None).await, 429, "nobody else is believed");
    assert_eq!(ask(&site, Method::POST, "198.51.100.3", Some(ADMIN)).await, 200);
    assert_eq!(site.server.json("/v1/audit").await["entries"][0]["from"], "127.0.0.1");
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_names_is_asked_by_no_other() {
    let site = Site::start(Config::default().variable("AUTH_HOSTS", "convert.example.org")).await;
    let ask = async |host: &str| site.server.request(Method::GET, "/v1/queues").header("host", host).send().await.unwrap().status().as_u16();
    for (host, status) in [("convert.example.org", 200), ("127.0.0.1:8080", 200), ("evil.example", 403), ("convert.example.org.evil.example", 403)] {
        assert_eq!(ask(host).await, status, "{host}");
    }
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_ends_with_the_day_or_with_a_job() {
    let site = Site::start(Config::default()).await;
    let small = site.token("small", "submit", &["--bytes-per-day", "12"]).await;
    assert_eq!(small.upload("hello").await.status(), 201);
    let refused = small.upload("more than is left").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(text_of(&refused.json::<Value>().await.unwrap(), "field"), "quota.bytes_per_day");
    assert_eq!(small.upload("hello!!").await.status(), 201, "what is left may be used");
    assert_eq!(small.upload("!").await.status(), 429);
    let few = site.token("few", "submit", &["--jobs", "1"]).await;
    let later = json!({"to": "noop", "run_at": "2999-01-01T00:00:00Z"});
    let first: Value = few.submit(later.clone()).await.json().await.unwrap();
    let refused = few.submit(later.clone()).await;
    assert_eq!((refused.status().as_u16(), text_of(&refused.json::<Value>().await.unwrap(), "field").as_str()), (429, "quota.jobs"));
    assert_eq!(few.status(Method::POST, &format!("/v1/jobs/{}/cancel", first["id"].as_str().unwrap())).await, 422, "a body of its own");
    assert_eq!(few.send(Method::POST, &format!("/v1/jobs/{}/cancel", first["id"].as_str().unwrap()), None).await.status(), 200);
    assert_eq!(few.submit(later).await.status(), 202);
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let site = Site::start(Config::default().variable("AUTH_RATE_LIMIT", "5/h")).await;
    // The admin has asked for readiness only, which nobody counts; this is the first of five.
    let token = site.token("t", "read", &[]).await;
    let mut answers = Vec::new();
    for _ in 0..7 {
        answers.push(token.send(Method::GET, "/v1/formats", None).await);
    }
    let statuses: Vec<u16> = answers.iter().map(|a| a.status().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429]);
    let wait: u64 = answers[6].headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=720).contains(&wait), "{wait}");
    // Each token is counted by itself; so is an address without one, whatever it asks for.
    assert_eq!(site.server.get("/v1/formats").await.status(), 200);
    let nobody = client(None);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(nobody.get(format!("{}/v1/formats", site.server.url())).send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429]);
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_are_welcome_by_name_only() {
    let origin = "https://app.example.org";
    let ask = async |site: &Site, method: Method, origin: &str| {
        let url = format!("{}/v1/queues/video/pause", site.server.url());
        let preflight = site.server.request(Method::OPTIONS, "/v1/jobs").header("origin", origin).header("access-control-request-method", "POST");
        let allowed = preflight.send().await.unwrap().headers().get("access-control-allow-origin").map(|v| v.to_str().unwrap().to_owned());
        let answer = client(Some(ADMIN)).request(method, url).header("origin", origin).send().await.unwrap();
        (allowed, answer.status().as_u16())
    };
    let closed = Site::start(Config::default()).await;
    assert_eq!(ask(&closed, Method::POST, origin).await, (None, 403));
    closed.server.stop();
    let open = Site::start(Config::default().variable("AUTH_CORS_ORIGINS", origin)).await;
    assert_eq!(ask(&open, Method::POST, origin).await, (Some(origin.to_owned()), 200));
    assert_eq!(ask(&open, Method::POST, "https://app.example.org.evil.example").await, (None, 403));
    open.server.stop();
}
