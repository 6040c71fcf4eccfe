//! Tidiness: what a reviewer would otherwise check by eye, of every file in the repository.
//!
//! The rules are tables at the foot of the modules below; the checks that read them are small
//! functions, each with a test that shows it can fail. A rule that is in the way is changed in its
//! table, where it can be seen, and never worked around.

mod code;
mod commands;
mod crates;
mod layers;
mod shape;
mod texts;
mod tree;

use tree::SourceFile;

/// Applies a check to every Rust file and fails with everything that it found.
fn every_file(files: &[SourceFile], check: impl Fn(&SourceFile) -> Vec<String>) {
    assert!(!files.is_empty(), "there are no files to look at");
    let found: Vec<String> = files.iter().flat_map(check).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn modules_use_only_what_their_layer_may_use() {
    every_file(&tree::rust_files("src"), layers::check);
}

#[test]
fn every_exception_from_the_layers_is_needed() {
    let unneeded = layers::unneeded_exceptions(&tree::rust_files("src"));
    assert!(unneeded.is_empty(), "no longer needed: {unneeded:?}");
}

#[test]
fn crates_stay_in_the_modules_that_they_were_chosen_for() {
    every_file(&tree::rust_files("src"), crates::check);
}

#[test]
fn every_dependency_says_where_it_may_be_used() {
    let unplaced = crates::unplaced(&tree::read("Cargo.toml"));
    assert!(unplaced.is_empty(), "{unplaced:?} have no line in the table of crates");
}

#[test]
fn files_are_short_and_say_what_they_are() {
    for folder in ["src", "tests", "benches"] {
        every_file(&tree::rust_files(folder), |file| {
            [shape::too_long(file), shape::without_doc(file)].concat()
        });
    }
    for note in tree::rust_files("src").iter().filter_map(shape::large) {
        tell(&note);
    }
}

#[test]
fn no_test_is_ignored_and_no_lint_is_switched_off() {
    for folder in ["src", "tests", "benches"] {
        every_file(&tree::rust_files(folder), shape::forbidden_attributes);
    }
}

#[test]
fn nothing_is_unwrapped_or_left_to_do_outside_of_tests() {
    every_file(&tree::rust_files("src"), shape::forbidden_calls);
}

#[test]
fn the_clock_is_read_in_one_file() {
    every_file(&tree::rust_files("src"), shape::clocks);
}

#[test]
fn no_lock_stands_between_the_load_of_the_table_and_the_target() {
    every_file(&tree::rust_files("src"), shape::locks);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let found: Vec<String> = tree::text_files().iter().flat_map(texts::machine_paths).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_crate_comes_from_the_public_registry() {
    let lock = tree::read("Cargo.lock");
    let found = texts::other_sources(&lock);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn every_quoted_command_says_what_is_wanted() {
    let quoted = commands::quoted();
    assert!(!quoted.is_empty(), "no block of shell with `tidegate` in it was found");
    for command in quoted {
        assert!(command.words.len() > 1, "{}: {:?}", command.at, command.words);
    }
}

#[test]
fn every_quoted_command_parses() {
    for command in commands::quoted() {
        let parsed = tidegate::cli::command().try_get_matches_from(&command.words);
        assert!(parsed.is_ok(), "{}: {parsed:?}", command.at);
    }
}

#[expect(clippy::print_stdout, reason = "a note for whoever reads the output, not a failure")]
fn tell(note: &str) {
    println!("{note}");
}
