//! libarchive, the little of it that is needed here: headers and data, one entry after the other.
//!
//! It is loaded when the first of its files comes: few do.
#![allow(unsafe_code)] // There is no binding that loads the library late.

use crate::converters::lazy;
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

const OK: c_int = 0;
const EOF: c_int = 1;
/// Something small is wrong: the entry can be used.
const WARN: c_int = -20;
const BLOCK: usize = 256 << 10;

lazy::functions! {
    millrace_libarchive:
    archive_read_new archive_read_free archive_read_support_format_rar archive_read_support_format_rar5
    archive_read_support_format_iso9660 archive_read_support_format_cab archive_read_support_format_cpio
    archive_read_support_format_ar archive_read_support_format_zip_streamable archive_read_open_filename archive_read_next_header archive_read_data
    archive_filter_bytes archive_error_string archive_entry_pathname archive_entry_symlink
    archive_entry_hardlink archive_entry_filetype archive_entry_perm archive_entry_mtime archive_entry_mtime_is_set
    archive_entry_size archive_entry_size_is_set archive_entry_is_encrypted
}

unsafe extern "C" {
    fn archive_read_new() -> *mut c_void;
    fn archive_read_free(archive: *mut c_void) -> c_int;
    fn archive_read_support_format_rar(archive: *mut c_void) -> c_int;
    fn archive_read_support_format_rar5(archive: *mut c_void) -> c_int;
    fn archive_read_support_format_iso9660(archive: *mut c_void) -> c_int;
    fn archive_read_support_format_cab(archive: *mut c_void) -> c_int;
    fn archive_read_support_format_cpio(archive: *mut c_void) -> c_int;
    fn archive_read_support_format_ar(archive: *mut c_void) -> c_int;
    fn archive_read_support_format_zip_streamable(archive: *mut c_void) -> c_int;
    fn archive_read_open_filename(archive: *mut c_void, path: *const c_char, block: usize) -> c_int;
    fn archive_read_next_header(archive: *mut c_void, entry: *mut *mut c_void) -> c_int;
    fn archive_read_data(archive: *mut c_void, buffer: *mut c_void, size: usize) -> isize;
    fn archive_filter_bytes(archive: *mut c_void, filter: c_int) -> i64;
    fn archive_error_string(archive: *mut c_void) -> *const c_char;
    fn archive_entry_pathname(entry: *mut c_void) -> *const c_char;
    fn archive_entry_symlink(entry: *mut c_void) -> *const c_char;
    fn archive_entry_hardlink(entry: *mut c_void) -> *const c_char;
    fn archive_entry_filetype(entry: *mut c_void) -> u32;
    fn archive_entry_perm(entry: *mut c_void) -> u32;
    fn archive_entry_mtime(entry: *mut c_void) -> c_long;
    fn archive_entry_mtime_is_set(entry: *mut c_void) -> c_int;
    fn archive_entry_size(entry: *mut c_void) -> i64;
    fn archive_entry_size_is_set(entry: *mut c_void) -> c_int;
    fn archive_entry_is_encrypted(entry: *mut c_void) -> c_int;
}

fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    // SAFETY: the table is made above, next to its names, and is not written but through its atomics.
    LOADED.get_or_init(|| lazy::fill(unsafe { &millrace_libarchive }, NAMES, &["libarchive.so.13".to_owned()])).clone()
}

/// What the header of an entry says, names as bytes of whatever encoding.
pub struct Head {
    pub path: Vec<u8>,
    pub symlink: Option<Vec<u8>>,
    pub hardlink: Option<Vec<u8>>,
    /// The file type bits of a mode; 0 where the format has none.
    pub file_type: u32,
    pub permissions: u32,
    pub modified: Option<i64>,
    pub size: Option<u64>,
    pub encrypted: bool,
}

/// What went wrong.
pub enum Trouble {
    /// In the library's words.
    Archive(String),
    Encrypted,
    /// The library is not there, or lacks memory.
    Library(String),
}

/// An archive being read. Must stay in its thread: the names' encoding is a property of that.
pub struct Reader {
    archive: NonNull<c_void>,
    _locale: Locale,
}

