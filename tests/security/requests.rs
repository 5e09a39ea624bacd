//! Requests that no honest client sends, to the real service. It answers each with a refusal, and the next honest one as ever.

use crate::support::server::{Config, DEADLINE, Server, text_of};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap()
}

/// All that comes back on one connection.
async fn answers(server: &Server, raw: &[u8]) -> String {
    let mut stream = connect(server).await;
    // It may be refused before it is sent.
    let _ = stream.write_all(raw).await;
    let mut all = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut all)).await.expect("the connection ends");
    String::from_utf8_lossy(&all).into_owned()
}

async fn memory_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")).unwrap();
    kib.trim().parse::<u64>().unwrap() << 10
}

async fn works(server: &Server) {
    let id = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    assert_eq!(server.ended(&id).await["state"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_no_bomb() {
    let server = Server::start(Config::default()).await;
    let form = |parts: &str| {
        let body = format!("--b\r\n{parts}\r\n--b--\r\n");
        server.request(Method::POST, "/v1/jobs").header("content-type", "multipart/form-data; boundary=b").body(body).send()
    };
    let part = |name: &str, content: &str| format!("content-disposition: form-data; name=\"{name}\"; filename=\"a.txt\"\r\n\r\n{content}");
    let many = vec![part("file", "hello"); 1000].join("\r\n--b\r\n");
    for (parts, wanted) in [
        (many, 422),
        (vec![part("other", "x"); 1000].join("\r\n--b\r\n"), 422),
        (part("job", &"x".repeat(2 << 20)), 413),
        (format!("content-disposition: form-data; name=\"file\"\r\n{}\r\n\r\nx", "x-a: b\r\n".repeat(1000)), 422),
        (String::new(), 422),
    ] {
        assert_eq!(form(&parts).await.unwrap().status(), wanted, "{}", &parts[..parts.len().min(80)]);
    }
    // A part's head that never ends: it is neither kept nor read to its end.
    let before = memory_bytes(&server).await;
    let mut stream = connect(&server).await;
    let head = "POST /v1/uploads HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 1000000000\r\n\r\n--b\r\nx-a: ";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reads, mut writes) = stream.into_split();
    let flood = tokio::spawn(async move {
        let chunk = vec![b'a'; 1 << 16];
        // Until nobody takes it any more.
        for _ in 0..1000 {
            if writes.write_all(&chunk).await.is_err() {
                break;
            }
        }
        writes
    });
    let mut answer = vec![0; 12];
    tokio::time::timeout(DEADLINE, reads.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 422");
    let grown = memory_bytes(&server).await.saturating_sub(before);
    assert!(grown < 40 << 20, "{} MiB", grown >> 20);
    drop(reads);
    flood.abort();
    works(&server).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_give_no_more_than_the_file() {
    let server = Server::start(Config::default()).await;
    let id = server.submit("a.txt", vec![b'x'; 100_000], json!({"to": "noop"})).await;
    let job = server.ended(&id).await;
    let (url, size) = (text_of(&job["outputs"][0], "url"), job["outputs"][0]["size_bytes"].as_u64().unwrap());
    let many = format!("bytes={}", vec!["0-"; 5000].join(","));
    for range in [
        "bytes=0-",
        "bytes=-1",
        "bytes=0-18446744073709551615",
        "bytes=18446744073709551615-",
        "bytes=99999999999999999999-",
        "bytes=5-2",
        "bytes=-0",
        "bytes=--1",
        "bytes=a-b",
        "bytes=",
        "bits=0-1",
        "bytes=0-0,-1",
        "bytes=0-,0-,0-,0-",
        &many,
    ] {
        let answer = server.request(Method::GET, &url).header("range", range).send().await.unwrap();
        let status = answer.status().as_u16();
        assert!([200, 206, 400, 416].contains(&status), "{range}: {status}");
        assert!(answer.bytes().await.unwrap().len() as u64 <= size, "{range}");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_and_deep_json_is_refused() {
    let server = Server::start(Config::default()).await;
    let upload = server.upload("a.txt", "hello").await;
    let submit = async |job: String| {
        let request = server.request(Method::POST, "/v1/jobs").header("content-type", "application/json").body(job);
        request.send().await.unwrap().status()
    };
    let with = |metadata: &str| format!("{{\"input\": {{\"upload\": \"{upload}\"}}, \"to\": \"noop\", \"metadata\": {metadata}}}");
    assert_eq!(submit(with(&json!({"a": "x".repeat(10 << 20)}).to_string())).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(submit(with(&json!({"a": "x".repeat(17 << 10)}).to_string())).await, StatusCode::UNPROCESSABLE_ENTITY);
    for deep in
        ["[".repeat(10_000), format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)), format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000))]
    {
        assert_eq!(submit(with(&format!("{{\"a\": {deep}}}"))).await, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(submit(deep).await, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(submit(with("{\"a\": 1}")).await, StatusCode::ACCEPTED);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_hides_in_another() {
    let server = Server::start(Config::default()).await;
    let hidden = "GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    let chunked = format!("0\r\n\r\n{hidden}");
    for (name, head, body) in [
        ("both lengths", format!("content-length: {}\r\ntransfer-encoding: chunked", chunked.len()), chunked.as_str()),
        ("two lengths", "content-length: 0\r\ncontent-length: 5".to_owned(), hidden),
        ("a list of lengths", "content-length: 0, 5".to_owned(), hidden),
        ("a signed length", "content-length: +0".to_owned(), hidden),
        ("a coding that is none", "transfer-encoding: xchunked".to_owned(), hidden),
        ("chunked not last", "transfer-encoding: chunked, identity".to_owned(), chunked.as_str()),
        ("a blank before the colon", "content-length : 0".to_owned(), hidden),
        ("a folded header", "x-a: b\r\n transfer-encoding: chunked\r\ncontent-length: 0".to_owned(), hidden),
        ("a chunk length that is none", "transfer-encoding: chunked".to_owned(), "0x5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let raw = format!("POST /v1/jobs HTTP/1.1\r\nhost: 127.0.0.1\r\n{head}\r\n\r\n{body}");
        let mut all = connect(&server).await;
        all.write_all(raw.as_bytes()).await.unwrap();
        all.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, all.read_to_end(&mut answer)).await.expect("the connection ends");
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains("HTTP/1.1 200"), "{name}: {answer}");
    }
    let two = answers(&server, format!("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n{hidden}").as_bytes()).await;
    assert_eq!(two.matches("HTTP/1.1 200").count(), 2, "honest ones may follow one another: {two}");
    works(&server).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_leads_out_of_its_folder() {
    let server = Server::start(Config::default()).await;
    let names = ["../../etc/passwd", "..\\..\\boot.ini", "/etc/passwd", "a/../../b", "..", ".", "a\0b", "C:\\x", "%2e%2e%2fx"];
    for name in names {
        let upload = server.upload(name, "hello").await;
        let job = json!({"input": {"upload": upload}, "outputs": [{"name": name, "to": "noop"}]});
        let answer = server.send(Method::POST, "/v1/jobs", &job).await;
        if answer.status() == 422 {
            continue;
        }
        assert_eq!(answer.status(), 202, "{name:?}");
        let done = server.ended(&text_of(&answer.json::<Value>().await.unwrap(), "id")).await;
        for output in done["outputs"].as_array().unwrap() {
            let made = text_of(output, "name");
            assert!(!made.contains(['/', '\\', '\0']) && made != ".." && made != ".", "{name:?} became {made:?}");
        }
    }
    let id = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    server.ended(&id).await;
    for path in ["../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/millrace.db", "/etc/passwd", "..\\..\\x", "a.txt%00", ""] {
        let raw = format!("GET /v1/jobs/{id}/outputs/{path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
        let answer = answers(&server, raw.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {}", &answer[..answer.len().min(200)]);
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_a_client_makes_a_line_of_the_log() {
    let server = Server::start(Config::default()).await;
    let forged = "x\n2999-01-01T00:00:00Z FORGED\r\nFORGED \u{1b}[31mred \u{202e}";
    let job = json!({"to": "noop", "context": {"locale": forged}, "metadata": {"a": forged}, "fairness_key": forged, "unique_key": forged});
    let id = server.submit(forged, "hello", job).await;
    server.ended(&id).await;
    server.request(Method::GET, "/v1/jobs").query(&[("text", forged), ("queue", forged)]).send().await.unwrap();
    server.request(Method::GET, "/v1/schedules/%0aFORGED%1b[31m").send().await.unwrap();
    server.request(Method::GET, "/v1/jobs/%0aFORGED/log").header("x-request-id", "a FORGED").send().await.unwrap();
    server.request(Method::POST, "/v1/queues/%0aFORGED/pause").send().await.unwrap();
    server.send(Method::POST, "/v1/jobs", &json!({"input": {"path": forged}, "to": forged})).await;
    let failing = server.submit(&format!("{forged}.attack"), "crash", json!({"to": "noop", "max_attempts": 1})).await;
    server.ended(&failing).await;
    let log = server.log();
    assert!(log.lines().count() > 3);
    for line in log.lines() {
        let plain = line.trim_start();
        assert!(!plain.starts_with("FORGED") && !plain.starts_with("2999"), "{line:?}");
        assert!(!line.chars().any(|c| c == '\u{202e}' || (c.is_control() && c != '\t')), "{line:?}");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_change_nothing() {
    let server = Server::start(Config::default()).await;
    for (method, path) in [
        (Method::POST, "/v1/jobs"),
        (Method::POST, "/v1/uploads"),
        (Method::POST, "/v1/convert?to=noop"),
        (Method::POST, "/v1/queues/video/pause"),
        (Method::PATCH, "/v1/queues/video"),
        (Method::DELETE, "/v1/schedules/purge-staging"),
        (Method::POST, "/v1/tokens"),
    ] {
        for origin in ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://127.0.0.1:1"] {
            // What a form of that page can send without asking first.
            let request = server.request(method.clone(), path).header("origin", origin).header("content-type", "text/plain").body("{}");
            assert_eq!(request.send().await.unwrap().status(), 403, "{method} {path} from {origin}");
        }
    }
    assert_eq!(server.json("/v1/queues/video").await["paused"], false);
    server.stop();
}
