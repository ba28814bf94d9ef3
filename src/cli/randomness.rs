//! Whether the system gives random bytes.
//!
//! Names, ids and masks are random, so is where hash tables put things, and the standard library, `rand` and rustls panic
//! without. They get the bytes from the system call `getrandom`, which needs no file. Where that is refused (`EPERM`, a
//! filter of system calls) or unknown (`ENOSYS`, a kernel before 3.17), they come from `/dev/urandom`; where that is
//! missing as well, as in a chroot without devices, there are none.
//!
//! Owns: the question, once, before anything needs an answer. Must not know: what the bytes are for.

use rand::TryRng;
use rand::rngs::SysRng;

/// Asks for a few bytes.
///
/// # Errors
/// What is missing, for the operator.
pub fn check() -> Result<(), String> {
    SysRng.try_fill_bytes(&mut [0; 8]).map_err(|error| {
        format!(
            "the system gives no random bytes ({error}): permit the system call getrandom, or provide /dev/urandom"
        )
    })
}
