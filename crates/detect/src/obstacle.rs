//! What will keep an agent from working although the language is supported (`spec/sources-and-instrumentation.md` 5.9).

use crate::language::Language;
use crate::process::{Look, Process};
use crate::version::java_release;
use std::fmt;

/// Something about the process that an agent cannot live with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// The Java runtime was linked without the module `java.instrument`; with an agent it does not even start.
    JavaWithoutInstrument,
    /// Python was told to ignore its environment (`-E`, `-I`), so a search path in it has no effect.
    PythonIgnoresEnvironment,
    /// .NET already has a profiler of its own, and only one can be loaded.
    OtherProfiler,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::JavaWithoutInstrument => {
                "the Java runtime has no module java.instrument (jlink); add it with --add-modules java.instrument"
            }
            Self::PythonIgnoresEnvironment => {
                "Python runs with -E or -I and ignores PYTHONPATH; leave that option away"
            }
            Self::OtherProfiler => "CORECLR_PROFILER names another profiler, and .NET loads only one; remove it",
        })
    }
}

/// Identity of the profiler of the OpenTelemetry .NET agent.
const OPENTELEMETRY_PROFILER: &str = "918728DD-259F-4A6A-AC2B-B85E1B658318";

/// What stands in the way.
pub(crate) fn find(process: &Process, look: &dyn Look, language: Language) -> Vec<Obstacle> {
    let stands = match language {
        Language::Java => without_instrument(process, look).then_some(Obstacle::JavaWithoutInstrument),
        Language::Python => ignores_environment(process).then_some(Obstacle::PythonIgnoresEnvironment),
        Language::Dotnet => {
            let profiler = process.environment.get("CORECLR_PROFILER").unwrap_or_default().to_ascii_uppercase();
            let is_other = !profiler.trim().is_empty() && !profiler.contains(OPENTELEMETRY_PROFILER);
            is_other.then_some(Obstacle::OtherProfiler)
        }
        _ => None,
    };
    stands.into_iter().collect()
}

/// `release` lists the modules of runtimes since Java 9; one without the line says nothing.
fn without_instrument(process: &Process, look: &dyn Look) -> bool {
    let Some((_, release)) = java_release(process, look) else { return false };
    let modules = release.lines().find_map(|line| line.strip_prefix("MODULES="));
    modules.is_some_and(|modules| {
        !modules.trim().trim_matches('"').split(' ').any(|one| matches!(one, "java.instrument" | "java.se"))
    })
}

fn ignores_environment(process: &Process) -> bool {
    // Options end at the script, at `-c` and at `-m`; letters may stand together.
    for argument in process.command_line.iter().skip(1) {
        let Some(letters) = argument.strip_prefix('-').filter(|rest| !rest.starts_with('-')) else { return false };
        for letter in letters.chars() {
            match letter {
                'E' | 'I' => return true,
                'c' | 'm' | 'W' | 'X' => return false,
                _ => {}
            }
        }
    }
    false
}
