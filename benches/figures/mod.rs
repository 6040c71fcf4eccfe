//! What a bench found out: a table of figures, each with its bar and whether it was held.

/// A figure of the table.
#[derive(Debug)]
pub(crate) struct Figure {
    /// Of what.
    pub(crate) name: &'static str,
    /// What was found.
    pub(crate) found: f64,
    /// In what.
    pub(crate) unit: &'static str,
    /// The most that it may be; `None`: there is no bar.
    pub(crate) bar: Option<f64>,
}

impl Figure {
    fn is_above(&self, times: f64) -> bool {
        self.bar.is_some_and(|bar| self.found > bar * times)
    }

    #[expect(clippy::print_stdout, reason = "what a bench is for")]
    fn tell(&self) {
        let Self { name, found, unit, bar } = self;
        let said = match bar {
            Some(bar) if found <= bar => format!("PASS, at most {bar}"),
            Some(bar) => format!("MISS, at most {bar}"),
            None => "no bar".to_owned(),
        };
        println!("{name:<52} {found:>9.3} {unit:<12} {said}");
    }
}

/// Tells the table, and fails if a figure is above so many times its bar.
pub(crate) fn tell(figures: &[Figure], times: f64) {
    figures.iter().for_each(Figure::tell);
    let missed = figures.iter().find(|figure| figure.is_above(times));
    assert!(missed.is_none(), "above {times} times its bar: {missed:?}");
}
