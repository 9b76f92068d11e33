//! What the image of a container sets (`spec/sources-and-instrumentation.md` 4.7): from what the pod says, what the container was
//! started with, and what the container runtime answers where it was asked.
//!
//! Owns when it is worth asking, and what follows without an answer. Nothing but the pod and the image sets variables before the
//! first process, so that most often the runtime is not needed: what the pod does not set comes from the image. Two things hide
//! the image: a pod that takes whole ConfigMaps or Secrets, and an agent of ours, whose variables stand in front of it.

use crate::container::{ImageEnvironment, variables_of};
use crate::environment::{Environment, LD_PRELOAD};
use crate::language::Language;
use std::collections::BTreeSet;

/// Where a container's variables may come from beside its image, as its pod says.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Variables that the pod sets by name.
    pub set: &'a BTreeSet<String>,
    /// Whether it takes further ones from ConfigMaps or Secrets as a whole.
    pub has_env_from: bool,
    /// Whether admission has given it agents, and may have set variables for them.
    pub has_agents: bool,
    /// What the container was started with.
    pub started_with: &'a Environment,
}

/// What the container runtime says of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was not asked, since nothing depends on it.
    NotAsked,
    /// It may not be asked.
    MayNot,
    /// The image sets these.
    Known(Environment),
    /// There is no answer, and why.
    Failed(String),
}

/// Where a variable's value comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The pod's `env`, or nowhere.
    Told,
    /// The image, unless something takes variables as a whole.
    Beneath,
    /// A variable of ours stands in front of whatever is beneath.
    Hidden,
}

/// Variables that an agent of the language extends or sets, and the one through which libraries are preloaded.
fn names(language: Language) -> impl Iterator<Item = &'static str> {
    variables_of(language).iter().copied().chain([LD_PRELOAD])
}

