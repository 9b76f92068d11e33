//! The binary `odigos-agent`: arguments in, exit code out; everything else is in the library.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == "copy") {
        let arguments = odigos_agent::CopyArguments::parse_from(std::env::args_os().skip(1));
        let _level = odigos_kit::telemetry::start("info");
        return finished(odigos_agent::copy(&arguments));
    }
    let looks_once = std::env::args_os().nth(1).is_some_and(|first| first == "detect");
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::from(2);
    };
    if looks_once {
        let arguments = odigos_agent::DetectArguments::parse_from(std::env::args_os().skip(1));
        return finished(runtime.block_on(odigos_agent::detect(arguments)));
    }
    odigos_kit::client::install_crypto();
    finished(runtime.block_on(odigos_agent::run(odigos_agent::Arguments::parse())))
}

fn finished(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
