//! The host as a process: crashes, aborts, limits, traps, shutdown.
