//! Shows the person who waits what runs now, how long it has taken, and how many steps are left.
//!
//! On a terminal every running step has a line with its last output; elsewhere each finished step is one line. Never decides what runs.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use odigos_tools::Progress;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Why a step did not begin: another one has failed. It never explains a failure by itself.
#[derive(Debug)]
pub(crate) struct NotStarted(String);

impl std::fmt::Display for NotStarted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: not started, since another step has failed", self.0)
    }
}

impl std::error::Error for NotStarted {}

/// The outcome of two parts: an error that has a cause of its own comes first.
pub(crate) fn both(first: anyhow::Result<()>, second: anyhow::Result<()>) -> anyhow::Result<()> {
    match (first, second) {
        (Err(first), Err(second)) if first.is::<NotStarted>() => Err(second),
        (first, second) => first.and(second),
    }
}

/// Steps of a task, some of them at the same time.
pub(crate) struct Board {
    begun: Instant,
    total: usize,
    bars: Option<(MultiProgress, ProgressBar)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Vec<String>,
    finished: Vec<(String, Duration, bool)>,
    failed: bool,
}

impl Board {
    /// A board for steps of these names, which it lists at once.
    pub(crate) fn new(title: &str, steps: &[&str]) -> Self {
        let begun = Instant::now().checked_sub(before_this_process()).unwrap_or_else(Instant::now);
        let board = Self { begun, total: steps.len(), bars: bars(title), state: Mutex::default() };
        if board.bars.is_none() {
            board.print(&format!("{title}: {} steps: {}", steps.len(), steps.join(", ")));
        }
        board.show_overview();
        board
    }

    /// Runs one step; its errors say which one it was. After a failure no further step begins.
    pub(crate) fn step<T>(
        &self,
        name: &str,
        work: impl FnOnce(Progress<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        {
            let mut state = self.state();
            if state.failed {
                return Err(NotStarted(name.to_owned()).into());
            }
            state.running.push(name.to_owned());
        }
        self.show_overview();
        let begun = Instant::now();
        let bar = self.bars.as_ref().map(|(bars, overview)| {
            let bar = bars.insert_before(overview, ProgressBar::new_spinner().with_style(line_style()));
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let result = work(&|line| {
            if let Some(bar) = &bar {
                bar.set_message(line.trim().to_owned());
            }
        });
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        self.finish(name, begun.elapsed(), result.is_ok());
        // Told at once: other steps may go on for minutes.
        result.map_err(|error| {
            self.print(&format!("{name}: {error:#}"));
            error.context(format!("{name} failed"))
        })
    }

    fn finish(&self, name: &str, took: Duration, is_ok: bool) {
        let (position, running) = {
            let mut state = self.state();
            state.running.retain(|one| one != name);
            state.finished.push((name.to_owned(), took, is_ok));
            state.failed |= !is_ok;
            (state.finished.len(), state.running.join(", "))
        };
        let verdict = if is_ok { "" } else { " FAILED" };
        let rest = match self.total.saturating_sub(position) {
            0 => String::new(),
            left if running.is_empty() => format!("; {left} left"),
            left => format!("; now: {running}; {left} left"),
        };
        let elapsed = minutes(self.begun.elapsed());
        self.print(&format!("[{position}/{}] {elapsed}  {name}{verdict} ({}){rest}", self.total, minutes(took)));
        self.show_overview();
    }

    /// Prints a line without disturbing the lines of running steps.
    pub(crate) fn print(&self, line: &str) {
        match &self.bars {
            Some((bars, _)) => drop(bars.println(line)),
            None => crate::say(line),
        }
    }

    fn show_overview(&self) {
        if let Some((_, overview)) = &self.bars {
            let left = self.total.saturating_sub(self.state().finished.len());
            overview.set_message(format!("{left} of {} steps left", self.total));
        }
    }

    /// Removes the lines of a terminal, and returns how long everything took.
    pub(crate) fn close(&self) -> Duration {
        if let Some((_, overview)) = &self.bars {
            overview.finish_and_clear();
        }
        self.begun.elapsed()
    }

    /// A table of the finished steps with their times.
    pub(crate) fn table(&self) -> String {
        let state = self.state();
        let rows = state.finished.iter().map(|(name, took, is_ok)| (name.as_str(), *took, *is_ok));
        let rows: Vec<_> = rows.chain([("in all", self.begun.elapsed(), !state.failed)]).collect();
        let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
        let verdict = |is_ok: bool| if is_ok { "" } else { "  FAILED" };
        let row = |(name, took, is_ok): &(&str, Duration, bool)| {
            format!("{name:<width$}  {:>6}{}\n", minutes(*took), verdict(*is_ok))
        };
        rows.iter().map(row).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bars(title: &str) -> Option<(MultiProgress, ProgressBar)> {
    if !std::io::stdout().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    let bars = MultiProgress::new();
    let overview = ProgressBar::new_spinner().with_style(style("{spinner} {prefix}: {msg} ({elapsed})"));
    let overview = bars.add(overview.with_elapsed(before_this_process()));
    overview.set_prefix(title.to_owned());
    overview.enable_steady_tick(Duration::from_millis(200));
    Some((bars, overview))
}

fn line_style() -> ProgressStyle {
    style("  {spinner} {prefix} ({elapsed}) {wide_msg:.dim}")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// How long `make` was busy with building this program: `ODIGOS_BEGUN` is the second in which it started.
fn before_this_process() -> Duration {
    let begun = std::env::var("ODIGOS_BEGUN").ok().and_then(|text| text.parse().ok());
    let begun = begun.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    begun.and_then(|begun| SystemTime::now().duration_since(begun).ok()).unwrap_or_default()
}

/// Minutes and seconds.
pub(crate) fn minutes(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_step_is_named_and_nothing_begins_after_it() {
        let board = Board::new("test", &["one", "two"]);
        let failed = board.step("one", |_| -> anyhow::Result<()> { anyhow::bail!("no disk") });
        assert_eq!(failed.map_err(|error| format!("{error:#}")), Err("one failed: no disk".to_owned()));
        let second = board.step("two", |_| -> anyhow::Result<()> { panic_free() });
        assert!(second.is_err_and(|error| error.to_string().contains("not started")));
        let table = board.table();
        assert!(table.contains("one") && table.contains("FAILED") && !table.contains("two"), "{table}");
    }

    fn panic_free() -> anyhow::Result<()> {
        anyhow::bail!("must not run")
    }

    #[test]
    fn cause_of_a_failure_comes_before_what_was_not_started() {
        let stopped = || Err(NotStarted("two".into()).into());
        let cause = || Err(anyhow::anyhow!("no disk"));
        for (first, second) in [(stopped(), cause()), (cause(), stopped()), (Ok(()), cause())] {
            assert_eq!(both(first, second).map_err(|error| error.to_string()), Err("no disk".to_owned()));
        }
    }

    #[test]
    fn times_are_minutes_and_seconds() {
        assert_eq!(minutes(Duration::from_secs(0)), "0:00");
        assert_eq!(minutes(Duration::from_secs(754)), "12:34");
    }
}
