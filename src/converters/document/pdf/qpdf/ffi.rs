//! The few functions of libqpdf's C interface that are used (`qpdf-c.h`, `qpdfjob-c.h`, `qpdflogger-c.h`).
#![allow(unsafe_code)] // There is no binding that loads the library late.

use super::Entries;
use crate::converters::lazy;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

/// Bits of what reading and writing return.
const ERRORS: c_int = 2;
/// What a job returns.
const EXIT_ERROR: c_int = 2;
const TO_NOWHERE: c_int = 3;
const TO_FUNCTION: c_int = 4;
const FALSE: c_int = 0;
/// Enough of a damaged file's complaints.
const WORDS_MAX: usize = 4000;

type Log = unsafe extern "C" fn(*const c_char, usize, *mut c_void) -> c_int;
type Report = unsafe extern "C" fn(c_int, *mut c_void);

lazy::functions! {
    millrace_qpdf:
    qpdfjob_init qpdfjob_cleanup qpdfjob_set_logger qpdfjob_initialize_from_json qpdfjob_register_progress_reporter qpdfjob_run
    qpdflogger_create qpdflogger_cleanup qpdflogger_set_info qpdflogger_set_warn qpdflogger_set_error qpdf_init qpdf_cleanup
    qpdf_silence_errors qpdf_set_suppress_warnings qpdf_read qpdf_has_error qpdf_get_error qpdf_get_error_full_text
    qpdf_get_trailer qpdf_get_root qpdf_oh_remove_key qpdf_oh_new_dictionary qpdf_oh_new_unicode_string qpdf_oh_replace_key
    qpdf_make_indirect_object qpdf_init_write qpdf_set_preserve_encryption qpdf_write
}

unsafe extern "C" {
    fn qpdfjob_init() -> *mut c_void;
    fn qpdfjob_cleanup(job: *mut *mut c_void);
    fn qpdfjob_set_logger(job: *mut c_void, logger: *mut c_void);
    fn qpdfjob_initialize_from_json(job: *mut c_void, json: *const c_char) -> c_int;
    fn qpdfjob_register_progress_reporter(job: *mut c_void, report: Report, context: *mut c_void);
    fn qpdfjob_run(job: *mut c_void) -> c_int;
    fn qpdflogger_create() -> *mut c_void;
    fn qpdflogger_cleanup(logger: *mut *mut c_void);
    fn qpdflogger_set_info(logger: *mut c_void, to: c_int, log: Option<Log>, context: *mut c_void);
    fn qpdflogger_set_warn(logger: *mut c_void, to: c_int, log: Option<Log>, context: *mut c_void);
    fn qpdflogger_set_error(logger: *mut c_void, to: c_int, log: Option<Log>, context: *mut c_void);
    fn qpdf_init() -> *mut c_void;
    fn qpdf_cleanup(qpdf: *mut *mut c_void);
    fn qpdf_silence_errors(qpdf: *mut c_void);
    fn qpdf_set_suppress_warnings(qpdf: *mut c_void, yes: c_int);
    fn qpdf_read(qpdf: *mut c_void, path: *const c_char, password: *const c_char) -> c_int;
    fn qpdf_has_error(qpdf: *mut c_void) -> c_int;
    fn qpdf_get_error(qpdf: *mut c_void) -> *mut c_void;
    fn qpdf_get_error_full_text(qpdf: *mut c_void, error: *mut c_void) -> *const c_char;
    fn qpdf_get_trailer(qpdf: *mut c_void) -> c_uint;
    fn qpdf_get_root(qpdf: *mut c_void) -> c_uint;
    fn qpdf_oh_remove_key(qpdf: *mut c_void, object: c_uint, key: *const c_char);
    fn qpdf_oh_new_dictionary(qpdf: *mut c_void) -> c_uint;
    fn qpdf_oh_new_unicode_string(qpdf: *mut c_void, utf8: *const c_char) -> c_uint;
    fn qpdf_oh_replace_key(qpdf: *mut c_void, object: c_uint, key: *const c_char, item: c_uint);
    fn qpdf_make_indirect_object(qpdf: *mut c_void, object: c_uint) -> c_uint;
    fn qpdf_init_write(qpdf: *mut c_void, path: *const c_char) -> c_int;
    fn qpdf_set_preserve_encryption(qpdf: *mut c_void, yes: c_int);
    fn qpdf_write(qpdf: *mut c_void) -> c_int;
}

fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    // SAFETY: the table is made above, next to its names, and is not written but through its atomics.
    LOADED.get_or_init(|| lazy::fill(unsafe { &millrace_qpdf }, NAMES, &["libqpdf.so.29".to_owned()])).clone()
}

/// An object of the library's and how it is given back.
struct Owned(*mut c_void, unsafe extern "C" fn(*mut *mut c_void));

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the library with this very release function, and is released once.
        unsafe { (self.1)(&mut self.0) }
    }
}

