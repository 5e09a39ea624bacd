//! LibreOfficeKit, the little of it that is needed here: load, save, count.
//!
//! The kit is a C interface of tables of function pointers (`LibreOfficeKit/LibreOfficeKit.h`); members that are not used
//! here stand as plain words to keep the places of the others.
#![allow(unsafe_code)]

use libloading::Library;
use libloading::os::unix::{Library as UnixLibrary, RTLD_GLOBAL, RTLD_LAZY};
use std::ffi::{CStr, CString, c_char, c_int, c_ulonglong, c_void};
use std::path::Path;
use std::ptr::{NonNull, null, null_mut};
use std::sync::{Mutex, OnceLock};

/// Where Debian and its kin keep LibreOffice.
pub const PROGRAM: &str = "/usr/lib/libreoffice/program";

const FEATURE_PASSWORD: c_ulonglong = 1;
const FEATURE_PASSWORD_TO_MODIFY: c_ulonglong = 2;
const EVENT_STATUS_SET_VALUE: c_int = 10;
const EVENT_PASSWORD: c_int = 20;
const EVENT_PASSWORD_TO_MODIFY: c_int = 21;

#[repr(C)]
struct Kit {
    class: *const KitClass,
}

#[repr(C)]
struct KitClass {
    size: usize,
    destroy: usize,
    document_load: usize,
    get_error: extern "C" fn(*mut Kit) -> *mut c_char,
    document_load_with_options: extern "C" fn(*mut Kit, *const c_char, *const c_char) -> *mut RawDocument,
    free_error: extern "C" fn(*mut c_char),
    register_callback: extern "C" fn(*mut Kit, extern "C" fn(c_int, *const c_char, *mut c_void), *mut c_void),
    get_filter_types: usize,
    set_optional_features: extern "C" fn(*mut Kit, c_ulonglong),
    set_document_password: extern "C" fn(*mut Kit, *const c_char, *const c_char),
}

#[repr(C)]
struct RawDocument {
    class: *const DocumentClass,
}

#[repr(C)]
struct DocumentClass {
    size: usize,
    destroy: extern "C" fn(*mut RawDocument),
    save_as: extern "C" fn(*mut RawDocument, *const c_char, *const c_char, *const c_char) -> c_int,
    get_document_type: extern "C" fn(*mut RawDocument) -> c_int,
    get_parts: extern "C" fn(*mut RawDocument) -> c_int,
}

/// What happened when a file was opened.
#[derive(Debug)]
pub enum OpenError {
    PasswordRequired,
    WrongPassword,
    /// LibreOffice's own words.
    Other(String),
}

/// What the callback needs; one load at a time.
struct Loading {
    kit: *mut Kit,
    url: CString,
    password: Option<CString>,
    asked: u32,
    progress: *const dyn Fn(u64),
}

/// The running office. One per process: LibreOffice has global state throughout.
pub struct Office {
    kit: NonNull<Kit>,
}

// SAFETY: the kit takes its own global lock in every call, and `Office` is only reached through the mutex below.
unsafe impl Send for Office {}

/// An open document; closed when dropped.
pub struct Document<'a> {
    raw: NonNull<RawDocument>,
    office: &'a Office,
}

fn library() -> Result<&'static Library, String> {
    static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            // SAFETY: loading runs the initialisers of LibreOffice's libraries, which come from the distribution's package and
            // expect to be loaded this way (LibreOfficeKitInit.h); nothing is ever unloaded.
            unsafe { UnixLibrary::open(Some(format!("{PROGRAM}/libmergedlo.so")), RTLD_LAZY | RTLD_GLOBAL) }
                .map(Library::from)
                .map_err(|e| e.to_string())
        })
        .as_ref()
        .map_err(Clone::clone)
}

/// Loads LibreOffice and its services without starting it: what a fork may inherit. `profile` is a folder with settings.
pub fn preload(profile: &Path) -> Result<(), String> {
    type Preinit = unsafe extern "C" fn(*const c_char, *const c_char, *mut *mut Kit) -> c_int;
    // The configuration is read once, here; at this stage LibreOffice takes the profile's place from the environment only.
    // SAFETY: called before any thread of this process exists.
    unsafe { std::env::set_var("UserInstallation", url(profile)) };
    let (program, profile) = (c_string(PROGRAM)?, c_string(&url(profile))?);
    let mut kit: *mut Kit = null_mut();
    // SAFETY: the symbol has this signature since LibreOffice 7.3 (`LokHookPreInit2`); the strings and `kit` outlive the call.
    let status = unsafe {
        let preinit = library()?.get::<Preinit>(b"lok_preinit_2\0").map_err(|e| e.to_string())?;
        preinit(program.as_ptr(), profile.as_ptr(), &mut kit)
    };
    if status == 0 { Ok(()) } else { Err(format!("LibreOffice could not be preloaded ({status})")) }
}

/// Starts LibreOffice in this process, or comes back with the one already started.
pub fn office(profile: &Path) -> Result<&'static Mutex<Office>, String> {
    static OFFICE: OnceLock<Result<Mutex<Office>, String>> = OnceLock::new();
    OFFICE.get_or_init(|| start(profile).map(Mutex::new)).as_ref().map_err(Clone::clone)
}

