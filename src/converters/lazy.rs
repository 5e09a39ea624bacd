//! The system's libraries that are loaded when they are first needed.
//!
//! FFmpeg's bring 160 others along, and a program linked to them the usual way pays 45 ms for that at every start: also the one
//! that only asks a service for its jobs, also every zygote that never sees a film. So their functions are defined here, each a
//! jump through a slot, and [`fill`] fills the slots. The linker finds every name and leaves the library out; a name missing from a
//! list does no harm but the old slow start (`tests/shipping.rs` tells).
#![allow(unsafe_code)] // Addresses of functions are looked up by name.

use libc::c_void;
use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL};
use std::sync::atomic::{AtomicPtr, Ordering};

/// One function of the program's own that goes where its slot says, with all arguments as they are.
#[cfg(target_arch = "x86_64")]
macro_rules! jump {
    ($name:ident) => {
        concat!(
            ".globl ",
            stringify!($name),
            "\n.hidden ",
            stringify!($name),
            "\n.type ",
            stringify!($name),
            ", @function\n",
            stringify!($name),
            ": jmp qword ptr [rip + millrace_slot_",
            stringify!($name),
            "]"
        )
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! jump {
    ($name:ident) => {
        concat!(
            ".globl ",
            stringify!($name),
            "\n.hidden ",
            stringify!($name),
            "\n.type ",
            stringify!($name),
            ", %function\n",
            stringify!($name),
            ": adrp x16, millrace_slot_",
            stringify!($name),
            "\n",
            "ldr x16, [x16, :lo12:millrace_slot_",
            stringify!($name),
            "]\nbr x16"
        )
    };
}

/// Defines these functions, their `NAMES` and, as the static of the name given, their slots.
macro_rules! functions {
    ($slots:ident: $($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        std::arch::global_asm!(
            concat!(".pushsection .data.rel.", stringify!($slots), ", \"aw\""),
            ".p2align 3",
            concat!(".globl ", stringify!($slots)),
            concat!(".hidden ", stringify!($slots)),
            concat!(stringify!($slots), ":"),
            $(concat!("millrace_slot_", stringify!($name), ": .quad {not_loaded}"),)*
            ".popsection",
            concat!(".pushsection .text.", stringify!($slots), ", \"ax\""),
            $($crate::converters::lazy::jump!($name),)*
            ".popsection",
            not_loaded = sym $crate::converters::lazy::not_loaded,
        );

        unsafe extern "C" {
            /// One for every name, in their order, each of the size and alignment of a pointer.
            static $slots: [std::sync::atomic::AtomicPtr<libc::c_void>; NAMES.len()];
        }
    };
}

pub(super) use {functions, jump};

/// Where every slot leads before it is filled: a fault of this program, never of its input.
pub extern "C" fn not_loaded() -> ! {
    eprintln!("millrace: a library was called before it was loaded");
    std::process::abort()
}

/// Opens the libraries and finds the functions in the first one that has them. They stay open for good.
pub fn fill(slots: &[AtomicPtr<c_void>], names: &[&str], libraries: &[String]) -> Result<(), String> {
    let opened: Vec<Library> = libraries.iter().map(|name| open(name)).collect::<Result<_, _>>()?;
    for (name, slot) in names.iter().zip(slots) {
        // SAFETY: only the address is taken; the binding says what stands there.
        let found = opened.iter().find_map(|library| unsafe { library.get::<*mut c_void>(name.as_bytes()) }.ok());
        slot.store(*found.ok_or_else(|| format!("{} has no function {name}", libraries.join(", ")))?, Ordering::Release);
    }
    std::mem::forget(opened);
    Ok(())
}

fn open(name: &str) -> Result<Library, String> {
    // SAFETY: one of the system's own, of the version its binding was made for; their constructors start no thread.
    unsafe { Library::open(Some(name), RTLD_LAZY | RTLD_LOCAL) }.map_err(|e| e.to_string())
}
