//! Text by display width: truncates, pads and wraps text, and sanitizes foreign
//! text.

use std::iter::Peekable;
use std::str::Chars;
use std::time::Duration;

use chrono::{DateTime, Utc};
pub use dm_core::units::{format_bytes, format_duration, format_seconds, pluralize};

use super::palette::{Glyph, Style};

/// Returns the columns that a text occupies. SGR sequences occupy none.
#[must_use]
pub fn display_width(text: &str) -> usize {
    console::measure_text_width(text)
}

/// Truncates a sanitized text to the columns, with an ellipsis at the cut.
#[must_use]
pub fn truncate(text: &str, columns: usize, style: Style) -> String {
    let tail = if columns == 0 {
        ""
    } else {
        style.glyph(Glyph::Ellipsis)
    };
    console::truncate_str(text, columns, tail).into_owned()
}

/// Pads a text with spaces on the right. A longer text stays unchanged.
#[must_use]
pub fn pad_right(text: &str, columns: usize) -> String {
    console::pad_str(text, columns, console::Alignment::Left, None).into_owned()
}

/// Like [`pad_right`], with the spaces on the left.
#[must_use]
pub fn pad_left(text: &str, columns: usize) -> String {
    console::pad_str(text, columns, console::Alignment::Right, None).into_owned()
}

/// Wraps prose between words into lines of at most `columns`. `first` is the prefix
/// of the first line, `rest` that of the others.
#[must_use]
pub fn wrap(text: &str, columns: usize, first: &str, rest: &str) -> String {
    // `--wait-timeout` and paths must not be broken at a hyphen.
    let options = textwrap::Options::new(columns.max(display_width(rest) + 10))
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .initial_indent(first)
        .subsequent_indent(rest);
    textwrap::fill(text, options)
}

/// Wraps a plain text between words into lines of at most `columns`.
#[must_use]
pub(crate) fn wrap_lines(text: &str, columns: usize) -> Vec<String> {
    let options = textwrap::Options::new(columns.max(1))
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .word_separator(textwrap::WordSeparator::AsciiSpace);
    textwrap::wrap(text, options)
        .into_iter()
        .map(Into::into)
        .collect()
}

/// Splits a sanitized text without colours at any character into pieces of at most `columns`.
#[must_use]
pub fn hard_wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut used = 0;
    for character in text.chars() {
        let width = display_width(character.encode_utf8(&mut [0; 4]));
        if used + width > columns {
            pieces.push(std::mem::take(&mut piece));
            used = 0;
        }
        piece.push(character);
        used += width;
    }
    pieces.push(piece);
    pieces
}

/// Formats the time since a moment. An unknown moment yields an empty text.
#[must_use]
pub fn format_ago(moment: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    moment.map_or_else(String::new, |moment| {
        let seconds = (now - moment).num_seconds().max(0).unsigned_abs();
        format!("{} ago", format_duration(Duration::from_secs(seconds)))
    })
}

/// Returns an event type without the common prefix.
#[must_use]
pub fn short_event_type(event_type: Option<&str>) -> &str {
    let event_type = event_type.unwrap_or("-");
    event_type
        .strip_prefix("com.dundermifflin.")
        .unwrap_or(event_type)
}

/// Sanitizes a line of foreign text: it cannot move the cursor, clear the screen,
/// ring the bell, set the title, reorder characters, widen a character or leave its
/// line. Colours pass if `sgr` is true, and are reset at the end. Any other control
/// character is replaced by its control picture: U+0000 by `␀`.
#[must_use]
pub fn sanitize(line: &str, sgr: bool) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut coloured = false;
    let mut column = 0;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => match characters.next() {
                Some('[') => coloured |= copy_control_sequence(&mut characters, sgr, &mut clean),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_control_string(&mut characters),
                // An escape with intermediates, e.g. a character set.
                Some(' '..='/') => skip_past(&mut characters, |c| ('0'..='~').contains(&c)),
                _ => {}
            },
            '\u{9b}' => coloured |= copy_control_sequence(&mut characters, sgr, &mut clean),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_control_string(&mut characters),
            '\t' => {
                let spaces = 8 - column % 8;
                clean.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            // A program that redraws its line: the parts are separated.
            '\r' | '\n' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                if characters.peek().is_some() {
                    clean.push(' ');
                    column += 1;
                }
            }
            _ if is_bidi_control(character) || is_variation_selector(character) => {}
            _ if character.is_control() => {
                clean.push(control_picture(character));
                column += 1;
            }
            _ => {
                clean.push(character);
                column += display_width(character.encode_utf8(&mut [0; 4]));
            }
        }
    }
    if coloured {
        clean.push_str("\x1b[0m");
    }
    clean
}

