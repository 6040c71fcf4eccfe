//! How each language becomes a component: which tools are called, and where they come from.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::project::{Language, Project};
use crate::cli::failure::Failure;

/// What the tools have made.
#[derive(Debug)]
pub(super) enum Built {
    /// The component itself, in its place.
    Component,
    /// A core module that has to be wrapped.
    CoreModule(PathBuf),
}

/// Calls the tools of a gate's language.
pub(super) fn compile(
    project: &Project,
    folder: &Path,
    component: &Path,
) -> Result<Built, Failure> {
    match project.language {
        Language::Rust => rust(folder),
        Language::Js => js(project, folder, component),
        Language::Python => python(project, folder, component),
        Language::C => c(project, folder),
    }
}

/// The target of the toolchain in use, or where it cannot be had, Debian's compiler, which builds
/// the standard library from its source package.
fn rust(folder: &Path) -> Result<Built, Failure> {
    let target_folder = folder.join("target");
    let has_target = Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let mut cargo = if has_target { Command::new("cargo") } else { debian_cargo()? };
    cargo.args(["build", "--release", "--target", TARGET, "--target-dir"]).arg(&target_folder);
    if !has_target {
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    let rust = "install Rust (https://rustup.rs), or on Debian: apt-get install rustc-web \
                cargo-web rust-web-src lld-19";
    call(&mut cargo, folder, rust)?;
    Ok(Built::CoreModule(target_folder.join(TARGET).join("release/component.wasm")))
}

fn debian_cargo() -> Result<Command, Failure> {
    let needed = [
        ("/usr/bin/rustc", "rustc-web"),
        ("/usr/bin/cargo", "cargo-web"),
        ("/usr/lib/rustlib/src/rust/library", "rust-web-src"),
        ("/usr/bin/wasm-ld-19", "lld-19"),
    ];
    let absent = needed.iter().filter(|(path, _)| !Path::new(path).exists());
    let missing: Vec<&str> = absent.map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        let why = format!("the target {TARGET} is not there, and rustup cannot add it");
        let fix = format!(
            "rustup target add {TARGET}, or on Debian: apt-get install {}",
            missing.join(" ")
        );
        return Err(Failure::Usage(why, Some(fix)));
    }
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", "/usr/bin/rustc")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld-19")
        .env_remove("RUSTUP_TOOLCHAIN");
    Ok(cargo)
}

/// QuickJS, without WASI.
fn js(project: &Project, folder: &Path, component: &Path) -> Result<Built, Failure> {
    let tool = folder.join("node_modules/.bin/componentize-qjs");
    if !tool.exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund"]);
        call(&mut npm, folder, "install Node.js with npm; on Debian: apt-get install npm")?;
    }
    let mut command = Command::new(tool);
    command
        .args(["--wit", "wit", "--world", project.world.as_str(), "--js", "gate.js"])
        .args(["--sync", "--stub-wasi", "--output"])
        .arg(component);
    call(&mut command, folder, "npm install, in the folder of the gate")?;
    Ok(Built::Component)
}

/// CPython, without WASI.
fn python(project: &Project, folder: &Path, component: &Path) -> Result<Built, Failure> {
    let own = folder.join(".venv/bin/componentize-py");
    let mut command = Command::new(if own.exists() { own.as_os_str() } else { OsStr::new(PYTHON) });
    command
        .args(["--wit-path", "wit", "--world", project.world.as_str(), "componentize"])
        .args(["--stub-wasi", "app", "--output"])
        .arg(component);
    let fix = "python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1, in the \
               folder of the gate; on Debian, python3-venv has what that needs";
    call(&mut command, folder, fix)?;
    Ok(Built::Component)
}

/// Bindings from wit-bindgen, and clang with WASI's C library, of which nothing reaches WASI.
fn c(project: &Project, folder: &Path) -> Result<Built, Failure> {
    let built = folder.join("build");
    std::fs::create_dir_all(&built)
        .map_err(|error| Failure::Usage(format!("{}: {error}", built.display()), None))?;
    let mut bindgen = Command::new("wit-bindgen");
    bindgen.args(["c", "--world", project.world.as_str(), "--rename-world", "bindings"]).args([
        "--out-dir",
        "build",
        "wit",
    ]);
    let fix = "cargo install wit-bindgen-cli --version 0.61.1 --locked --no-default-features \
               --features c";
    call(&mut bindgen, folder, fix)?;
    let mut clang = Command::new("clang-19");
    clang
        .args(["--target=wasm32-wasi", "--sysroot=/usr", "-isystem", "/usr/include/wasm32-wasi"])
        .args(["-Os", "-Wall", "-mexec-model=reactor", "-Ibuild", "-o", "build/core.wasm"])
        .args(["gate.c", "build/bindings.c", "build/bindings_component_type.o"])
        .arg("-Wl,--strip-debug");
    let fix = "on Debian: apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32";
    call(&mut clang, folder, fix)?;
    Ok(Built::CoreModule(built.join("core.wasm")))
}

/// Calls a tool in a folder and waits for it. What it says goes to the standard error, so that the
/// standard output has the result alone.
fn call(command: &mut Command, folder: &Path, fix: &str) -> Result<(), Failure> {
    let tool = Path::new(command.get_program()).file_name().unwrap_or_default();
    let tool = tool.to_string_lossy().into_owned();
    let status =
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::from(io::stderr())).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        // The tool is there, but something that it needs may not be.
        Ok(status) => Err(Failure::Usage(
            format!("{tool} ended with {status}; what it said stands above"),
            Some(format!("if something is missing: {fix}")),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::Usage(format!("{tool} is not there"), Some(fix.to_owned())))
        }
        Err(error) => Err(Failure::Usage(format!("{tool} cannot be called: {error}"), None)),
    }
}

const TARGET: &str = "wasm32-unknown-unknown";
const PYTHON: &str = "componentize-py";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_not_there_is_named_with_the_package_that_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("no-such-tool-19");
        let failure = call(&mut command, folder.path(), "apt-get install it").expect_err("none");
        let text = anstream::adapter::strip_str(&failure.to_string()).to_string();
        assert_eq!(text, "error: no-such-tool-19 is not there\nfix: apt-get install it");
    }

    #[test]
    fn a_tool_that_fails_says_how_it_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let failure = call(&mut Command::new("false"), folder.path(), "x").expect_err("it fails");
        assert!(failure.to_string().contains("false ended with exit status: 1"), "{failure}");
        assert!(call(&mut Command::new("true"), folder.path(), "x").is_ok());
    }
}
