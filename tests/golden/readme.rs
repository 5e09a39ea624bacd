//! README's table of formats is printed from the converters' own rows.

use millrace::converters;
use std::path::Path;

const BEGIN: &str = "<!-- formats: from the converters' SPEC rows; renew with MILLRACE_RENEW_GOLDEN=1 cargo test -- readme -->\n";
const END: &str = "<!-- end of formats -->\n";

fn table() -> String {
    let mut text = String::from("| converter | from | to |\n|---|---|---|\n");
    // The test build has converters that no site gets.
    let shipped = converters::all().map(|(_, c)| c.spec).filter(|spec| !["archive.noop", "archive.hostile"].contains(&spec.id));
    for spec in shipped {
        for (from, to) in spec.pairs {
            text += &format!("| `{}` | {} | {} |\n", spec.id, from.join(" "), to.join(" "));
        }
    }
    text
}

#[test]
fn readme_lists_the_formats_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("README has a place for the table");
    let (kept, after) = rest.split_once(END).expect("the table ends");
    let table = table();
    assert!(table.lines().count() > 10);
    if std::env::var_os("MILLRACE_RENEW_GOLDEN").is_some() {
        std::fs::write(&path, [before, BEGIN, &table, END, after].concat()).unwrap();
    } else {
        assert!(kept == table, "README's table of formats is out of date; renew it as the comment above it says");
    }
}
