//! Outputs on their way out: ranges, entity tags, names that hurt nobody.

use crate::support::server::{Config, Server, text_of};
use reqwest::{Method, Response};
use serde_json::json;

/// Answers of one download with these headers.
async fn ask(server: &Server, method: Method, url: &str, headers: &[(&str, &str)]) -> Response {
    let request = headers.iter().fold(server.request(method, url), |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap()
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).unwrap_or_else(|| panic!("{name} is there: {:?}", response.headers())).to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_tags_and_heads_are_heeded() {
    let server = Server::start(Config::default()).await;
    let id = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    let url = text_of(&server.ended(&id).await["outputs"][0], "url");
    let whole = ask(&server, Method::GET, &url, &[]).await;
    let etag = header(&whole, "etag").to_owned();
    assert_eq!(
        (header(&whole, "content-length"), header(&whole, "x-content-type-options"), header(&whole, "accept-ranges")),
        ("2", "nosniff", "bytes")
    );
    assert_eq!(whole.text().await.unwrap(), "ok");
    let head = ask(&server, Method::HEAD, &url, &[]).await;
    assert_eq!((head.status().as_u16(), header(&head, "content-length"), header(&head, "etag")), (200, "2", etag.as_str()));
    for (range, status, told, text) in [
        ("bytes=1-1", 206, Some("bytes 1-1/2"), "k"),
        ("bytes=-1", 206, Some("bytes 1-1/2"), "k"),
        ("bytes=0-99", 206, Some("bytes 0-1/2"), "ok"),
        ("bytes=2-", 416, Some("bytes */2"), ""),
        ("bytes=0-0,1-1", 200, None, "ok"),
        ("pages=1", 200, None, "ok"),
    ] {
        let part = ask(&server, Method::GET, &url, &[("range", range)]).await;
        let content_range = part.headers().get("content-range").map(|v| v.to_str().unwrap().to_owned());
        assert_eq!((part.status().as_u16(), content_range.as_deref()), (status, told), "{range}");
        assert_eq!(part.text().await.unwrap(), text, "{range}");
    }
    assert_eq!(ask(&server, Method::GET, &url, &[("if-none-match", &etag)]).await.status(), 304);
    assert_eq!(ask(&server, Method::GET, &url, &[("if-none-match", "\"other\"")]).await.status(), 200);
    assert_eq!(ask(&server, Method::GET, &url, &[("range", "bytes=0-0"), ("if-range", &etag)]).await.status(), 206);
    assert_eq!(ask(&server, Method::GET, &url, &[("range", "bytes=0-0"), ("if-range", "\"other\"")]).await.status(), 200);
    assert_eq!(ask(&server, Method::GET, &format!("/v1/jobs/{id}/outputs/none"), &[]).await.status(), 404);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_name_comes_back_as_a_harmless_one() {
    let server = Server::start(Config::default()).await;
    for (name, told) in [
        ("a\"b\r\nset-cookie: x=1\u{202e}.txt", "a_bset-cookie_ x=1.noop"),
        ("../../etc/passwd.txt", "passwd.noop"),
        ("--rf *.txt", "rf _.noop"),
        ("<img src=x onerror=alert(1)>.txt", "_img src=x onerror=alert(1)_.noop"),
        ("отчёт 中文.txt", "отчёт 中文.noop"),
    ] {
        let id = server.submit(name, "hello", json!({"to": "noop"})).await;
        let job = server.ended(&id).await;
        let output = &job["outputs"][0];
        assert_eq!(text_of(output, "name"), told, "{name:?}");
        let response = server.get(&text_of(output, "url")).await;
        assert_eq!(response.status(), 200, "{output}");
        assert!(!response.headers().contains_key("set-cookie"));
        assert!(header(&response, "content-security-policy").starts_with("sandbox"));
        let disposition = header(&response, "content-disposition");
        assert!(disposition.is_ascii() && disposition.starts_with("attachment; filename=\""), "{disposition}");
    }
    server.stop();
}
