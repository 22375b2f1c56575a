//! What a process holds, as the kernel counts it.

use std::fs;

/// One look at `/proc/PID`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Holdings {
    /// Resident memory, KiB.
    pub(crate) memory: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

impl Holdings {
    pub(crate) fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        Self {
            memory: number("VmRSS"),
            descriptors: descriptors.try_into().unwrap(),
            threads: number("Threads"),
        }
    }

    pub(crate) const fn mebibytes(&self) -> u64 {
        self.memory >> 10
    }
}
