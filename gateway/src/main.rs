//! The gateway's process; everything lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    gateway::cli::main()
}
