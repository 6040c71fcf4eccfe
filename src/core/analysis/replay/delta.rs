//! What changed between two readings of a cohort's counters, as bytes.
//!
//! The first byte says which rows changed: the absolute one, the five metrics', and the targets'
//! counts, those of bad ones and those of what was written and timed, which older logs do not have.
//! Each row that did says which of its six counts grew and by how much, or that it grew
//! just as the row before: an arrival and a good answer are the same in most rows.

use crate::core::analysis::comparison::{Cells, ENDPOINTS, METRICS, Row};

use super::wire::{Bytes, put};

/// Writes how much each count of `to` is above that of `from`; none is below.
pub(super) fn write(out: &mut Vec<u8>, from: &Cells, to: &Cells) {
    let growths = rows(from).zip(rows(to)).map(|(from, to)| growth(from, to));
    let growths: Vec<[u32; COUNTS]> = growths.collect();
    let grew = |growth: &[u32; COUNTS]| growth.iter().any(|count| *count > 0);
    let mut head = 0;
    for (place, growth) in growths.iter().enumerate() {
        head |= u8::from(grew(growth)) << place;
    }
    let by_target = from.bad_by_endpoint != to.bad_by_endpoint;
    let written = |cells: &Cells| (cells.green_written, cells.green_timed);
    let by_writing = written(from) != written(to);
    head |= if by_target { BY_TARGET } else { 0 };
    head |= if by_writing { BY_WRITING } else { 0 };
    out.push(head);
    let mut before = [0; COUNTS];
    for growth in growths.iter().filter(|growth| grew(growth)) {
        if *growth == before {
            out.push(AS_BEFORE);
            continue;
        }
        before = *growth;
        out.push(mask(growth) as u8);
        growth.iter().filter(|count| **count > 0).for_each(|count| put(out, (*count).into()));
    }
    if by_target {
        for (from, to) in from.bad_by_endpoint.iter().zip(&to.bad_by_endpoint) {
            write_targets(out, from, to);
        }
    }
    if by_writing {
        write_targets(out, &from.green_written, &to.green_written);
        write_targets(out, &from.green_timed, &to.green_timed);
    }
}

fn write_targets(out: &mut Vec<u8>, from: &[u32; ENDPOINTS], to: &[u32; ENDPOINTS]) {
    let growth: [u32; ENDPOINTS] =
        std::array::from_fn(|place| to[place].saturating_sub(from[place]));
    put(out, mask(&growth));
    growth.iter().filter(|count| **count > 0).for_each(|count| put(out, (*count).into()));
}

/// Adds what was written to the counts; `None` if it is no growth of these.
pub(super) fn read(bytes: &mut Bytes<'_>, cells: &mut Cells) -> Option<()> {
    let head = bytes.byte()?;
    let mut before = [0; COUNTS];
    for place in (0..=METRICS).filter(|place| head & (1 << place) != 0) {
        let mask = bytes.byte()?;
        if mask != AS_BEFORE {
            before = counts(bytes, mask.into())?;
        }
        let row = if place == 0 { &mut cells.absolute } else { &mut cells.rows[place - 1] };
        *row = grown(*row, before)?;
    }
    if head & BY_TARGET != 0 {
        for counted in &mut cells.bad_by_endpoint {
            read_targets(bytes, counted)?;
        }
    }
    if head & BY_WRITING != 0 {
        read_targets(bytes, &mut cells.green_written)?;
        read_targets(bytes, &mut cells.green_timed)?;
    }
    Some(())
}

fn read_targets(bytes: &mut Bytes<'_>, counted: &mut [u32; ENDPOINTS]) -> Option<()> {
    let mask = bytes.number()?;
    let growth: [u32; ENDPOINTS] = counts(bytes, mask)?;
    for (count, more) in counted.iter_mut().zip(growth) {
        *count = count.checked_add(more)?;
    }
    Some(())
}

fn rows(cells: &Cells) -> impl Iterator<Item = &Row> {
    [&cells.absolute].into_iter().chain(&cells.rows)
}

fn growth(from: &Row, to: &Row) -> [u32; COUNTS] {
    let (from, to) = (fields(*from), fields(*to));
    std::array::from_fn(|place| to[place].saturating_sub(from[place]))
}

fn fields(row: Row) -> [u32; COUNTS] {
    [row.green, row.blue, row.green_bad, row.green_ok, row.blue_bad, row.blue_ok]
}

