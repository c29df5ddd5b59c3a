//! L9, arguments and subcommands.

mod config;
mod dump;
pub mod logging;
pub mod options;

use std::process::ExitCode;

use clap::Parser;

/// A Kafka broker
#[derive(Parser, Debug)]
#[command(name = "barnabas")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Show the configuration keys
    Config(config::Arguments),
    /// Show and check log segments, indexes, snapshots, checkpoints and the other files of a log directory
    Dump(dump::Dump),
}

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Config(arguments) => config::run(&arguments),
        Command::Dump(dump) => dump.run(),
    }
}
