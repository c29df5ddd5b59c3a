//! What a process has used, read from /proc. Called by all commands that take `--pid`.

/// CPU seconds (user, system) so far.
pub fn cpu_seconds(pid: u32) -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let seconds = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<f64>().ok())
            .map(|n| n / ticks)
    };
    Some((seconds(11)?, seconds(12)?))
}

/// CPU of all threads that live, in nanoseconds as the scheduler counts it: for what takes less than the ticks of
/// [`cpu_seconds`] can tell.
pub fn cpu_nanoseconds(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
        let line = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    threads.filter_map(of_thread).sum()
}

/// A `Vm...` line of /proc/PID/status, in bytes.
pub fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Takes CPU before a run, and reports the difference after it.
pub struct Watch(Option<(u32, (f64, f64))>);

impl Watch {
    pub fn start(pid: Option<u32>) -> Watch {
        Watch(pid.and_then(|pid| Some((pid, cpu_seconds(pid)?))))
    }

    pub fn report(&self) -> serde_json::Value {
        let Some((pid, before)) = self.0 else {
            return serde_json::Value::Null;
        };
        let Some(after) = cpu_seconds(pid) else {
            return serde_json::json!("the process ended");
        };
        serde_json::json!({
            "user_seconds": after.0 - before.0,
            "system_seconds": after.1 - before.1,
            "cpu_seconds": after.0 - before.0 + after.1 - before.1,
            "resident_bytes": memory(pid, "VmRSS"),
            "peak_resident_bytes": memory(pid, "VmHWM"),
        })
    }
}