fn start(profile: &Path) -> Result<Office, String> {
    type Hook = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut Kit;
    let (program, profile) = (c_string(PROGRAM)?, c_string(&url(profile))?);
    // SAFETY: the symbol has this signature (`LokHookFunction2`); the strings outlive the call.
    let kit = unsafe { library()?.get::<Hook>(b"libreofficekit_hook_2\0").map_err(|e| e.to_string())?(program.as_ptr(), profile.as_ptr()) };
    let office = Office { kit: NonNull::new(kit).ok_or("LibreOffice did not start")? };
    (office.class()?.set_optional_features)(kit, FEATURE_PASSWORD | FEATURE_PASSWORD_TO_MODIFY);
    Ok(office)
}

impl Office {
    fn class(&self) -> Result<&KitClass, String> {
        // SAFETY: a started kit lives until the process ends and points to its constant table.
        let class = unsafe { self.kit.as_ref().class.as_ref() }.ok_or("LibreOffice gave no interface")?;
        if class.size < size_of::<KitClass>() {
            return Err("this LibreOffice is too old".into());
        }
        Ok(class)
    }

    /// Opens a file. The password is given once, when LibreOffice asks for it.
    pub fn open(&self, file: &Path, password: Option<&str>, progress: &dyn Fn(u64)) -> Result<Document<'_>, OpenError> {
        let other = |e: String| OpenError::Other(e);
        let class = self.class().map_err(other)?;
        let kit = self.kit.as_ptr();
        let url = c_string(&url(file)).map_err(other)?;
        let password = password.map(c_string).transpose().map_err(other)?;
        // SAFETY: only the lifetime is erased: the callback is silenced below, before `progress` can go away.
        let progress: *const (dyn Fn(u64) + 'static) = unsafe { std::mem::transmute(std::ptr::from_ref(progress)) };
        let mut loading = Loading { kit, url, password, asked: 0, progress };
        (class.register_callback)(kit, on_event, std::ptr::from_mut(&mut loading).cast());
        let raw = (class.document_load_with_options)(kit, loading.url.as_ptr(), c"".as_ptr());
        (class.register_callback)(kit, on_nothing, null_mut());
        match NonNull::new(raw) {
            Some(raw) => Ok(Document { raw, office: self }),
            None if loading.asked == 1 && loading.password.is_none() => Err(OpenError::PasswordRequired),
            None if loading.asked > 0 => Err(OpenError::WrongPassword),
            None => Err(OpenError::Other(self.error())),
        }
    }

    fn error(&self) -> String {
        let Ok(class) = self.class() else { return String::new() };
        let text = (class.get_error)(self.kit.as_ptr());
        if text.is_null() {
            return String::new();
        }
        // SAFETY: the kit returns a string that ends in NUL and is ours until it is freed by its own function.
        let words = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
        (class.free_error)(text);
        words
    }
}

impl Document<'_> {
    fn class(&self) -> Result<&DocumentClass, String> {
        // SAFETY: an open document points to its constant table until it is destroyed, which only `drop` does.
        unsafe { self.raw.as_ref().class.as_ref() }.ok_or_else(|| "LibreOffice gave no document interface".into())
    }

    /// Saves in the format of this extension.
    pub fn save(&self, file: &Path, extension: &str, options: &str) -> Result<(), String> {
        let (url, format, options) = (c_string(&url(file))?, c_string(extension)?, c_string(options)?);
        let done = (self.class()?.save_as)(self.raw.as_ptr(), url.as_ptr(), format.as_ptr(), options.as_ptr());
        if done != 0 { Ok(()) } else { Err(self.office.error()) }
    }
}

impl Drop for Document<'_> {
    fn drop(&mut self) {
        if let Ok(class) = self.class() {
            (class.destroy)(self.raw.as_ptr());
        }
    }
}

extern "C" fn on_nothing(_: c_int, _: *const c_char, _: *mut c_void) {}

/// Answers LibreOffice's questions while a file is opened: it waits for a password until one is set, even a wrong one or none.
extern "C" fn on_event(event: c_int, payload: *const c_char, context: *mut c_void) {
    // SAFETY: the context is the `Loading` on the stack of `open`, which is inside the call that leads here; LibreOffice
    // calls back under its global lock, so there is no other reference to it meanwhile.
    let Some(loading) = (unsafe { context.cast::<Loading>().as_mut() }) else { return };
    match event {
        EVENT_PASSWORD | EVENT_PASSWORD_TO_MODIFY => {
            loading.asked += u32::from(event == EVENT_PASSWORD);
            let password = match &loading.password {
                // Asked again, the first one was wrong. To read on without the right to modify none is needed.
                Some(password) if event == EVENT_PASSWORD && loading.asked == 1 => password.as_ptr(),
                _ => null(),
            };
            // SAFETY: the kit outlives the load; its table was checked when it was started.
            if let Some(class) = unsafe { loading.kit.as_ref().and_then(|kit| kit.class.as_ref()) } {
                (class.set_document_password)(loading.kit, loading.url.as_ptr(), password);
            }
        }
        EVENT_STATUS_SET_VALUE if !payload.is_null() => {
            // SAFETY: the payload of an event is a string that ends in NUL and lives during the call.
            let percent = unsafe { CStr::from_ptr(payload) }.to_str().ok().and_then(|text| text.parse().ok());
            if let Some(percent) = percent {
                // SAFETY: `open` keeps the closure alive until this callback is replaced.
                unsafe { (*loading.progress)(percent) };
            }
        }
        _ => {}
    }
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| "a text has a NUL in it".into())
}

/// A `file:` URL; every byte outside of the unreserved set is escaped.
fn url(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let escaped = path.as_os_str().as_bytes().iter().map(|b| match b {
        b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(*b).to_string(),
        other => format!("%{other:02X}"),
    });
    format!("file://{}", escaped.collect::<String>())
}
