//! L0, the seams: ids, error codes, clock, randomness, disk, sockets, tasks and blocking work, what threads get of the
//! processors, shutdown.
//!
//! Everything that a simulation must control is reached through this room and nowhere else.

pub mod clock;
pub mod disk;
pub mod error_code;
pub mod format;
pub mod hash;
pub mod ids;
pub mod net;
pub mod planted;
pub mod random;
pub mod shutdown;
pub mod starvation;
pub mod task;
