//! The binary in the image `odigos-e2e`: an application that sends, or a backend that remembers.

use clap::Parser;
use odigos_e2e::actors;
use std::process::ExitCode;

/// Actors of the stories.
#[derive(Parser, Debug)]
enum Actor {
    /// Sends spans, metrics and logs with running numbers, and writes lines to its output.
    Application(actors::application::Arguments),
    /// Receives OTLP and tells what arrived.
    Backend(actors::backend::Arguments),
}

#[allow(clippy::print_stderr, reason = "what a pod has to say")]
fn main() -> ExitCode {
    let actor = Actor::parse();
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() else {
        return ExitCode::from(2);
    };
    let ended = match actor {
        Actor::Application(arguments) => runtime.block_on(actors::application::run(arguments)),
        Actor::Backend(arguments) => runtime.block_on(actors::backend::run(arguments)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
