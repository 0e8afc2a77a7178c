use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::*;
use crate::testing::{CapturedOutput, TerminalEmulator};

const STYLE: Style = Style {
    colour: false,
    unicode: true,
};

fn text(lines: &[&str]) -> Vec<LiveLine> {
    lines
        .iter()
        .map(|line| LiveLine::Text((*line).to_owned()))
        .collect()
}

/// Returns live lines at the end of an emulated terminal.
fn emulated_lines(rows: u16, columns: u16) -> (LiveLines, TerminalEmulator) {
    let emulator = TerminalEmulator::new(rows, columns);
    let size = Box::new(move || Some((rows, columns)));
    (
        LiveLines::new(ProgressTerminal::new(Box::new(emulator.clone()), size)),
        emulator,
    )
}

/// Returns live lines with their captured bytes, on a terminal with variable columns.
fn captured_lines(columns: u16) -> (LiveLines, CapturedOutput, Arc<AtomicU16>) {
    let (bytes, columns) = (CapturedOutput::default(), Arc::new(AtomicU16::new(columns)));
    let current = Arc::clone(&columns);
    let size = Box::new(move || Some((24, current.load(Ordering::Relaxed))));
    let lines = LiveLines::new(ProgressTerminal::new(Box::new(bytes.clone()), size));
    (lines, bytes, columns)
}

#[test]
fn frame_replaces_the_previous_one() {
    let (lines, terminal) = emulated_lines(6, 20);
    for (frame, expected) in [
        (
            vec!["one long line", "two", "three"],
            "one long line\ntwo\nthree",
        ),
        (vec!["1", "", "2"], "1\n\n2"),
        (vec!["a", "b", "c", "d"], "a\nb\nc\nd"),
        (vec![], ""),
        (vec!["again"], "again"),
    ] {
        lines.draw(text(&frame), STYLE, false).unwrap();
        assert_eq!(terminal.contents(), expected);
        assert_eq!(terminal.cursor(), (u16::try_from(frame.len()).unwrap(), 0));
    }
}

#[test]
fn draw_advances_spinners_and_bars() {
    let (lines, terminal) = emulated_lines(6, 60);
    let bar = |done| LiveLine::Bar {
        prefix: "x pulling ".into(),
        current: done,
        total: 10,
        suffix: " of 10".into(),
    };
    for (done, expected) in [
        (0, "⠙ x pulling ──────────────────── of 10\n⠙ y"),
        (5, "⠹ x pulling ━━━━━━━━━━────────── of 10\n⠹ y"),
        (10, "⠸ x pulling ━━━━━━━━━━━━━━━━━━━━ of 10\n⠸ y"),
    ] {
        let frame = vec![bar(done), LiveLine::Spinner("y".into())];
        lines.draw(frame, STYLE, true).unwrap();
        assert_eq!(terminal.contents(), expected);
    }
    // A bar that becomes a text has neither spinner nor bar.
    lines.draw(text(&["x ready"]), STYLE, true).unwrap();
    assert_eq!(terminal.contents(), "x ready");
}

#[test]
fn text_above_the_lines_stays_and_scrolls() {
    let (lines, terminal) = emulated_lines(4, 20);
    lines.draw(text(&["x", "y"]), STYLE, false).unwrap();
    lines.write_above("note 1\nnote 2\n").unwrap();
    assert_eq!(terminal.contents(), "note 2\nx\ny");
    lines.draw(text(&["x!", "y!"]), STYLE, false).unwrap();
    assert_eq!(terminal.contents(), "note 2\nx!\ny!");
}

#[test]
fn long_text_above_the_lines_is_written_unbroken() {
    let (lines, bytes, _) = captured_lines(20);
    lines.draw(text(&["x"]), STYLE, false).unwrap();
    let long = "0123456789".repeat(5) + "\n";
    lines.write_above(&long).unwrap();
    assert!(bytes.contents().contains(&long));
}

#[test]
fn echo_of_ctrl_c_is_overwritten() {
    let (lines, terminal) = emulated_lines(5, 20);
    lines.draw(text(&["x", "y"]), STYLE, false).unwrap();
    terminal.clone().write_all(b"^C").unwrap();
    lines.draw(text(&["x", "stopping"]), STYLE, false).unwrap();
    assert_eq!(terminal.contents(), "x\nstopping");
}

#[test]
fn dropped_lines_stay_on_the_terminal() {
    let (lines, terminal) = emulated_lines(5, 20);
    lines.draw(text(&["x", "y"]), STYLE, false).unwrap();
    drop(lines);
    assert_eq!(terminal.contents(), "x\ny");
}

#[test]
fn draw_clears_rows_that_a_narrower_terminal_has_reflowed() {
    let (lines, bytes, columns) = captured_lines(20);
    lines
        .draw(text(&["123456789012345", "12"]), STYLE, false)
        .unwrap();
    let start = bytes.contents().len();
    columns.store(10, Ordering::Relaxed);
    lines.draw(text(&["1", "2"]), STYLE, false).unwrap();
    assert!(bytes.contents()[start..].starts_with("\r\x1b[3A"));
}

#[test]
fn lines_are_cut_before_the_last_column() {
    let (lines, terminal) = emulated_lines(5, 10);
    lines
        .draw(
            text(&["0123456789abcdef", "12345678", "123456789"]),
            STYLE,
            false,
        )
        .unwrap();
    assert_eq!(terminal.contents(), "012345678\n12345678\n123456789");
}

#[test]
fn changed_frame_is_one_write_and_unchanged_frame_none() {
    let (lines, bytes, _) = captured_lines(20);
    lines.draw(text(&["x", "y", "z"]), STYLE, false).unwrap();
    assert_eq!(bytes.write_count(), 1);
    lines.draw(text(&["x", "y", "z"]), STYLE, true).unwrap();
    assert_eq!(bytes.write_count(), 1);
    lines.draw(text(&["a", "b"]), STYLE, false).unwrap();
    assert_eq!(bytes.write_count(), 2);
}

#[test]
fn draw_reports_a_closed_terminal() {
    struct ClosedTerminal;
    impl Write for ClosedTerminal {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = LiveLines::new(ProgressTerminal::new(
        Box::new(ClosedTerminal),
        Box::new(|| None),
    ));
    let error = lines.draw(text(&["x"]), STYLE, false).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
