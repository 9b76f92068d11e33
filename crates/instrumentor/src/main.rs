//! The binary `odigos-instrumentor`: arguments in, exit code out; everything else is in the library.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    odigos_kit::client::install_crypto();
    let arguments = odigos_instrumentor::Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::from(2),
    };
    match runtime.block_on(odigos_instrumentor::run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn tracing_error(error: &anyhow::Error) {
    tracing::error!("{error:#}");
}
