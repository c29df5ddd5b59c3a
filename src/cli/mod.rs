//! L9, arguments and subcommands.
