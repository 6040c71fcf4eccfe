//! `gate`: looking at gates.

use super::Exit;
use super::client::Client;
use super::failure::Failure;
use super::screen::Form;
use super::table::table;
use crate::admin::json::Gate;

/// Lists all gates.
pub(super) async fn list(client: &Client, form: Form) -> Result<Exit, Failure> {
    let gates: Vec<Gate> = client.get_all("/v1/gates", usize::MAX).await?;
    form.show_all(&gates, |gates| {
        let row = |gate: &Gate| [gate.name.to_string(), gate.sha256.to_string()];
        table(["GATE", "SHA-256"], &gates.iter().map(row).collect::<Vec<_>>())
    });
    Ok(Exit::Succeeded)
}
