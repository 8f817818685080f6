//! Runs compiled code where it lies: in the pages of this program, which the kernel
//! reads when they are needed and shares between processes.

use rustix::mm::{MprotectFlags, mprotect};
use std::ffi::c_void;
use wasmtime::CustomCodeMemory;

/// Changes the protection of code that wasmtime neither copies nor maps.
pub(super) struct InPlace;

impl CustomCodeMemory for InPlace {
    fn required_alignment(&self) -> usize {
        rustix::param::page_size()
    }

    fn publish_executable(&self, code: *const u8, length: usize) -> wasmtime::Result<()> {
        let flags = MprotectFlags::READ | MprotectFlags::EXEC;
        // SAFETY: these are whole pages with nothing but a component's code: the
        // compiler pads its section of the file to pages of the target. They were
        // read-only and stay so. As the kernel maps them from a file, they need no
        // flush of instruction caches.
        #[expect(unsafe_code, reason = "there is no safe way to make code executable")]
        let protected = unsafe { mprotect(code.cast_mut().cast::<c_void>(), length, flags) };
        Ok(protected?)
    }

    /// It stays executable: the component is kept until the process ends.
    fn unpublish_executable(&self, _: *const u8, _: usize) -> wasmtime::Result<()> {
        Ok(())
    }
}
