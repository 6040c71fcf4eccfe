//! Why a command did not do what was asked, and what to do about it.

use std::fmt;

use super::{Exit, style};
use crate::admin::json::Problem;

/// Why a command ended without success.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line, or a file that it names, is wrong; with what to do, if there is more to
    /// say.
    Usage(String, Option<String>),
    /// The admin API refused.
    Refused(Box<Problem>),
    /// Something was checked and found bad.
    Bad(String),
    /// The admin API cannot be reached.
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What happened.
        why: String,
    },
    /// A mistake of ours.
    Internal(anyhow::Error),
}

impl Failure {
    /// The exit code.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Usage(..) => Exit::Usage,
            Self::Refused(_) | Self::Bad(_) => Exit::Refused,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Internal(_) => Exit::Internal,
        }
    }

    fn fix(&self) -> Option<String> {
        match self {
            Self::Usage(_, fix) => fix.clone(),
            Self::Refused(problem) => problem.fix.clone(),
            Self::Bad(_) | Self::Internal(_) => None,
            Self::Unreachable { url, .. } => Some(format!(
                "is `tidegate serve` running, and does it listen on {url}? Name another address \
                 with --admin"
            )),
        }
    }
}

impl fmt::Display for Failure {
    /// Two lines: `error: …` and, where there is something to do, `fix: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bad, good) = (style::BAD, style::GOOD);
        write!(f, "{bad}error:{bad:#} ")?;
        match self {
            Self::Usage(text, _) | Self::Bad(text) => f.write_str(text)?,
            Self::Refused(problem) => {
                write!(f, "{} ({})", problem.detail, problem.code)?;
                if let Some(at) = &problem.at {
                    write!(f, " at {at}")?;
                }
            }
            Self::Unreachable { url, why } => {
                write!(f, "the admin API at {url} cannot be reached: {why}")?;
            }
            Self::Internal(error) => write!(f, "{error:#}")?,
        }
        match self.fix() {
            Some(fix) => write!(f, "\n{good}fix:{good:#} {fix}"),
            None => Ok(()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::adapter::strip_str;

    #[test]
    fn a_problem_is_shown_with_its_code_and_what_to_do() {
        let problem = serde_json::json!({
            "type": "urn:tidegate:problem:rollout_active", "title": "Conflict", "status": 409,
            "code": "rollout_active", "detail": "rollout d-ABCDEFGHI of service shop is active",
            "fix": "wait for d-ABCDEFGHI to end, or abort it",
        });
        let problem = serde_json::from_value(problem).expect("a problem");
        let failure = Failure::Refused(Box::new(problem));
        assert_eq!(
            strip_str(&failure.to_string()).to_string(),
            "error: rollout d-ABCDEFGHI of service shop is active (rollout_active)\n\
             fix: wait for d-ABCDEFGHI to end, or abort it"
        );
        assert_eq!(failure.exit(), Exit::Refused);
    }

    #[test]
    fn an_api_that_cannot_be_reached_says_what_to_look_at() {
        let url = "http://127.0.0.1:7070".to_owned();
        let failure = Failure::Unreachable { url, why: "connection refused".to_owned() };
        assert_eq!(
            strip_str(&failure.to_string()).to_string(),
            "error: the admin API at http://127.0.0.1:7070 cannot be reached: connection refused\n\
             fix: is `tidegate serve` running, and does it listen on http://127.0.0.1:7070? Name \
             another address with --admin"
        );
        assert_eq!(failure.exit(), Exit::Unreachable);
    }
}
