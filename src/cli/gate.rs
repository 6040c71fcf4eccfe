//! `gate`: looking at gates, and uploading them.

use std::fs;
use std::path::Path;

use http::Method;

use super::args::{GateCommand, Why};
use super::author;
use super::client::Client;
use super::failure::Failure;
use super::screen::{Form, plain};
use super::table::table;
use super::{Exit, gate_list};
use crate::admin::json::{Gate, GateDetail, GateRemoved, GateUpload};
use crate::core::model::GateName;

/// Carries out a command.
pub(super) async fn run(
    client: &Client,
    command: GateCommand,
    form: Form,
) -> Result<Exit, Failure> {
    match command {
        // Carried out before there is a client, and with one of its own where it needs any.
        GateCommand::Author(command) => author::run(&command, no_client, form),
        GateCommand::List => list(client, form).await,
        GateCommand::Show { gate } => {
            let gate: GateDetail = client.get(&format!("/v1/gates/{gate}")).await?;
            form.show(&gate, detail);
            Ok(Exit::Succeeded)
        }
        GateCommand::Push { gate, file, signature, why } => {
            push(client, &gate, &file, signature.as_deref(), why, form).await
        }
        GateCommand::Rm { gate, why } => {
            let path = format!("/v1/gates/{gate}");
            let gone: GateRemoved = client.change(Method::DELETE, &path, &why.body()?).await?;
            form.show(&gone, |gone| format!("gate {} is removed", gone.name));
            Ok(Exit::Succeeded)
        }
    }
}

fn no_client() -> Result<Client, Failure> {
    Err(Failure::Usage("a gate is tried without this client".to_owned(), None))
}

async fn list(client: &Client, form: Form) -> Result<Exit, Failure> {
    let gates: Vec<Gate> = client.get_all("/v1/gates", usize::MAX).await?;
    form.show_all(&gates, gate_list::render);
    Ok(Exit::Succeeded)
}

async fn push(
    client: &Client,
    gate: &GateName,
    file: &Path,
    signature: Option<&Path>,
    why: Why,
    form: Form,
) -> Result<Exit, Failure> {
    let component = read_component(file)?;
    let mut headers = Vec::new();
    if let Some(file) = signature {
        let bytes = read(file)?;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        headers.push(("x-tidegate-signature", digits));
    }
    if let Some(reason) = why.prose()? {
        headers.push(("x-tidegate-reason", String::from(reason)));
    }
    let pushed: GateDetail =
        client.upload(&format!("/v1/gates/{gate}"), component, &headers).await?;
    form.show(&pushed, |pushed| {
        let sha256 = pushed.sha256.map(|digest| digest.to_string()).unwrap_or_default();
        let version = pushed.version.as_deref().map(plain).unwrap_or_default();
        format!("gate {} is {version}, {sha256}, in rollouts that start from now on", pushed.name)
    });
    Ok(Exit::Succeeded)
}

/// Reads a component, unless it is one that would not be taken: whoever refuses it in the middle of
/// the upload may not be heard.
fn read_component(file: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = fs::metadata(file).map_err(|error| unreadable(file, &error))?.len();
    if bytes > GateUpload::LARGEST as u64 {
        let (file, most) = (file.display(), GateUpload::LARGEST);
        let text = format!("{file}: it has {bytes} bytes, a component may have {most}");
        return Err(Failure::Usage(text, None));
    }
    read(file)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::Usage(format!("{}: {error}", file.display()), None)
}

fn detail(gate: &GateDetail) -> String {
    let digest = gate.sha256.map_or("nothing was uploaded".to_owned(), |sha256| sha256.to_string());
    let mut text = format!("gate {}: {digest}", gate.name);
    if let (Some(title), Some(version)) = (&gate.title, &gate.version) {
        text.push_str(&format!("\n{} {}", plain(title), plain(version)));
    }
    if gate.versions.is_empty() {
        return text;
    }
    let row = |version: &GateUpload| {
        [
            version.sha256.to_string(),
            version.uploaded.to_string(),
            plain(&version.by),
            version.signed_by.map(|key| key.to_string()).unwrap_or_default(),
            plain(&version.version),
        ]
    };
    let rows: Vec<_> = gate.versions.iter().map(row).collect();
    text.push('\n');
    text + &table(["SHA-256", "UPLOADED", "BY", "SIGNED BY", "VERSION"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_that_would_not_be_taken_is_not_even_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("own.wasm");
        let file = fs::File::create(&path).expect("made");
        file.set_len(GateUpload::LARGEST as u64 + 1).expect("grown");
        let failure = read_component(&path).expect_err("it is too long").to_string();
        assert!(
            failure.contains("it has 33554433 bytes, a component may have 33554432"),
            "{failure}"
        );
        file.set_len(4).expect("cut");
        assert_eq!(read_component(&path).expect("read"), [0; 4]);
        assert!(read_component(&folder.path().join("none.wasm")).is_err());
    }
}
