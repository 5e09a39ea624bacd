//! scratch
#![allow(clippy::all, clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::expect_used)]
use millrace::convert::*;
use millrace::{converters, format::Format, limits::Limits, progress::Progress};
struct H;
impl Host for H {
    fn progress(&self, _: Progress) {}
    fn log(&self, _: Level, _: &str) {}
    fn stop_requested(&self) -> bool {
        false
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect(); // convert IN OUT --to F -o k=v
    let (i, o) = (&a[2], &a[3]);
    let to = Format::parse(&a[a.iter().position(|x| x == "--to").unwrap() + 1]).unwrap();
    let mut opts = serde_json::Map::new();
    for w in a.windows(2) {
        if w[0] == "-o" {
            let (k, v) = w[1].split_once('=').unwrap();
            opts.insert(k.into(), serde_json::from_str(v).unwrap_or(serde_json::Value::String(v.into())));
        }
    }
    let p = std::fs::canonicalize(i).unwrap();
    let from = Format::from_file_name(i).unwrap();
    let t = tempfile::tempdir_in("/tmp").unwrap();
    let l = Limits::default();
    let ctx = Ctx { limits: &l, threads: 2, scratch: t.path(), host: &H };
    let inp = Input { size_bytes: std::fs::metadata(&p).unwrap().len(), name: i.clone(), path: p, format: from };
    let out = Output { dir: t.path().to_owned(), format: to, name: "r".into() };
    let (_, c) = converters::find(from, to).unwrap();
    let options = (c.check)(&serde_json::Value::Object(opts)).unwrap();
    let r = (c.run)(&ctx, &inp, &options, &out).unwrap();
    std::fs::rename(t.path().join(&r.files[0].file), o).unwrap();
}
