//! Lines that are redrawn in place at the bottom of a terminal.
//!
//! This is not `indicatif`, because that fills every line to the right edge
//! and lets the terminal wrap to the next: when the window is then made
//! narrower or wider, the terminal reflows the lines and each redraw leaves
//! debris behind; the `^C` that a terminal echoes shifts its lines by one; and
//! of more lines than fit it drops the last ones, which are the active ones.
//! See `docs/adr/` on live progress.
//!
//! Here every line ends with a line feed and never reaches the edge, and the
//! cursor rests at the start of the line below. A frame is one write, the
//! cursor is never hidden, so that a killed process leaves a usable terminal.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::output::text;

/// What stands at the bottom of the terminal.
#[derive(Debug, Default)]
pub struct Screen {
    lines: Vec<String>,
    width: usize,
}

impl Screen {
    /// Replaces what stands there. Lines must be narrower than `width`, the
    /// terminal's columns now.
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub fn draw(&mut self, to: &mut dyn Write, lines: Vec<String>, width: usize) -> io::Result<()> {
        if lines == self.lines && width == self.width {
            return Ok(());
        }
        let mut frame = self.back(width);
        // Overwrite, then clear what is left: clearing first would flicker.
        for line in &lines {
            let _ = writeln!(frame, "{line}\x1b[K");
        }
        frame.push_str("\x1b[J");
        self.lines = lines;
        self.width = width;
        to.write_all(frame.as_bytes())?;
        to.flush()
    }

    /// Writes text that stays, above what is redrawn.
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub fn above(&mut self, to: &mut dyn Write, text: &str, width: usize) -> io::Result<()> {
        if self.lines.is_empty() {
            to.write_all(text.as_bytes())?;
            return to.flush();
        }
        let mut frame = self.erase(width);
        frame.push_str(text);
        if !text.ends_with('\n') {
            frame.push('\n');
        }
        for line in &self.lines {
            let _ = writeln!(frame, "{line}");
        }
        self.width = width;
        to.write_all(frame.as_bytes())?;
        to.flush()
    }

    /// Takes everything away, and returns it for a later [`Screen::draw`].
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub fn take(&mut self, to: &mut dyn Write, width: usize) -> io::Result<Vec<String>> {
        if self.lines.is_empty() {
            return Ok(Vec::new());
        }
        to.write_all(self.erase(width).as_bytes())?;
        to.flush()?;
        Ok(std::mem::take(&mut self.lines))
    }

    /// The erasure of all rows, from the last to the first. Clearing all at
    /// once from the first would not do: where that is the top of the window,
    /// tmux takes it for a cleared screen, and keeps the lines in its history.
    fn erase(&self, width: usize) -> String {
        format!(
            "\r\x1b[J{}",
            "\x1b[A\x1b[2K".repeat(rows(&self.lines, width))
        )
    }

    /// The movement to the start of the first line, where the terminal is now
    /// so wide. Terminals that reflow have broken each line that no longer
    /// fits into several.
    fn back(&self, width: usize) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        format!("\r\x1b[{}A", rows(&self.lines, width))
    }
}

fn rows(lines: &[String], width: usize) -> usize {
    lines
        .iter()
        .map(|line| text::width(line).div_ceil(width.max(1)).max(1))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that understands the sequences; a line feed returns too, as
    /// a terminal's line discipline makes it.
    struct Emulator(vt100::Parser);

    impl Emulator {
        fn new(rows: u16, columns: u16) -> Self {
            Self(vt100::Parser::new(rows, columns, 100))
        }

        fn contents(&self) -> String {
            self.0.screen().contents()
        }
    }

    impl Write for Emulator {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            for byte in bytes {
                if *byte == b'\n' {
                    self.0.process(b"\r\n");
                } else {
                    self.0.process(&[*byte]);
                }
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(of: &[&str]) -> Vec<String> {
        of.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn frames_replace_one_another() {
        let mut terminal = Emulator::new(6, 20);
        let mut screen = Screen::default();
        screen
            .draw(&mut terminal, lines(&["one long line", "two", "three"]), 20)
            .unwrap();
        screen.draw(&mut terminal, lines(&["1", "2"]), 20).unwrap();
        assert_eq!(terminal.contents(), "1\n2");
        screen
            .draw(&mut terminal, lines(&["a", "b", "c", "d"]), 20)
            .unwrap();
        assert_eq!(terminal.contents(), "a\nb\nc\nd");
    }

    #[test]
    fn text_above_stays_and_scrolls() {
        let mut terminal = Emulator::new(4, 20);
        let mut screen = Screen::default();
        screen.draw(&mut terminal, lines(&["x", "y"]), 20).unwrap();
        screen.above(&mut terminal, "note 1\nnote 2\n", 20).unwrap();
        screen
            .draw(&mut terminal, lines(&["x!", "y!"]), 20)
            .unwrap();
        assert_eq!(terminal.contents(), "note 2\nx!\ny!");
    }

    #[test]
    fn the_echo_of_an_interrupt_is_wiped_out() {
        let mut terminal = Emulator::new(5, 20);
        let mut screen = Screen::default();
        screen.draw(&mut terminal, lines(&["x", "y"]), 20).unwrap();
        terminal.write_all(b"^C").unwrap();
        screen
            .draw(&mut terminal, lines(&["x", "stopping"]), 20)
            .unwrap();
        assert_eq!(terminal.contents(), "x\nstopping");
    }

    #[test]
    fn taking_leaves_nothing_but_what_stood_above() {
        let mut terminal = Emulator::new(5, 20);
        let mut screen = Screen::default();
        screen.above(&mut terminal, "kept\n", 20).unwrap();
        screen.draw(&mut terminal, lines(&["x", "y"]), 20).unwrap();
        assert_eq!(screen.take(&mut terminal, 20).unwrap(), lines(&["x", "y"]));
        assert_eq!(terminal.contents(), "kept");
        assert!(screen.take(&mut terminal, 20).unwrap().is_empty());
    }

    #[test]
    fn a_narrower_terminal_has_reflowed_the_last_frame() {
        let mut screen = Screen::default();
        let mut first = Vec::new();
        screen
            .draw(&mut first, lines(&["123456789012345", "12"]), 20)
            .unwrap();
        let mut second = Vec::new();
        screen.draw(&mut second, lines(&["1", "2"]), 10).unwrap();
        assert!(String::from_utf8(second).unwrap().starts_with("\r\x1b[3A"));
    }

    #[test]
    fn an_unchanged_frame_costs_nothing() {
        let mut screen = Screen::default();
        screen.draw(&mut Vec::new(), lines(&["x"]), 20).unwrap();
        let mut again = Vec::new();
        screen.draw(&mut again, lines(&["x"]), 20).unwrap();
        assert!(again.is_empty());
    }
}
