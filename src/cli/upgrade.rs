//! `upgrade`: a new process in the place of the one that runs.

use super::args::UpgradeArgs;
use super::failure::Failure;
use super::screen::Form;
use super::{Exit, style};
use crate::app::{UpgradeError, Upgraded};
use crate::config::Config;

/// Checks the configuration, has the new process started, and says which one serves.
pub(super) fn upgrade(
    args: &UpgradeArgs,
    start: fn(&Config, &UpgradeArgs) -> Result<Upgraded, UpgradeError>,
    form: Form,
) -> Result<Exit, Failure> {
    let config = Config::load(&args.config).map_err(|mistakes| {
        Failure::Usage(format!("{mistakes}\nnothing was started or changed"), None)
    })?;
    match start(&config, args) {
        Ok(upgraded) => {
            form.show(&upgraded, render);
            Ok(Exit::Succeeded)
        }
        Err(error) => Err(failure(&error)),
    }
}

fn render(upgraded: &Upgraded) -> String {
    let Upgraded { new_pid, new_version, old_pid, old_version } = upgraded;
    let good = style::GOOD;
    format!(
        "{good}ok:{good:#} process {new_pid} ({new_version}) has taken over from process {old_pid} \
         ({old_version}), which drains"
    )
}

fn failure(error: &UpgradeError) -> Failure {
    let said = error.to_string();
    match error {
        UpgradeError::InMemory | UpgradeError::Start { .. } => Failure::Usage(said, None),
        UpgradeError::NotRunning { .. }
        | UpgradeError::Busy { .. }
        | UpgradeError::Ended { .. }
        | UpgradeError::TimedOut { .. }
        | UpgradeError::Unclear { .. } => Failure::Bad(said),
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;

    fn args() -> UpgradeArgs {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/canary.yaml");
        let timeout = crate::core::model::Span::from_secs(1);
        UpgradeArgs { config: example.into(), binary: None, timeout }
    }

    #[test]
    fn what_came_about_is_told_and_what_did_not_has_an_exit_code() {
        let upgraded = Upgraded {
            new_pid: 2,
            new_version: "0.2.0".to_owned(),
            old_pid: 1,
            old_version: "0.1.0".to_owned(),
        };
        assert_eq!(
            strip_str(&render(&upgraded)).to_string(),
            "ok: process 2 (0.2.0) has taken over from process 1 (0.1.0), which drains"
        );
        let refused = upgrade(&args(), |_, _| Err(UpgradeError::Busy { pid: 7 }), Form::Text);
        let refused = refused.expect_err("busy");
        assert_eq!(refused.exit(), Exit::Refused);
        assert!(refused.to_string().contains("process 7 is being upgraded already"));
        let useless = upgrade(&args(), |_, _| Err(UpgradeError::InMemory), Form::Json);
        assert_eq!(useless.expect_err("in memory").exit(), Exit::Usage);
    }
}
