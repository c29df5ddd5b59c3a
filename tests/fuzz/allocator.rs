//! An allocator that counts what a run holds at most, so that an input which makes a decoder reserve more than it was
//! given is seen.
#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, with counts for each thread.
pub struct Counting;

fn grow(bytes: isize) {
    // A thread that ends allocates after its locals are gone.
    let _ = HELD.try_with(|held| {
        let now = held.get() + bytes;
        held.set(now);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now)));
    });
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counts are beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(isize::try_from(layout.size()).unwrap_or(isize::MAX / 2));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(isize::try_from(layout.size()).unwrap_or(isize::MAX / 2));
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(isize::try_from(size).unwrap_or(isize::MAX / 2) - isize::try_from(layout.size()).unwrap_or(0));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        grow(-isize::try_from(layout.size()).unwrap_or(0));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `work` and tells how many bytes it held at most beyond what was held before. May be nested.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.with(Cell::get);
    let outer = PEAK.replace(before);
    let result = work();
    let peak = PEAK.with(Cell::get);
    PEAK.set(peak.max(outer));
    (result, usize::try_from(peak - before).unwrap_or(0))
}
