//! The `tidegate` binary.

fn main() {
    let file = std::env::args().nth(2).unwrap();
    let file = std::path::Path::new(&file);
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let config = tidegate::config::Config::load(file).unwrap_or_else(|e| panic!("{e}"));
    tidegate::app::serve(config, file).unwrap();
}