/// Runs a job; the error, or the warnings, in qpdf's words.
pub fn run(job: &str, report: &dyn Fn(u8)) -> Result<Vec<String>, String> {
    load()?;
    let json = CString::new(job).map_err(|e| e.to_string())?;
    let mut words: Vec<u8> = Vec::new();
    let mut report = report;
    // SAFETY: the functions have been found; the logger, the words and the report outlive the job, which alone calls back, in
    // this thread. The library holds exceptions back.
    let status = unsafe {
        let logger = Owned(qpdflogger_create(), qpdflogger_cleanup);
        qpdflogger_set_info(logger.0, TO_NOWHERE, None, ptr::null_mut());
        qpdflogger_set_warn(logger.0, TO_FUNCTION, Some(on_words), (&raw mut words).cast());
        qpdflogger_set_error(logger.0, TO_FUNCTION, Some(on_words), (&raw mut words).cast());
        let job = Owned(qpdfjob_init(), qpdfjob_cleanup);
        qpdfjob_set_logger(job.0, logger.0);
        match qpdfjob_initialize_from_json(job.0, json.as_ptr()) {
            0 => {
                qpdfjob_register_progress_reporter(job.0, on_progress, (&raw mut report).cast());
                qpdfjob_run(job.0)
            }
            wrong => wrong,
        }
    };
    let words = String::from_utf8_lossy(&words).into_owned();
    if status == EXIT_ERROR { Err(words) } else { Ok(words.lines().map(str::to_owned).collect()) }
}

/// # Safety
/// The context is the words of a running job.
unsafe extern "C" fn on_words(text: *const c_char, length: usize, context: *mut c_void) -> c_int {
    // SAFETY: the library gives so many bytes; the context is as above and used by nobody else meanwhile.
    let (text, words) = unsafe { (std::slice::from_raw_parts(text.cast::<u8>(), length), &mut *context.cast::<Vec<u8>>()) };
    let room = WORDS_MAX.saturating_sub(words.len()).min(text.len());
    words.extend_from_slice(text.get(..room).unwrap_or_default());
    0
}

/// # Safety
/// The context is the report of a running job.
unsafe extern "C" fn on_progress(percent: c_int, context: *mut c_void) {
    // SAFETY: as above.
    let report = unsafe { *context.cast::<&dyn Fn(u8)>() };
    report(u8::try_from(percent.clamp(0, 100)).unwrap_or(100));
}

/// Copies a pdf with new information and without the XML copy of it; the copy is not encrypted.
pub fn inform(from: &Path, password: &str, to: &Path, entries: &Entries) -> Result<(), String> {
    load()?;
    let c_string = |bytes: &[u8]| CString::new(bytes).map_err(|e| e.to_string());
    let (from, to, password) = (c_string(from.as_os_str().as_bytes())?, c_string(to.as_os_str().as_bytes())?, c_string(password.as_bytes())?);
    // SAFETY: the functions have been found; every string outlives the call it is given to. The library holds exceptions back.
    unsafe {
        let owned = Owned(qpdf_init(), qpdf_cleanup);
        let qpdf = owned.0;
        qpdf_silence_errors(qpdf);
        qpdf_set_suppress_warnings(qpdf, 1);
        if qpdf_read(qpdf, from.as_ptr(), password.as_ptr()) & ERRORS != 0 {
            return Err(complaint(qpdf));
        }
        let root = qpdf_get_root(qpdf);
        for key in [c"/Metadata", c"/PieceInfo"] {
            qpdf_oh_remove_key(qpdf, root, key.as_ptr());
        }
        let information = qpdf_oh_new_dictionary(qpdf);
        for (key, value) in entries.iter().filter_map(|(key, value)| Some((key, (*value)?))) {
            let (key, value) = (c_string(format!("/{key}").as_bytes())?, c_string(value.as_bytes())?);
            qpdf_oh_replace_key(qpdf, information, key.as_ptr(), qpdf_oh_new_unicode_string(qpdf, value.as_ptr()));
        }
        let trailer = qpdf_get_trailer(qpdf);
        qpdf_oh_replace_key(qpdf, trailer, c"/Info".as_ptr(), qpdf_make_indirect_object(qpdf, information));
        let written = qpdf_init_write(qpdf, to.as_ptr()) & ERRORS == 0 && {
            qpdf_set_preserve_encryption(qpdf, FALSE);
            qpdf_write(qpdf) & ERRORS == 0
        };
        if written && qpdf_has_error(qpdf) == FALSE { Ok(()) } else { Err(complaint(qpdf)) }
    }
}

/// # Safety
/// A living qpdf.
unsafe fn complaint(qpdf: *mut c_void) -> String {
    // SAFETY: an error belongs to the qpdf; its text is copied at once.
    unsafe {
        if qpdf_has_error(qpdf) == FALSE {
            return "no reason was given".into();
        }
        let text = qpdf_get_error_full_text(qpdf, qpdf_get_error(qpdf));
        if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    }
}