fn grown(row: Row, growth: [u32; COUNTS]) -> Option<Row> {
    let [green, blue, green_bad, green_ok, blue_bad, blue_ok] = growth;
    Some(Row {
        green: row.green.checked_add(green)?,
        blue: row.blue.checked_add(blue)?,
        green_bad: row.green_bad.checked_add(green_bad)?,
        green_ok: row.green_ok.checked_add(green_ok)?,
        blue_bad: row.blue_bad.checked_add(blue_bad)?,
        blue_ok: row.blue_ok.checked_add(blue_ok)?,
    })
}

/// Which of the counts are above 0, the first in the lowest bit.
fn mask(counts: &[u32]) -> u64 {
    let bit = |(place, count): (usize, &u32)| u64::from(*count > 0) << place;
    counts.iter().enumerate().map(bit).sum()
}

/// Reads the counts of a mask; the others are 0.
fn counts<const N: usize>(bytes: &mut Bytes<'_>, mask: u64) -> Option<[u32; N]> {
    let mut counts = [0; N];
    if mask >> N != 0 {
        return None;
    }
    for (place, count) in counts.iter_mut().enumerate() {
        if mask & (1 << place) != 0 {
            *count = u32::try_from(bytes.number()?).ok()?;
        }
    }
    Some(counts)
}

/// The counts of a row.
const COUNTS: usize = 6;
const BY_TARGET: u8 = 0x40;
/// What was written to targets, and timed.
const BY_WRITING: u8 = 0x80;
/// In the place of a row's mask.
const AS_BEFORE: u8 = 0x40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::analysis::comparison::{Metric, MetricSet};
    use crate::core::model::Side;

    fn cells(outcomes: &[(bool, u8, bool, u8)]) -> Cells {
        let mut cells = Cells::default();
        for (green, metric, bad, target) in outcomes {
            let side = if *green { Side::Green } else { Side::Blue };
            cells.arrive(side, MetricSet::ALL);
            let metric = Metric::ALL[usize::from(*metric) % METRICS];
            cells.settle(metric, side, *bad, Some(usize::from(*target)));
            cells.absolute.settle(side, *bad);
            if *green {
                cells.write(usize::from(*target));
                if *bad {
                    cells.time(usize::from(*target));
                }
            }
        }
        cells
    }

    proptest! {
        #[test]
        fn a_reading_is_read_as_it_was_written(
            early: Vec<(bool, u8, bool, u8)>, more: Vec<(bool, u8, bool, u8)>,
        ) {
            let (from, grown) = (cells(&early), cells(&more));
            let to = from.plus(&grown);
            let mut out = Vec::new();
            write(&mut out, &from, &to);
            let (mut bytes, mut found) = (Bytes(&out), from);
            prop_assert_eq!(read(&mut bytes, &mut found), Some(()));
            prop_assert!(bytes.is_empty());
            prop_assert_eq!(found, to);
        }

        #[test]
        fn nothing_that_is_read_panics(bytes: Vec<u8>) {
            let mut cells = Cells::default();
            let mut bytes = Bytes(&bytes);
            while read(&mut bytes, &mut cells).is_some() && !bytes.is_empty() {}
        }
    }

    #[test]
    fn what_an_older_recorder_wrote_is_read() {
        // Of blue one arrival in the absolute row, and one failure of green by target 1.
        let old = [0x41, 2, 1, 2, 1, 0, 0, 0, 0];
        let (mut bytes, mut found) = (Bytes(&old), Cells::default());
        assert_eq!(read(&mut bytes, &mut found), Some(()));
        let mut wanted = Cells::default();
        wanted.absolute.arrive(Side::Blue);
        wanted.bad_by_endpoint[0][1] = 1;
        assert_eq!((found, bytes.is_empty()), (wanted, true));
        let mut out = Vec::new();
        write(&mut out, &Cells::default(), &wanted);
        assert_eq!(out, old, "nor is anything else written of it");
    }

    #[test]
    fn an_arrival_takes_a_few_bytes() {
        let mut out = Vec::new();
        write(&mut out, &Cells::default(), &cells(&[]));
        assert_eq!(out, [0]);
        out.clear();
        let mut arrived = Cells::default();
        arrived.arrive(Side::Blue, MetricSet::ALL);
        write(&mut out, &Cells::default(), &arrived);
        assert_eq!(out.len(), 1 + 2 + METRICS);
    }
}
