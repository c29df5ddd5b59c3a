//! Time from exec to the first Metadata answer that names a broker, and resident memory then.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::process;

#[derive(clap::Args)]
pub struct Options {
    #[arg(long)]
    bootstrap: String,
    #[arg(long, default_value_t = 120)]
    timeout_seconds: u64,
    /// Wait also until this topic's partition 0 has a leader and answers a ListOffsets.
    #[arg(long)]
    topic: Option<String>,
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Leave the broker running, and print its process id.
    #[arg(long)]
    keep: bool,
    /// Where the broker's stdout and stderr go.
    #[arg(long, default_value = "/dev/null")]
    log: String,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub fn run(options: &Options) {
    let log = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&options.log)
        .unwrap();
    let started = Instant::now();
    let mut child = Command::new(&options.command[0])
        .args(&options.command[1..])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let deadline = started + Duration::from_secs(options.timeout_seconds);
    let answer = || -> Option<()> {
        let mut client = Client::connect(&options.bootstrap).ok()?;
        loop {
            let (brokers, partitions) = client.metadata(options.topic.as_deref()).ok()?;
            let ready = partitions
                .iter()
                .filter(|p| p.error == 0 && p.leader >= 0)
                .count();
            if brokers > 0 && (options.topic.is_none() || ready >= options.partitions as usize) {
                if let Some(topic) = &options.topic {
                    for partition in 0..options.partitions {
                        client.list_offset(topic, partition, -1);
                    }
                }
                return Some(());
            }
            std::thread::sleep(Duration::from_millis(1));
            if Instant::now() > deadline {
                return None;
            }
        }
    };
    let mut answered = false;
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        if answer().is_some() {
            answered = true;
            break;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    let seconds = started.elapsed().as_secs_f64();
    let pid = child.id();
    println!(
        "{}",
        serde_json::json!({
            "answered": answered, "seconds": seconds, "pid": pid,
            "resident_bytes": process::memory(pid, "VmRSS"),
            "cpu_seconds": process::cpu_seconds(pid).map(|(user, system)| user + system),
        })
    );
    if options.keep && answered {
        return;
    }
    if child.try_wait().unwrap().is_none() {
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        child.wait().unwrap();
    }
    if !answered {
        std::process::exit(1);
    }
}
