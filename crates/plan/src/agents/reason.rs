//! The words of the agent decision, their status, severity and rank (`spec/sources-and-instrumentation.md` 3.3).

use odigos_api::condition::kind::AGENT_ENABLED;
use odigos_api::condition::{ConditionDraft, Status};

/// Why a container gets an agent or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It gets one.
    EnabledSuccessfully,
    /// It gets one beside another vendor's, which is allowed.
    EnabledWithOtherAgents,
    /// It is not known what runs in it, and nothing runs that could be looked at.
    RuntimeDetailsUnavailable,
    /// It is not known yet what runs in it.
    WaitingForRuntimeInspection,
    /// The collectors on the nodes are not ready.
    WaitingForNodeCollector,
    /// Its name is on the list of ignored containers.
    IgnoredContainer,
    /// Nobody takes what the agent would send, or rules switch all of it off.
    NoCollectedSignals,
    /// The agent cannot be brought into the process without breaking something.
    InjectionConflict,
    /// The language is unknown, or the wanted distribution is for another one.
    UnsupportedProgrammingLanguage,
    /// No distribution supports the version.
    UnsupportedRuntimeVersion,
    /// There is no distribution for the language or of that name, or its files are not there.
    NoAvailableAgent,
    /// Something must be known for the distribution and is not.
    MissingDistroParameter,
    /// The Secret that images of agents are pulled with is not in its namespace.
    MissingPullSecret,
    /// Another vendor's agent runs in it.
    OtherAgentDetected,
    /// Its pods crash.
    CrashLoopBackOff,
    /// An image of its pods cannot be pulled.
    ImagePullBackOff,
    /// Its pods are rejected at creation.
    FailedCreate,
}

impl Reason {
    /// Every reason, by rank.
    pub const ALL: [Self; 17] = [
        Self::EnabledSuccessfully,
        Self::EnabledWithOtherAgents,
        Self::RuntimeDetailsUnavailable,
        Self::WaitingForRuntimeInspection,
        Self::WaitingForNodeCollector,
        Self::IgnoredContainer,
        Self::NoCollectedSignals,
        Self::InjectionConflict,
        Self::UnsupportedProgrammingLanguage,
        Self::UnsupportedRuntimeVersion,
        Self::NoAvailableAgent,
        Self::MissingDistroParameter,
        Self::MissingPullSecret,
        Self::OtherAgentDetected,
        Self::CrashLoopBackOff,
        Self::ImagePullBackOff,
        Self::FailedCreate,
    ];

    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Status of the condition when the workload has this reason.
    #[must_use]
    pub const fn status(self) -> Status {
        self.row().1
    }

    /// How bad it is, in the vocabulary of 3.8.
    #[must_use]
    pub const fn severity(self) -> &'static str {
        self.row().2
    }

    /// Where no container has an agent, the reason of the highest rank is the workload's.
    #[must_use]
    pub const fn priority(self) -> u8 {
        self.row().3
    }

    /// The reason of a word; `None` for words of others.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }

    /// Whether pods fail, with an agent or without.
    #[must_use]
    pub const fn is_failure_of_pods(self) -> bool {
        matches!(self, Self::CrashLoopBackOff | Self::ImagePullBackOff | Self::FailedCreate)
    }

    const fn row(self) -> (&'static str, Status, &'static str, u8) {
        match self {
            Self::EnabledSuccessfully => ("EnabledSuccessfully", Status::True, "Success", 0),
            Self::EnabledWithOtherAgents => ("EnabledWithOtherAgents", Status::True, "Notice", 5),
            Self::RuntimeDetailsUnavailable => ("RuntimeDetailsUnavailable", Status::Unknown, "Irrelevant", 10),
            Self::WaitingForRuntimeInspection => ("WaitingForRuntimeInspection", Status::Unknown, "Irrelevant", 20),
            Self::WaitingForNodeCollector => ("WaitingForNodeCollector", Status::Unknown, "Waiting", 30),
            Self::IgnoredContainer => ("IgnoredContainer", Status::False, "Disabled", 40),
            Self::NoCollectedSignals => ("NoCollectedSignals", Status::False, "Notice", 45),
            Self::InjectionConflict => ("InjectionConflict", Status::False, "Unsupported", 48),
            Self::UnsupportedProgrammingLanguage => {
                ("UnsupportedProgrammingLanguage", Status::False, "Unsupported", 50)
            }
            Self::UnsupportedRuntimeVersion => ("UnsupportedRuntimeVersion", Status::False, "Unsupported", 60),
            Self::NoAvailableAgent => ("NoAvailableAgent", Status::False, "Unsupported", 70),
            Self::MissingDistroParameter => ("MissingDistroParameter", Status::False, "Unsupported", 80),
            Self::MissingPullSecret => ("MissingPullSecret", Status::False, "Unsupported", 85),
            Self::OtherAgentDetected => ("OtherAgentDetected", Status::False, "Notice", 90),
            Self::CrashLoopBackOff => ("CrashLoopBackOff", Status::False, "Notice", 95),
            Self::ImagePullBackOff => ("ImagePullBackOff", Status::False, "Notice", 95),
            Self::FailedCreate => ("FailedCreate", Status::False, "Notice", 95),
        }
    }

    /// The condition `AgentEnabled` with this reason.
    #[must_use]
    pub fn condition(self, message: String) -> ConditionDraft {
        ConditionDraft { kind: AGENT_ENABLED, status: self.status(), reason: self.as_str().to_owned(), message }
    }
}
