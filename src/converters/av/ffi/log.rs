//! What FFmpeg says, kept for the job's log.

use super::text;
use ffmpeg_next::ffi;
use libc::{c_char, c_int, c_void};
use std::collections::VecDeque;
use std::sync::Mutex;

#[cfg(target_arch = "x86_64")]
type Arguments = *mut ffi::__va_list_tag;
#[cfg(not(target_arch = "x86_64"))]
type Arguments = ffi::va_list;

/// The library's last words, until somebody asks for them.
static WORDS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
const WORDS_KEPT: usize = 40;

/// Keeps FFmpeg's warnings and errors for the job's log; nothing reaches standard error.
pub fn catch_log() {
    // SAFETY: the callback lives for ever and does not unwind.
    unsafe {
        ffi::av_log_set_level(ffi::AV_LOG_WARNING as c_int);
        ffi::av_log_set_callback(Some(keep_words));
    }
}

unsafe extern "C" fn keep_words(context: *mut c_void, level: c_int, format: *const c_char, arguments: Arguments) {
    if level > ffi::AV_LOG_WARNING as c_int {
        return;
    }
    let (mut line, mut prefix) = ([0; 512], 1);
    // SAFETY: FFmpeg calls this with matching format and arguments; the line is as long as said and ends with NUL.
    let words = unsafe {
        ffi::av_log_format_line2(context, level, format, arguments, line.as_mut_ptr(), line.len() as c_int, &mut prefix);
        text(line.as_ptr())
    };
    let words = words.trim();
    if let Ok(mut kept) = WORDS.lock()
        && !words.is_empty()
        && kept.back().is_none_or(|last| last != words)
    {
        if kept.len() == WORDS_KEPT {
            kept.pop_front();
        }
        kept.push_back(words.to_owned());
    }
}

/// What FFmpeg has said since the last time.
pub fn take_words() -> Vec<String> {
    WORDS.lock().map(|mut kept| kept.drain(..).collect()).unwrap_or_default()
}
