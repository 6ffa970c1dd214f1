//! Asking for memory ahead of its use, with the instruction that every CPU of an architecture has.

#![allow(unsafe_code, reason = "instructions that the language has no word for")]

/// Asks for the cache line at `address`, into the second-level cache if `far`, else the first. Any address may be asked for, one that
/// nothing is at too. Where there is no such instruction it does nothing.
#[inline(always)]
pub(super) fn prefetch(address: *const u8, far: bool) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let address = address.cast();
        if far {
            // SAFETY: part of SSE, which every CPU of this architecture has. It reads nothing that a program could see, and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(address) }
        } else {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address) }
        }
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    {
        use std::arch::asm;
        if far {
            // SAFETY: PRFM is a base instruction. It changes no register and no memory, and never faults.
            unsafe { asm!("prfm pldl2keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly)) }
        } else {
            // SAFETY: as above.
            unsafe { asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly)) }
        }
    }
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", not(miri)))))]
    let _ = (address, far);
}
