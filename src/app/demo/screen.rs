//! How the demo shows itself: lines for what happens, and a status.
//!
//! On a terminal the status is a block that is drawn again in place, below the lines. Elsewhere it
//! is a line now and then. For machines everything is one JSON object a line.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::happening::{Happening, Tone};
use super::status::{RolloutStatus, SideStatus, Status};
use super::summary::Summary;

/// For whom the demo shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A person at a terminal that understands escape sequences.
    Terminal,
    /// A file, a pipe, or a person who wants no colour.
    Plain,
    /// A program.
    Json,
}

/// Where it is shown, and what is on it.
pub(super) struct Screen<'a> {
    mode: Mode,
    out: &'a mut dyn Write,
    /// How many lines of the status stand at the end of the terminal.
    drawn: usize,
    /// When the status was last shown; `None` before the first time.
    shown_ms: Option<u64>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(mode: Mode, out: &'a mut dyn Write) -> Self {
        Self { mode, out, drawn: 0, shown_ms: None }
    }

    /// Says what comes now.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        match self.mode {
            Mode::Terminal => self.line(&paint(Style::new().bold(), text)),
            Mode::Plain => self.line(text),
            Mode::Json => self.json(&json!({ "note": text })),
        }
    }

    /// Shows something that happened.
    pub(super) fn happened(&mut self, at_ms: u64, happening: &Happening) -> io::Result<()> {
        match self.mode {
            Mode::Terminal => {
                let text = paint(style_of(happening.tone), &happening.text);
                self.line(&format!("{} {text}", paint(DIM, &seconds(at_ms))))
            }
            Mode::Plain => self.line(&format!("{} {}", seconds(at_ms), happening.text)),
            Mode::Json => self.json(&happening.json(at_ms)),
        }
    }

    /// Shows where everything stands, as often as it is of use.
    pub(super) fn status(&mut self, status: &Status) -> io::Result<()> {
        let gap_ms = match self.mode {
            Mode::Terminal => 0,
            Mode::Plain | Mode::Json => STATUS_GAP_MS,
        };
        if self.shown_ms.is_some_and(|shown_ms| status.at_ms < shown_ms + gap_ms) {
            return Ok(());
        }
        self.shown_ms = Some(status.at_ms);
        match self.mode {
            Mode::Terminal => {
                let lines = block(status);
                self.erase()?;
                // A line that is too long is cut off, or the next one would not find the block.
                self.out.write_all(NO_WRAP.as_bytes())?;
                for line in &lines {
                    writeln!(self.out, "{line}")?;
                }
                self.out.write_all(WRAP.as_bytes())?;
                self.drawn = lines.len();
                self.out.flush()
            }
            Mode::Plain => self.line(&line(status)),
            Mode::Json => self.json(&json!({ "status": status })),
        }
    }

    /// Shows the end.
    pub(super) fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        match self.mode {
            Mode::Terminal | Mode::Plain => {
                let text = summary.to_string();
                self.line(&format!("\n{text}"))
            }
            Mode::Json => self.json(&json!({ "summary": summary })),
        }
    }

    fn json(&mut self, value: &Value) -> io::Result<()> {
        self.line(&value.to_string())
    }

    /// Writes a line where the status was; the next status comes below it.
    fn line(&mut self, text: &str) -> io::Result<()> {
        self.erase()?;
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    fn erase(&mut self) -> io::Result<()> {
        let drawn = std::mem::take(&mut self.drawn);
        if drawn > 0 {
            // Up to the block's first line, then clear all below.
            write!(self.out, "\x1b[{drawn}A\r\x1b[J")?;
        }
        Ok(())
    }
}

/// The status as a block of lines with colours.
fn block(status: &Status) -> Vec<String> {
    let weight = format!("{:>4}", status.weight.to_string());
    let bar = paint(GREEN, &bar(status.weight.bp()));
    let title = format!("act {}: {}", status.act, status.title);
    let errors = match status.shift_errors {
        0 => paint(GREEN, "0"),
        some => paint(RED, &some.to_string()),
    };
    let alarm = status.alarm.as_str();
    vec![
        String::new(),
        format!("{} {}", paint(DIM, &seconds(status.at_ms)), paint(Style::new().bold(), &title)),
        format!("  green {bar} {weight}   {}", progress(status.rollout.as_ref())),
        format!("  {}  {}", paint(BLUE, "blue "), side(&status.blue)),
        format!("  {}  {}", paint(GREEN, "green"), side(&status.green)),
        format!("  alarm  {alarm:<18} gate  {}", status.gate.as_deref().unwrap_or("not asked yet")),
        format!("  holds  {}", paint(YELLOW, &holds(status.rollout.as_ref()))),
        format!("  errors caused by the shift  {errors}"),
    ]
}

/// The status in one line.
fn line(status: &Status) -> String {
    format!(
        "{} act {}: green {}, {} | blue {} | green {} | alarm {} | holds {} | shift errors {}",
        seconds(status.at_ms),
        status.act,
        status.weight,
        progress(status.rollout.as_ref()),
        side(&status.blue),
        side(&status.green),
        status.alarm,
        holds(status.rollout.as_ref()),
        status.shift_errors,
    )
}

fn progress(rollout: Option<&RolloutStatus>) -> String {
    let Some(rollout) = rollout else {
        return "no rollout yet".to_owned();
    };
    let (step, steps) = rollout.step;
    match rollout.bake_ms {
        Some((watched, length)) => format!(
            "{}, step {step}/{steps}, bake {} of {}",
            rollout.state,
            short_seconds(watched),
            short_seconds(length)
        ),
        None => rollout.state.to_string(),
    }
}

