//! The `barnabas` command.

fn main() -> std::process::ExitCode {
    barnabas::cli::run()
}
