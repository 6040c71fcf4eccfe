//! `target-group`: registering a group's targets.

use http::Method;

use super::Exit;
use super::args::{TargetGroupCommand, Why};
use super::client::Client;
use super::failure::Failure;
use super::screen::Form;
use crate::admin::json::{GroupTargets, NewTargets};
use crate::core::model::{Target, TargetName};

/// Carries out a command.
pub(super) async fn run(
    client: &Client,
    command: TargetGroupCommand,
    form: Form,
) -> Result<Exit, Failure> {
    match command {
        TargetGroupCommand::Set { group, targets, why } => {
            register(client, &format!("/v1/target-groups/{group}/targets"), targets, why, form)
                .await
        }
        TargetGroupCommand::Reset { group, why } => {
            let path = format!("/v1/target-groups/{group}/reset");
            let group: GroupTargets = client.change(Method::POST, &path, &why.body()?).await?;
            form.show(&group, render);
            Ok(Exit::Succeeded)
        }
    }
}

/// Registers all targets of a group, which the path names.
pub(super) async fn register(
    client: &Client,
    path: &str,
    targets: Vec<TargetName>,
    why: Why,
    form: Form,
) -> Result<Exit, Failure> {
    let targets = targets.into_iter().map(|address| Target { address }).collect();
    let body = NewTargets { targets, revision: None, reason: why.prose()? };
    let group: GroupTargets = client.change(Method::PUT, path, &body).await?;
    form.show(&group, render);
    Ok(Exit::Succeeded)
}

fn render(group: &GroupTargets) -> String {
    let targets: Vec<_> = group.targets.iter().map(|target| target.address.to_string()).collect();
    let shown = if targets.is_empty() { "no targets".to_owned() } else { targets.join(" ") };
    format!("{}: {shown}", group.target_group)
}