impl Given<'_> {
    fn origin(&self, name: &str) -> Origin {
        if !self.set.contains(name) {
            return if self.started_with.users(name).is_some() { Origin::Beneath } else { Origin::Told };
        }
        let is_extended = self.has_agents && self.started_with.has_ours(name);
        if is_extended { Origin::Hidden } else { Origin::Told }
    }

    /// Whether the answer of the container runtime changes what becomes of the container.
    #[must_use]
    pub fn is_question(&self, language: Language) -> bool {
        // An empty value has nothing that could be lost.
        let matters = |name: &str| match self.origin(name) {
            Origin::Told => false,
            Origin::Beneath => self.started_with.users(name).is_some_and(|value| !value.is_empty()),
            Origin::Hidden => true,
        };
        names(language).any(matters)
    }

    /// What the image sets, of the variables that matter to agents of a language.
    #[must_use]
    pub fn image_environment(&self, language: Language, answer: &Answer) -> ImageEnvironment {
        if let Answer::Known(image) = answer {
            // What the pod states itself is nothing of the image, whatever that sets (4.7).
            let kept = names(language).filter(|name| self.origin(name) != Origin::Told || !self.set.contains(*name));
            return ImageEnvironment::Known(Environment::of(kept.filter_map(|name| Some((name, image.get(name)?)))));
        }
        let beneath: Vec<(&str, String)> = names(language)
            .filter(|name| self.origin(name) == Origin::Beneath)
            .filter_map(|name| Some((name, self.started_with.users(name)?)))
            .collect();
        if self.has_env_from && !beneath.is_empty() {
            return ImageEnvironment::Failed(match answer {
                Answer::Failed(why) => why.clone(),
                _ => "the pod takes variables from a ConfigMap or Secret as a whole (envFrom), so it cannot be told which the image \
                      brings; with agent.containerRuntime.enabled of the chart the container runtime is asked"
                    .to_owned(),
            });
        }
        if names(language).any(|name| self.origin(name) == Origin::Hidden) {
            return ImageEnvironment::Hidden;
        }
        ImageEnvironment::Known(Environment::of(beneath.iter().map(|(name, value)| (*name, value.as_str()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        set: BTreeSet<String>,
        has_env_from: bool,
        has_agents: bool,
        started_with: Environment,
    }

    impl Case {
        fn of(set: &[&str], started_with: &[(&str, &str)]) -> Self {
            let set = set.iter().map(|&name| name.to_owned()).collect();
            let started_with = Environment::of(started_with.iter().copied());
            Self { set, has_env_from: false, has_agents: false, started_with }
        }

        fn given(&self) -> Given<'_> {
            let Self { set, has_env_from, has_agents, started_with } = self;
            Given { set, has_env_from: *has_env_from, has_agents: *has_agents, started_with }
        }

        fn image(&self, answer: &Answer) -> ImageEnvironment {
            self.given().image_environment(Language::Python, answer)
        }
    }

    fn known(pairs: &[(&str, &str)]) -> ImageEnvironment {
        ImageEnvironment::Known(Environment::of(pairs.iter().copied()))
    }

    fn says(pairs: &[(&str, &str)]) -> Answer {
        Answer::Known(Environment::of(pairs.iter().copied()))
    }

    const OURS: &str = "/app:/var/odigos/python:/var/odigos/python/opentelemetry/instrumentation/auto_instrumentation";

    #[test]
    fn what_the_pod_does_not_set_comes_from_the_image() {
        let mut case = Case::of(&["LD_PRELOAD"], &[("PYTHONPATH", "/app"), ("LD_PRELOAD", "/lib/jemalloc.so")]);
        for answer in [Answer::NotAsked, Answer::MayNot, Answer::Failed("timed out".into())] {
            assert_eq!(case.image(&answer), known(&[("PYTHONPATH", "/app")]), "{answer:?}");
        }
        case.has_env_from = true;
        let told = |answer: &Answer| match case.image(answer) {
            ImageEnvironment::Failed(why) => why,
            other => panic!("{other:?}"),
        };
        let why = told(&Answer::MayNot);
        assert!(why.contains("envFrom") && why.contains("agent.containerRuntime.enabled"), "{why}");
        assert!(why.len() <= crate::limits::EVIDENCE_BYTES, "nothing of it is cut off");
        assert_eq!(told(&Answer::Failed("timed out".into())), "timed out");
        let mut nothing = Case::of(&[], &[]);
        nothing.has_env_from = true;
        assert_eq!(nothing.image(&Answer::MayNot), known(&[]), "where there is nothing, nothing is lost");
        nothing.started_with = Environment::of([("NODE_OPTIONS", "--title=whole")]);
        assert_eq!(nothing.image(&Answer::MayNot), known(&[]), "another language's");
    }

    #[test]
    fn an_answer_counts_more_than_what_can_be_told_without() {
        let mut case = Case::of(&["LD_PRELOAD"], &[("PYTHONPATH", "/script:/app"), ("LD_PRELOAD", "/pod.so")]);
        let answer = says(&[("PYTHONPATH", "/app"), ("LD_PRELOAD", "/image.so"), ("PYTHON_VERSION", "3.11.2")]);
        assert_eq!(case.image(&answer), known(&[("PYTHONPATH", "/app")]), "the pod's own is left out, versions too");
        case.has_env_from = true;
        assert_eq!(case.image(&answer), known(&[("PYTHONPATH", "/app")]));
        assert_eq!(case.image(&says(&[])), known(&[]), "then envFrom brings it");
    }

    #[test]
    fn an_agent_of_ours_hides_the_image() {
        let mut case = Case::of(&["PYTHONPATH"], &[("PYTHONPATH", OURS)]);
        case.has_agents = true;
        assert_eq!(case.image(&Answer::MayNot), ImageEnvironment::Hidden);
        assert_eq!(case.image(&says(&[("PYTHONPATH", "/new")])), known(&[("PYTHONPATH", "/new")]));
        let own = Case { has_agents: true, ..Case::of(&["PYTHONPATH"], &[("PYTHONPATH", "/own")]) };
        assert_eq!(own.image(&says(&[("PYTHONPATH", "/new")])), known(&[]), "a variable that is not extended");
    }

    #[test]
    fn it_is_asked_only_where_something_depends_on_it() {
        let path = [("PYTHONPATH", "/app")];
        for (what, case, language, expected) in [
            ("something beneath", Case::of(&[], &path), Language::Python, true),
            ("the pod states it", Case::of(&["PYTHONPATH"], &path), Language::Python, false),
            ("another language's", Case::of(&[], &path), Language::Java, false),
            ("nothing", Case::of(&[], &[]), Language::Python, false),
            ("an empty value", Case::of(&[], &[("PYTHONPATH", "")]), Language::Python, false),
            ("a preloaded library", Case::of(&[], &[("LD_PRELOAD", "/x.so")]), Language::Python, true),
            ("ours alone", Case::of(&[], &[("PYTHONPATH", "/var/odigos/python")]), Language::Python, false),
            (
                "ours in front",
                Case { has_agents: true, ..Case::of(&["PYTHONPATH"], &[("PYTHONPATH", OURS)]) },
                Language::Python,
                true,
            ),
        ] {
            assert_eq!(case.given().is_question(language), expected, "{what}");
        }
    }
}
