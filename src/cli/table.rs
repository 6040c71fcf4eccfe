//! Tables without borders.

use anstream::adapter::strip_str;
use comfy_table::Table;
use comfy_table::presets::NOTHING;

/// Lines up rows under a header. Cells may have colours; they are applied after the lining up,
/// which must not count them as text.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| strip_str(cell).to_string()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut lines = table.lines();
    let mut shown = lines.next().unwrap_or_default().trim_end().to_owned();
    for (line, row) in lines.zip(rows) {
        shown.push('\n');
        shown.push_str(&coloured(line.trim_end(), row));
    }
    shown
}

/// Puts the cells with their colours in the place of their texts, from left to right.
fn coloured<const N: usize>(line: &str, row: &[String; N]) -> String {
    let mut shown = String::new();
    let mut rest = line;
    for cell in row {
        let text = strip_str(cell).to_string();
        if let Some((before, after)) = rest.split_once(text.trim_end()) {
            shown.push_str(before);
            shown.push_str(cell.trim_end());
            rest = after;
        }
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::style;

    #[test]
    fn columns_line_up_whatever_their_colours() {
        let bad = style::BAD;
        let rows = [
            ["shop".to_owned(), format!("{bad}1/2{bad:#}"), "x".to_owned()],
            ["a-long-name".to_owned(), "2/2".to_owned(), String::new()],
        ];
        let shown = table(["SERVICE", "HEALTHY", "NOTE"], &rows);
        assert_eq!(
            strip_str(&shown).to_string(),
            "SERVICE      HEALTHY  NOTE\n\
             shop         1/2      x\n\
             a-long-name  2/2"
        );
        assert!(shown.contains(&format!("{bad}1/2{bad:#}")));
    }
}
