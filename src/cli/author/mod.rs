//! `gate new`, `gate build`, `gate test`: what the author of a gate does on a desk, before any
//! proxy knows of it.

mod build;
mod languages;
mod new;
mod project;
mod template;
mod trial;

use clap::Subcommand;

use super::Exit;
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
    /// Try a component in written situations: all that it sees is pretended, nothing is contacted.
    Test(TestArgs),
}

/// Carries out a command; nothing but the machine is needed for it.
pub(super) fn run(command: &AuthorCommand, form: Form) -> Result<Exit, Failure> {
    match command {
        AuthorCommand::New(args) => new::new(args, form),
        AuthorCommand::Build(args) => build::build(args, form),
        AuthorCommand::Test(args) => trial::test(args, form),
    }
}
