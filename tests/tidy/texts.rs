//! What no file says: where it was written, and from where its dependencies came.

/// Finds paths into somebody's home, and sources of crates other than by their names.
pub(crate) fn machine_paths((path, text): &(String, String)) -> Vec<String> {
    let said = |line: &str| forbidden().iter().any(|text| goes_on(line, text));
    let lines = text.lines().enumerate().filter(|(_, line)| said(line));
    lines.map(|(at, line)| format!("{path}:{}: {}", at + 1, line.trim())).collect()
}

/// The sources in a lock file that are not the public registry.
pub(crate) fn other_sources(lock: &str) -> Vec<&str> {
    lock.lines()
        .filter_map(|line| line.strip_prefix("source = "))
        .filter(|source| source.trim_matches('"') != PUBLIC_REGISTRY)
        .collect()
}

/// Whether a line has a text with the beginning of a name behind it.
fn goes_on(line: &str, text: &str) -> bool {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == ':';
    line.match_indices(text).any(|(at, _)| line[at + text.len()..].starts_with(name))
}

/// The texts, put together here so that this file does not hold them.
fn forbidden() -> [String; 5] {
    [
        ["", "home", ""].join("/"),
        ["", "Users", ""].join("/"),
        ["", "root", ""].join("/"),
        ["registry", "src", ""].join("/"),
        ["sparse", "http"].join("+"),
    ]
}

const PUBLIC_REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[test]
fn a_path_into_a_home_is_found() {
    let found = |text: String| machine_paths(&("x".to_owned(), text)).len();
    for folder in ["home", "Users", "root"] {
        assert_eq!(found(format!("see /{folder}/someone/x")), 1, "{folder}");
        assert_eq!(found(format!("remap $HOME /{folder}")), 0, "{folder}");
    }
    assert_eq!(found("GET /home".to_owned()), 0);
}

#[test]
fn a_crate_from_elsewhere_is_found() {
    let lock = format!("source = \"{PUBLIC_REGISTRY}\"\nsource = \"git+https://example.com/x\"\n");
    assert_eq!(other_sources(&lock), ["\"git+https://example.com/x\""]);
}
