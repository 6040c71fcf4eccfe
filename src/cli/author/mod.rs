//! `gate new`, `gate build`, `gate test`: what the author of a gate does on a desk, before any
//! proxy knows of it.

mod build;
mod languages;
mod new;
mod project;
pub(super) mod record;
mod template;
mod trial;

use clap::Subcommand;

use super::Exit;
use super::client::Client;
use super::failure::Failure;
use super::screen::Form;
use build::BuildArgs;
use new::NewArgs;
use trial::TestArgs;

/// What an author does.
#[derive(Debug, Subcommand)]
pub(super) enum AuthorCommand {
    /// Make a folder with a new gate, its cases, and all that its build needs.
    New(NewArgs),
    /// Build the gate in a folder into a component.
    Build(BuildArgs),
    /// Try a component in written situations, or on what a rollout asked: all that it sees is
    /// pretended, nobody else is contacted.
    Test(TestArgs),
}

/// Carries out a command. The client is only made where a rollout is looked at.
pub(super) fn run(
    command: &AuthorCommand,
    client: impl FnOnce() -> Result<Client, Failure>,
    form: Form,
) -> Result<Exit, Failure> {
    match command {
        AuthorCommand::New(args) => new::new(args, form),
        AuthorCommand::Build(args) => build::build(args, form),
        AuthorCommand::Test(args) => trial::test(args, client, form),
    }
}
