//! Secrets are compared in constant time: by one function, which does nothing else. A clock could not tell it reliably, so the
//! places where a secret meets what a client sent are read.

use std::path::Path;

#[test]
fn secrets_are_compared_by_the_one_function_that_takes_no_shortcut() {
    let source = |file: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap();
    let access = source("access.rs");
    assert!(access.contains("pub fn same(one: &[u8], other: &[u8]) -> bool {\n    one.ct_eq(other).into()\n}"));
    for (file, uses) in [
        ("access.rs", "same(hex::encode("),
        ("http/auth.rs", "same(given.as_bytes(), token.as_bytes())"),
        ("http/links.rs", "ct_eq(query.as_bytes())"),
    ] {
        let text = source(file);
        let code = text.split("#[cfg(test)]").next().unwrap();
        assert!(code.contains(uses), "{file}");
        for shortcut in ["== token", "token ==", "== self.hash", "hash ==", "== secret", "secret ==", "signature ==", "== signature"] {
            assert!(!code.contains(shortcut), "{file}: {shortcut}");
        }
    }
    assert!(millrace::access::same(b"a", b"a") && !millrace::access::same(b"a", b"b") && !millrace::access::same(b"a", b"ab"));
}