fn side(side: &SideStatus) -> String {
    let SideStatus { healthy, targets, requests_per_second, failed, .. } = side;
    let revision = side.revision.as_deref().unwrap_or("-");
    format!(
        "{revision:<3} {healthy}/{targets} healthy, {requests_per_second:>4} requests/s, {failed} failed"
    )
}

fn holds(rollout: Option<&RolloutStatus>) -> String {
    let holds = rollout.map(|rollout| rollout.holds.as_slice()).unwrap_or_default();
    if holds.is_empty() { "none".to_owned() } else { holds.join("; ") }
}

/// A bar of [`BAR`] cells.
fn bar(bp: u16) -> String {
    let full = usize::from(bp) * BAR / 10_000;
    format!("▕{}{}▏", "█".repeat(full), "░".repeat(BAR - full))
}

fn seconds(ms: u64) -> String {
    format!("[{:>6}]", short_seconds(ms))
}

/// Seconds with one decimal.
fn short_seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn style_of(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => GREEN,
        Tone::Bad => RED,
        Tone::Waiting => YELLOW,
    }
}

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const BLUE: Style = AnsiColor::Blue.on_default();
const DIM: Style = Style::new().dimmed();
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
const BAR: usize = 20;
const STATUS_GAP_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::super::status::tests::shifting;
    use super::*;

    fn shown(mode: Mode, show: impl FnOnce(&mut Screen<'_>)) -> String {
        let mut out = Vec::new();
        show(&mut Screen::new(mode, &mut out));
        String::from_utf8(out).unwrap()
    }

    fn raised() -> Happening {
        Happening {
            seq: 9,
            kind: "green_raised".to_owned(),
            detail: json!({ "from": "10%", "to": "25%" }),
            text: "green raised: 10% to 25%".to_owned(),
            tone: Tone::Good,
        }
    }

    #[test]
    fn a_weight_fills_its_share_of_the_bar() {
        assert_eq!(bar(0), format!("▕{}▏", "░".repeat(20)));
        assert_eq!(bar(2_500), format!("▕{}{}▏", "█".repeat(5), "░".repeat(15)));
        assert_eq!(bar(10_000), format!("▕{}▏", "█".repeat(20)));
    }

    #[test]
    fn the_plain_status_is_one_line_without_escapes() {
        let text = shown(Mode::Plain, |screen| screen.status(&shifting()).unwrap());
        assert_eq!(
            text,
            "[12.3 s] act 1: green 25%, shifting, step 2/4, bake 1.2 s of 3.0 s \
             | blue v1  2/2 healthy,  301 requests/s, 0 failed \
             | green v2  2/2 healthy,   99 requests/s, 7 failed \
             | alarm OK | holds alarm shop-errors says INSUFFICIENT_DATA | shift errors 0\n"
        );
    }

    #[test]
    fn before_a_rollout_the_status_says_so() {
        let status = Status { rollout: None, gate: None, ..shifting() };
        let text = shown(Mode::Plain, |screen| screen.status(&status).unwrap());
        assert!(text.contains("no rollout yet") && text.contains("holds none"), "{text}");
        let text = block(&status).join("\n");
        assert!(text.contains("not asked yet"), "{text}");
    }

    #[test]
    fn a_status_in_lines_comes_once_a_second_and_on_a_terminal_always() {
        let count = |mode| {
            let show = |screen: &mut Screen<'_>| {
                for at_ms in (0..=2_000).step_by(100) {
                    screen.status(&Status { at_ms, ..shifting() }).unwrap();
                }
            };
            shown(mode, show).matches("INSUFFICIENT_DATA").count()
        };
        assert_eq!([Mode::Plain, Mode::Json, Mode::Terminal].map(count), [3, 3, 21]);
    }

    #[test]
    fn the_block_on_a_terminal_is_drawn_again_in_its_place() {
        let lines = block(&shifting()).len();
        let text = shown(Mode::Terminal, |screen| {
            screen.status(&shifting()).unwrap();
            screen.status(&shifting()).unwrap();
            screen.happened(12_400, &raised()).unwrap();
            screen.happened(12_400, &raised()).unwrap();
        });
        let up = format!("\x1b[{lines}A\r\x1b[J");
        assert_eq!(text.matches(&up).count(), 2, "for the second block, and for the first line");
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn colours_are_for_terminals() {
        let show = |screen: &mut Screen<'_>| screen.happened(5_000, &raised()).unwrap();
        assert_eq!(shown(Mode::Plain, show), "[ 5.0 s] green raised: 10% to 25%\n");
        assert!(shown(Mode::Terminal, show).contains(&paint(GREEN, "green raised: 10% to 25%")));
    }

    #[test]
    fn machines_get_one_object_a_line() {
        let text = shown(Mode::Json, |screen| {
            screen.say("act 1").unwrap();
            screen.happened(5_000, &raised()).unwrap();
            screen.status(&shifting()).unwrap();
        });
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["note"], "act 1");
        assert_eq!(lines[1]["event"]["kind"], "green_raised");
        let status = &lines[2]["status"];
        assert_eq!((&status["weight"], &status["alarm"]), (&json!("25%"), &json!("OK")));
        assert_eq!(status["rollout"]["step"], json!([2, 4]));
        assert_eq!(status["green"]["failed"], 7);
    }
}
