//! A screen of text that is drawn again and again.

use console::{Term, truncate_str};
use std::io::Write;

/// The terminal's other screen: what was on the first one is there again afterwards.
pub struct Screen(Term);

impl Screen {
    /// None where standard output is no terminal.
    pub fn open() -> Option<Screen> {
        let term = Term::stdout();
        term.is_term().then(|| {
            write(&term, "\x1b[?1049h\x1b[?25l");
            Screen(term)
        })
    }

    /// Over what is there, so that nothing flickers; as much as has room.
    pub fn show(&self, text: &str) {
        let (rows, columns) = self.0.size();
        let lines = text.lines().take(usize::from(rows).saturating_sub(1));
        let drawn: String = lines.map(|line| format!("{}\x1b[K\r\n", truncate_str(line, usize::from(columns), ""))).collect();
        write(&self.0, &format!("\x1b[H{drawn}\x1b[J"));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(&self.0, "\x1b[?25h\x1b[?1049l");
    }
}

/// A terminal that is gone shows nothing.
fn write(mut term: &Term, text: &str) {
    let _ = term.write_all(text.as_bytes()).and_then(|()| term.flush());
}