impl Reader {
    /// Opens a file as this format and as nothing else.
    pub fn open(path: &Path, format: &str) -> Result<Reader, Trouble> {
        load().map_err(Trouble::Library)?;
        let locale = Locale::utf8();
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|e| Trouble::Library(e.to_string()))?;
        // SAFETY: the functions have been found; the archive is freed by `Drop` alone, the path outlives the call.
        unsafe {
            let archive = NonNull::new(archive_read_new()).ok_or_else(|| Trouble::Library("out of memory".into()))?;
            let reader = Reader { archive, _locale: locale };
            let archive = archive.as_ptr();
            match format {
                "rar" => archive_read_support_format_rar(archive).min(archive_read_support_format_rar5(archive)),
                "iso" => archive_read_support_format_iso9660(archive),
                "cab" => archive_read_support_format_cab(archive),
                "cpio" => archive_read_support_format_cpio(archive),
                "zip" => archive_read_support_format_zip_streamable(archive),
                _ => archive_read_support_format_ar(archive),
            };
            if archive_read_open_filename(archive, path.as_ptr(), BLOCK) == OK { Ok(reader) } else { Err(reader.trouble()) }
        }
    }

    /// The next entry; none after the last.
    pub fn next(&mut self) -> Result<Option<Head>, Trouble> {
        let mut entry = ptr::null_mut();
        // SAFETY: the archive lives; the entry is the archive's own and valid until the next header is read.
        unsafe {
            match archive_read_next_header(self.archive.as_ptr(), &mut entry) {
                OK | WARN if !entry.is_null() => Ok(Some(Head {
                    path: bytes(archive_entry_pathname(entry)).unwrap_or_default(),
                    symlink: bytes(archive_entry_symlink(entry)),
                    hardlink: bytes(archive_entry_hardlink(entry)),
                    file_type: archive_entry_filetype(entry) & libc::S_IFMT,
                    permissions: archive_entry_perm(entry),
                    modified: (archive_entry_mtime_is_set(entry) != 0).then(|| archive_entry_mtime(entry)),
                    size: if archive_entry_size_is_set(entry) != 0 { u64::try_from(archive_entry_size(entry)).ok() } else { None },
                    encrypted: archive_entry_is_encrypted(entry) != 0,
                })),
                EOF => Ok(None),
                _ => Err(self.trouble()),
            }
        }
    }

    /// Data of the entry whose header was read last.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Trouble> {
        // SAFETY: the library writes at most the buffer's length.
        let read = unsafe { archive_read_data(self.archive.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
        usize::try_from(read).map_err(|_| self.trouble())
    }

    /// Bytes of the archive read so far.
    pub fn consumed(&self) -> u64 {
        // SAFETY: the archive lives; -1 stands for the first filter, which is the file.
        u64::try_from(unsafe { archive_filter_bytes(self.archive.as_ptr(), -1) }).unwrap_or(0)
    }

    fn trouble(&self) -> Trouble {
        // Whether there are encrypted entries must not be asked in other words: before a format is settled the answer is a crash.
        // SAFETY: the archive lives; its message is copied at once.
        let words = unsafe { bytes(archive_error_string(self.archive.as_ptr())) };
        let words = words.map(|w| String::from_utf8_lossy(&w).into_owned()).unwrap_or_default();
        if words.contains("ncrypt") { Trouble::Encrypted } else { Trouble::Archive(words) }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: made by `archive_read_new`, freed once.
        unsafe { archive_read_free(self.archive.as_ptr()) };
    }
}

/// # Safety
/// The pointer is null or leads to a string that ends in NUL.
unsafe fn bytes(text: *const c_char) -> Option<Vec<u8>> {
    // SAFETY: as above; the string is copied at once.
    if text.is_null() { None } else { Some(unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()) }
}

/// The library tells names in the encoding of the thread's locale, which a service has set to nothing: UTF-8 while this lives.
struct Locale {
    before: libc::locale_t,
    own: libc::locale_t,
}

impl Locale {
    fn utf8() -> Locale {
        // SAFETY: a constant name; a locale that is not there is null, which `uselocale` takes as no change.
        unsafe {
            let own = libc::newlocale(libc::LC_CTYPE_MASK, c"C.UTF-8".as_ptr(), ptr::null_mut());
            Locale { before: libc::uselocale(own), own }
        }
    }
}

impl Drop for Locale {
    fn drop(&mut self) {
        // SAFETY: the locale before is the thread's own; ours is freed after it is used no more.
        unsafe {
            libc::uselocale(self.before);
            if !self.own.is_null() {
                libc::freelocale(self.own);
            }
        }
    }
}