/// Returns the control picture of a control character.
fn control_picture(control: char) -> char {
    match u32::from(control) {
        code @ 0..=0x1f => char::from_u32(0x2400 + code).unwrap_or(char::REPLACEMENT_CHARACTER),
        0x7f => '\u{2421}',
        // The characters of the second set (C1) have no picture.
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// Returns whether a character changes the display order of others.
const fn is_bidi_control(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns whether a character selects a variant of the character before it. Some
/// variants are wider than their character (an emoji of a digit), and terminals
/// disagree on which. Without the selectors, no text is wider than the sum of its
/// characters, on which [`truncate`] and [`hard_wrap`] rely.
const fn is_variation_selector(character: char) -> bool {
    matches!(character, '\u{fe00}'..='\u{fe0f}')
}

/// Reads a control sequence to its end; copies it if it sets colours. Returns
/// whether it was copied.
fn copy_control_sequence(characters: &mut Peekable<Chars>, sgr: bool, clean: &mut String) -> bool {
    let mut parameters = String::new();
    for character in characters.by_ref() {
        match character {
            ' '..='?' => parameters.push(character),
            'm' => {
                let plain = parameters
                    .chars()
                    .all(|c| matches!(c, '0'..='9' | ';' | ':'));
                // 8 hides the text that follows, which a log must not do.
                let hides = parameters.split([';', ':']).any(|p| p == "8")
                    && !parameters.contains("38")
                    && !parameters.contains("48");
                if sgr && plain && !hides {
                    clean.push_str("\x1b[");
                    clean.push_str(&parameters);
                    clean.push('m');
                    return true;
                }
                return false;
            }
            _ => return false,
        }
    }
    false
}

/// Skips a control string (a title, a link, a device string) and its
/// terminator.
fn skip_control_string(characters: &mut Peekable<Chars>) {
    while let Some(character) = characters.next() {
        match character {
            '\x07' | '\u{9c}' => return,
            '\x1b' => {
                characters.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

fn skip_past(characters: &mut Peekable<Chars>, last: impl Fn(char) -> bool) {
    for character in characters.by_ref() {
        if last(character) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Style = Style {
        colour: false,
        unicode: true,
    };

    #[test]
    fn sanitize_removes_control_sequences() {
        assert_eq!(
            sanitize("a\x1b[2Jb\x1b[3;4Hc\x1b]0;title\x07d", true),
            "abcd"
        );
        assert_eq!(sanitize("50%\r100%\r", true), "50% 100%");
        assert_eq!(
            sanitize("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", true),
            "link"
        );
        assert_eq!(sanitize("a\u{9b}2Jb\u{9d}x\u{9c}c", true), "abc");
        assert_eq!(sanitize("a\tb", false), "a       b");
        assert_eq!(sanitize("\x1b(Bx\x07\x08y", true), "x␇␈y");
        assert_eq!(sanitize("evil\u{202e}txt", true), "eviltxt");
    }

    #[test]
    fn sanitize_removes_variation_selectors() {
        assert_eq!(
            sanitize("0\u{fe0f}\u{20e3} ❤\u{fe0f}", false),
            "0\u{20e3} ❤"
        );
        assert_eq!(sanitize("“\u{fe01}", false), "“");
    }

    #[test]
    fn sanitize_shows_control_characters_as_pictures() {
        assert_eq!(sanitize("a\0b\x7f\u{80}", false), "a␀b␡\u{fffd}");
        // The records of dead letters contain the picture.
        assert_eq!(sanitize("a␀b", false), sanitize("a\0b", false));
    }

    #[test]
    fn sanitize_keeps_colours_on_request_and_resets_them() {
        assert_eq!(sanitize("\x1b[31mred", true), "\x1b[31mred\x1b[0m");
        assert_eq!(
            sanitize("\x1b[38;5;8mgrey", true),
            "\x1b[38;5;8mgrey\x1b[0m"
        );
        assert_eq!(sanitize("\x1b[8mhidden", true), "hidden");
        assert_eq!(sanitize("\x1b[31mred", false), "red");
    }

    proptest! {
        #[test]
        fn sanitized_text_has_no_control_character(line in any::<String>(), tail in "[\x1b\u{9b}\\[\\];0-9mHJ\x07a-z]*") {
            let line = line + &tail;
            prop_assert!(!sanitize(&line, false).chars().any(char::is_control));
            let coloured = sanitize(&line, true);
            prop_assert!(!console::strip_ansi_codes(&coloured).chars().any(char::is_control));
        }

        #[test]
        fn truncated_text_fits_the_columns(text in "(\\PC|\u{fe0f})*", columns in 0_usize..60) {
            let text = sanitize(&text, false);
            prop_assert!(display_width(&truncate(&text, columns, PLAIN)) <= columns);
        }

        #[test]
        fn hard_wrap_pieces_fit_and_are_complete(text in "(\\PC|\u{fe0f})*", columns in 2_usize..60) {
            let text = sanitize(&text, false);
            let pieces = hard_wrap(&text, columns);
            prop_assert_eq!(pieces.concat(), text);
            prop_assert!(pieces.iter().all(|piece| display_width(piece) <= columns));
        }
    }
}
